import pytest

from lumiere import sizes


def test_sides_pairs_and_text_are_the_same_sizes():
  assert sizes.size_of(32) == sizes.size_of((32, 32)) == sizes.read("32", "--size") == (32, 32)
  assert sizes.size_of([24, 40]) == sizes.read("24x40", "--size") == (24, 40)
  assert sizes.read(sizes.as_text((24, 40)), "--size") == (24, 40)


@pytest.mark.parametrize("value", [0, (0, 8), (8,), (8, 8, 8), (-8, 8)])
def test_other_values_are_refused_by_name(value):
  with pytest.raises(ValueError, match=r"data\.resolution=.*must be a side or \(height, width\)"):
    sizes.size_of(value, "data.resolution")


@pytest.mark.parametrize("text", ["", "x8", "8x", "0x8", "8x00", "8*8", "8x8x8", "-8"])
def test_other_texts_are_refused_by_name(text):
  with pytest.raises(ValueError, match=r"--size=.*must be HEIGHTxWIDTH"):
    sizes.read(text, "--size")


def test_the_nearest_sizes_are_named():
  sizes.check_multiple("size", (24, 40), 8)
  with pytest.raises(
    ValueError, match="size=23x40: .* multiples of 8; the nearest are 24x40 and 16x40"
  ):
    sizes.check_multiple("size", (23, 40), 8)
  with pytest.raises(ValueError, match="the nearest are 8x8$"):
    sizes.check_multiple("size", (3, 8), 8)


def test_the_part_that_is_kept_is_the_largest_of_its_shape():
  for source in ((90, 160), (160, 90), (100, 100), (7, 501)):
    for size in ((24, 40), (40, 24), (32, 32)):
      rows, columns = sizes.kept(source, size)
      assert rows == source[0] or columns == source[1]
      assert abs(rows * size[1] - columns * size[0]) <= max(size)  # within a pixel
      assert sizes.cut_off(source, size) == pytest.approx(
        1 - rows * columns / (source[0] * source[1]), abs=0.15 if min(source) < 10 else 0.01
      )


def test_the_nearest_shape_loses_least_and_is_the_largest_of_several():
  buckets = [(24, 40), (32, 32), (40, 24), (48, 80)]
  assert sizes.nearest_shape((1080, 1920), buckets) == (48, 80)
  assert sizes.nearest_shape((1920, 1080), buckets) == (40, 24)
  assert sizes.nearest_shape((480, 500), buckets) == (32, 32)


def test_sizes_of_like_area_are_multiples_of_about_the_same_area():
  found = sizes.of_like_area((32, 32), 8)
  assert {(32, 32), (24, 40), (40, 24), (24, 48), (16, 64)} <= set(found)
  assert all(h % 8 == w % 8 == 0 and 0.8 <= h * w / 1024 <= 1.25 for h, w in found)
