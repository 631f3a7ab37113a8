"""Pictures are read as a viewer shows them."""

import logging
import os
import warnings

import numpy as np
import pytest
from etils import epath
from PIL import Image, ImageCms

from lumiere.data import frames
from tests.lumiere.data.media import CASES

# What the scene of the cases shows: sky above, grass below, a white arrow that points up.
SKY, GRASS, WHITE = (90, 160, 255), (30, 140, 40), (255, 255, 255)


def is_scene(picture, sky=SKY, grass=GRASS):
  """Whether the scene is upright: its colours are in place and the arrow is narrow above and wide below."""
  height, width = picture.shape[:2]
  near = lambda place, colour: np.abs(place.astype(int) - colour).max() <= 12
  head = (picture.min(axis=-1) > 200)[:, width // 3 : width * 2 // 3].sum(axis=1)
  rows = np.flatnonzero(head)
  tip, base = head[rows[0]], head.max()
  return (
    near(picture[3, 3], sky)
    and near(picture[-3, -3], grass)
    and tip < base / 2
    and rows[0] < head.argmax() < rows[-1]
    and rows[-1] < height * 2 / 3
    and head[rows[-1]] < base
  )


def save(path, array, **options):
  Image.fromarray(array).save(path, **options)
  return path


def test_a_phone_picture_is_upright():
  picture = frames.read_image(CASES / "phone_exif6.jpg")
  assert picture.shape == (128, 96, 3) and is_scene(picture)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_exif_orientation(tmp_path, orientation):
  upright = np.random.default_rng(0).integers(0, 256, (6, 4, 3), dtype=np.uint8)
  # EXIF: where the stored picture's first row and first column are shown.
  stored = {
    1: upright,  # top, left
    2: upright[:, ::-1],  # top, right
    3: upright[::-1, ::-1],  # bottom, right
    4: upright[::-1],  # bottom, left
    5: upright.transpose(1, 0, 2),  # left, top
    6: upright[:, ::-1].transpose(1, 0, 2),  # right, top
    7: upright[::-1, ::-1].transpose(1, 0, 2),  # right, bottom
    8: upright[::-1].transpose(1, 0, 2),  # left, bottom
  }[orientation]
  exif = Image.Exif()
  exif[0x0112] = orientation
  for suffix in ("png", "tiff", "webp"):
    path = save(
      tmp_path / f"a.{suffix}",
      np.ascontiguousarray(stored),
      exif=exif,
      **({"lossless": True} if suffix == "webp" else {}),
    )
    assert np.array_equal(frames.read_image(path), upright)


def test_damaged_exif_is_no_orientation(tmp_path):
  upright = np.full((6, 4, 3), 90, np.uint8)
  path = save(tmp_path / "a.png", upright, exif=b"Exif\0\0MM\0\x2a\xff\xff\xff\xff")
  assert np.array_equal(frames.read_image(path), upright)


def test_sixteen_bits_are_scaled():
  picture = frames.read_image(CASES / "gray16.png")
  assert is_scene(picture, sky=150, grass=96)  # 38550 and 24672 of 65535


@pytest.mark.parametrize(
  ("values", "expected"),
  [
    (np.array([[0, 257, 65535]], np.uint16), [0, 1, 255]),
    (np.array([[0, 100, 255]], np.int32), [0, 100, 255]),
    (np.array([[0, 257 * 100, 65535]], np.int32), [0, 100, 255]),
    (np.array([[0, 2**20, 2**21]], np.int32), [0, 128, 255]),
    (np.array([[-1.0, 0.2, 1.0]], np.float32), [0, 51, 255]),
    (np.array([[np.nan, 20.0, 255.0]], np.float32), [0, 20, 255]),
  ],
)
def test_deep_modes_are_scaled_and_not_clipped(tmp_path, values, expected):
  path = save(tmp_path / "a.tiff", values)
  with Image.open(path) as image:
    assert image.mode in ("I;16", "I", "F")
  picture = frames.read_image(path)
  assert picture.tolist() == [[[level] * 3 for level in expected]]


def test_hidden_colours_are_never_seen():
  picture = frames.read_image(CASES / "sticker_rgba.png")
  alpha = np.asarray(Image.open(CASES / "sticker_rgba.png"))[..., 3]
  assert set(np.unique(alpha)) == {0, 255}
  assert (picture[alpha == 0] == 0).all() and (picture[alpha == 255] == (220, 20, 20)).all()


def test_transparency_of_all_kinds_is_over_black(tmp_path, caplog):
  colour, alpha = (200, 100, 50), np.array([[0, 51, 255]], np.uint8)
  rgba = np.dstack([np.broadcast_to(np.array(colour, np.uint8), (1, 3, 3)), alpha])
  expected = [[[0, 0, 0], [40, 20, 10], [200, 100, 50]]]
  with caplog.at_level(logging.INFO, "absl"):
    assert frames.read_image(save(tmp_path / "rgba.png", rgba)).tolist() == expected
    frames.read_image(tmp_path / "rgba.png")
  assert caplog.text.count("rgba.png is transparent in places; black is shown there") == 1

  gray = Image.fromarray(np.dstack([np.full((1, 3), 200, np.uint8), alpha]), "LA")
  gray.save(tmp_path / "la.png")
  assert frames.read_image(tmp_path / "la.png")[..., 0].tolist() == [[0, 40, 200]]

  palette = Image.new("P", (3, 1))
  palette.putpalette([200, 100, 50, 10, 20, 30, 255, 255, 255])
  palette.putdata([0, 1, 2])
  palette.save(tmp_path / "one.gif", transparency=2)
  assert frames.read_image(tmp_path / "one.gif").tolist() == [
    [[200, 100, 50], [10, 20, 30], [0] * 3]
  ]
  palette.save(tmp_path / "each.png", transparency=bytes([255, 51, 0]))
  assert frames.read_image(tmp_path / "each.png").tolist() == [[[200, 100, 50], [2, 4, 6], [0] * 3]]

  keyed = Image.fromarray(rgba[..., :3])
  keyed.save(tmp_path / "key.png", transparency=colour)
  assert (frames.read_image(tmp_path / "key.png") == 0).all()
  Image.fromarray(np.array([[7, 65535]], np.uint16)).save(tmp_path / "deep.png", transparency=65535)
  assert (frames.read_image(tmp_path / "deep.png") == 0).all()


def test_print_colours_and_bits(tmp_path):
  Image.new("CMYK", (2, 2), (0, 255, 255, 0)).save(tmp_path / "a.tiff")
  assert frames.read_image(tmp_path / "a.tiff")[0, 0].tolist() == [255, 0, 0]
  Image.fromarray(np.array([[True, False]])).save(tmp_path / "b.png")
  assert frames.read_image(tmp_path / "b.png")[..., 0].tolist() == [[255, 0]]


def test_a_colour_profile_counts(tmp_path):
  """A profile whose red and blue are swapped, so that the difference is plain to see."""
  profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
  count = int.from_bytes(profile[128:132])
  tags = {bytes(profile[132 + 12 * i : 136 + 12 * i]): 132 + 12 * i for i in range(count)}
  profile[tags[b"rXYZ"] : tags[b"rXYZ"] + 4] = b"bXYZ"
  profile[tags[b"bXYZ"] : tags[b"bXYZ"] + 4] = b"rXYZ"
  named = bytes(profile).replace("sRGB".encode("utf-16-be"), "swap".encode("utf-16-be"))
  red = np.broadcast_to(np.array([255, 0, 0], np.uint8), (2, 2, 3))
  for mode in ("RGB", "RGBA"):
    image = Image.fromarray(np.ascontiguousarray(red)).convert(mode)
    image.save(tmp_path / "a.png", icc_profile=named)
    assert np.abs(frames.read_image(tmp_path / "a.png")[0, 0].astype(int) - (0, 0, 255)).max() <= 2
    image.save(tmp_path / "b.png", icc_profile=b"no profile")
    assert frames.read_image(tmp_path / "b.png")[0, 0].tolist() == [255, 0, 0]


def test_of_an_animation_the_first_frame():
  assert is_scene(frames.read_image(CASES / "anim.webp"))
  assert frames.read_image(CASES / "slides_last_held.gif")[0, 0].tolist() == [255, 0, 0]


@pytest.mark.parametrize(
  ("make", "words"),
  [
    (lambda path: None, "no such file"),
    (lambda path: path.mkdir(), "it is a folder"),
    (lambda path: os.mkfifo(path), "it is not a regular file"),
    (lambda path: path.write_bytes(b""), "it is empty"),
    (lambda path: path.write_text("words"), "no picture in it; one of .*PNG.* is needed"),
    (
      lambda path: path.write_bytes((CASES / "phone_portrait.mp4").read_bytes()),
      "no picture in it",
    ),
    (
      lambda path: path.write_bytes((CASES / "phone_exif6.jpg").read_bytes()[:1500]),
      "damaged.*truncated",
    ),
    (lambda path: path.write_bytes(b"\0\0\0\x18ftypheic" + bytes(99)), "HEIC.*convert it to JPEG"),
  ],
)
def test_pictures_that_cannot_be_read_have_their_reasons(tmp_path, make, words):
  make(tmp_path / "a.png")
  with pytest.raises(ValueError, match=f"a.png cannot be read as a picture: {words}") as error:
    frames.read_image(tmp_path / "a.png")
  assert "\n" not in str(error.value)


def test_a_file_that_may_not_be_read(tmp_path, monkeypatch):
  path = save(tmp_path / "a.png", np.zeros((2, 2, 3), np.uint8))

  def forbidden(*args, **kwargs):
    raise PermissionError(13, "Permission denied", str(path))

  monkeypatch.setattr(type(epath.Path(path)), "open", forbidden)
  with pytest.raises(ValueError, match="a.png cannot be read as a picture: permission denied"):
    frames.read_image(path)


def test_a_decompression_bomb_is_named(tmp_path, monkeypatch):
  path = save(tmp_path / "a.png", np.zeros((50, 50, 3), np.uint8))
  monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
  with pytest.raises(ValueError, match="decompression bomb.*0 million pixels"):
    frames.read_image(path)
  monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 2000)  # Pillow warns from here on
  with warnings.catch_warnings():
    warnings.simplefilter("error")
    assert frames.read_image(path).shape == (50, 50, 3)


def test_an_ordinary_picture():
  picture = frames.read_image(CASES / "scene.png")
  assert picture.shape == (96, 96, 3) and is_scene(picture)
