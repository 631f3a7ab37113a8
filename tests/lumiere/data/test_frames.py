"""Frames survive the way out and back, and pictures of them show what they should."""

import av
import numpy as np
import pytest
from PIL import Image

from lumiere.data import frames


@pytest.fixture
def clip():
  """A square that moves over a coloured ramp."""
  video = np.zeros((5, 16, 16, 3), np.uint8)
  video[..., 0] = np.arange(16) * 10
  for index, frame in enumerate(video):
    frame[4:9, 2 * index : 2 * index + 5] = (40, 200, 250)
  return video


def read(path):
  return np.stack([frame for _, frame in frames.decode(path)])


def test_every_level_survives_float():
  levels = np.arange(256, dtype=np.uint8)
  assert np.array_equal(frames.to_uint8(frames.to_float(levels)), levels)
  assert frames.to_float(levels)[[0, -1]].tolist() == [-1, 1]
  assert frames.to_uint8(np.array([-3.0, 3.0])).tolist() == [0, 255]


@pytest.mark.parametrize("before, after", [(8, 4), (7, 3), (12, 5), (4, 6), (9, 1)])
def test_area_resize_is_the_integral_over_each_pixel(before, after):
  video = np.random.default_rng(0).uniform(-1, 1, (2, before, before, 3)).astype(np.float32)
  # Independent: on the common refinement both grids are exact.
  fine = video.repeat(after, 1).repeat(after, 2)
  expected = fine.reshape(2, after, before, after, before, 3).mean((2, 4))
  np.testing.assert_allclose(frames.area_resize(video, after), expected, atol=1e-6)


def test_area_resize_leaves_frames_of_that_size():
  video = np.random.default_rng(0).uniform(-1, 1, (1, 8, 8, 3)).astype(np.float32)
  assert frames.area_resize(video, 8) is video


def test_center_crop():
  video = np.arange(6 * 9).reshape(1, 6, 9, 1)
  assert np.array_equal(frames.center_crop(video, 4), video[:, 1:5, 2:6])


@pytest.mark.parametrize("suffix", frames.FORMATS)
def test_same_frames_give_same_bytes(tmp_path, clip, suffix):
  for name in "ab":
    frames.write_video(tmp_path / f"{name}.{suffix}", clip, fps=8)
  files = [
    sorted(path.rglob("*.png")) if path.is_dir() else [path] for path in sorted(tmp_path.iterdir())
  ]
  first, second = ([path.read_bytes() for path in paths] for paths in files)
  assert first == second and len(first) == (5 if suffix == "png" else 1)


def test_mp4_keeps_times_and_colours(tmp_path, clip):
  frames.write_video(tmp_path / "a.mp4", clip, fps=8)
  times = [time for time, _ in frames.decode(tmp_path / "a.mp4")]
  np.testing.assert_allclose(times, np.arange(5) / 8, atol=1e-3)
  back = frames.area_resize(frames.to_float(read(tmp_path / "a.mp4")), 16)
  assert np.abs(frames.to_uint8(back).astype(int) - clip).mean() < 3


def test_mp4_with_odd_sides_and_one_frame(tmp_path):
  frames.write_video(tmp_path / "a.mp4", np.full((1, 301, 257, 3), 90, np.uint8), fps=29.97)
  video = read(tmp_path / "a.mp4")
  assert video.shape == (1, 302, 258, 3) and np.abs(video.astype(int) - 90).max() <= 2


def test_webp_and_png_are_lossless(tmp_path, clip):
  frames.write_video(tmp_path / "a.webp", clip, fps=8)
  pages = Image.open(tmp_path / "a.webp")
  for index in range(5):
    pages.seek(index)
    assert np.array_equal(np.asarray(pages.convert("RGB"))[::16, ::16], clip[index])
    assert pages.info["duration"] == 125
  frames.write_video(tmp_path / "a.png", clip, fps=8)
  for index in range(5):
    assert np.array_equal(
      np.asarray(Image.open(tmp_path / "a.png" / f"000{index}.png")), clip[index]
    )


def test_gif_plays_at_its_rate(tmp_path, clip):
  frames.write_video(tmp_path / "a.gif", clip, fps=8)
  with av.open(str(tmp_path / "a.gif")) as container:
    times = [float(frame.time) for frame in container.decode(video=0)]
  np.testing.assert_allclose(times, np.arange(5) / 8, atol=0.011)  # a gif counts in hundredths


def test_unknown_format_names_the_accepted_ones(tmp_path, clip):
  with pytest.raises(ValueError, match="'avi'.*mp4, gif, webp, png"):
    frames.write_video(tmp_path / "a.avi", clip, fps=8)


def test_enlarge_repeats_whole_pixels(clip):
  large = frames.enlarge(clip, 40)
  assert large.shape == (5, 48, 48, 3) and np.array_equal(large[:, 1::3, 2::3], clip)
  assert np.array_equal(frames.enlarge(clip, 3), clip)


def test_contact_sheet_holds_first_and_last_frame(clip):
  sheet = frames.contact_sheet([clip, clip[:2]], ["one", "two \N{SNOWMAN}"], columns=3, side=16)
  assert sheet.shape == (2 * (16 + 18), 3 * 18, 3)
  assert np.array_equal(sheet[17:33, 1:17], clip[0]) and np.array_equal(
    sheet[17:33, 37:53], clip[4]
  )
  assert sheet[:16].min() < 50  # the caption is there
  assert (sheet[34 + 16 :, 36:] == 255).all()


def test_xt_slice_shows_the_path(clip):
  picture = frames.xt_slice(clip, min_side=5)
  assert picture.shape == (5, 16, 3)
  assert np.array_equal(picture, clip[:, 8])
