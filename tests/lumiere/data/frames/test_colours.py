"""The colours of a video are those that a player shows: matrix, range, depth, transparency."""

import av
import numpy as np
import pytest
from PIL import Image

from lumiere.data import frames
from lumiere.data.frames import pixels
from tests.lumiere.data.frames.test_pictures import is_scene
from tests.lumiere.data.media import CASES, write

PATCHES = np.array(
  [(255, 0, 0), (0, 255, 0), (0, 0, 255), (200, 100, 50), (255, 255, 255), (0, 0, 0), (90, 90, 90)]
)
# Kr and Kb of the matrices, by their numbers in ISO/IEC 23091-2.
WEIGHTS = {1: (0.2126, 0.0722), 5: (0.299, 0.114), 6: (0.299, 0.114), 9: (0.2627, 0.0593)}


def encoded(matrix, full, pixel_format="yuv444p", height=32, tagged=True):
  """A frame whose columns are the patches, by the equations of the standard."""
  bits = 10 if "10" in pixel_format else 8
  kr, kb = WEIGHTS[matrix]
  r, g, b = PATCHES.T / 255
  luma = kr * r + (1 - kr - kb) * g + kb * b
  chroma = (b - luma) / (2 - 2 * kb), (r - luma) / (2 - 2 * kr)
  scale, most = 2 ** (bits - 8), 2**bits - 1
  if full:
    values = [luma * most] + [each * most + 128 * scale for each in chroma]
  else:
    values = [(16 + 219 * luma) * scale] + [(128 + 224 * each) * scale for each in chroma]
  frame = av.VideoFrame(16 * len(PATCHES), height, pixel_format)
  for plane, value in zip(frame.planes, values, strict=True):
    row = np.rint(value).clip(0, most).repeat(plane.width // len(PATCHES))
    array = np.zeros(
      (plane.height, plane.line_size // (2 if bits > 8 else 1)), "<u2" if bits > 8 else "u1"
    )
    array[:, : plane.width] = row
    plane.update(array)
  if tagged:
    frame.colorspace, frame.color_range = matrix, 2 if full else 1
  return frame


def patches(path):
  picture = frames.first_frame(path)
  return picture[picture.shape[0] // 2, 8::16].astype(int)


@pytest.mark.parametrize("pixel_format", ["yuv420p", "yuv444p", "yuv422p10le"])
@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("matrix", WEIGHTS)
def test_matrix_and_range_are_those_of_the_tags(tmp_path, matrix, full, pixel_format):
  frame = encoded(matrix, full, pixel_format)
  tags = (matrix, 2 if full else 1)
  write(tmp_path / "a.mkv", [frame] * 2, 8, codec=("ffv1", pixel_format, {}), tags=tags)
  assert np.abs(patches(tmp_path / "a.mkv") - PATCHES).max() <= 3


@pytest.mark.parametrize(("height", "matrix"), [(480, 5), (718, 5), (720, 1), (1080, 1)])
def test_without_tags_the_height_decides(tmp_path, height, matrix):
  frame = encoded(matrix, False, height=height, tagged=False)
  write(tmp_path / "a.mkv", [frame], 8, codec=("ffv1", "yuv444p", {}))
  assert np.abs(patches(tmp_path / "a.mkv") - PATCHES).max() <= 3
  wrong = encoded(6 - matrix, False, height=height, tagged=False)
  write(tmp_path / "b.mkv", [wrong], 8, codec=("ffv1", "yuv444p", {}))
  assert np.abs(patches(tmp_path / "b.mkv") - PATCHES).max() > 20


def test_a_matrix_that_is_not_known_is_guessed(tmp_path):
  frame = encoded(6, False, tagged=False)
  write(tmp_path / "a.mkv", [frame], 8, codec=("ffv1", "yuv444p", {}), tags=(8, 1))
  assert np.abs(patches(tmp_path / "a.mkv") - PATCHES).max() <= 3


def test_ten_bits():
  bars = frames.read_video(CASES / "bars_10bit.mp4", 8)[0, 48, 8::16].astype(int)
  expected = [
    (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0), (0, 255, 255), (255, 0, 255), (255,) * 3, (128,) * 3,
  ]  # fmt: skip
  assert np.abs(bars - expected).max() <= 4


@pytest.mark.parametrize("pixel_format", ["gray16le", "gbrp10le", "gbrp16le", "yuv444p16le"])
def test_deep_pixels_are_scaled(tmp_path, pixel_format):
  levels = np.arange(16, dtype=np.uint8)[None, :, None] * np.uint8(17) + np.zeros(
    (16, 1, 3), np.uint8
  )
  write(tmp_path / "a.mkv", [levels], 8, codec=("ffv1", pixel_format, {}))
  assert np.abs(frames.first_frame(tmp_path / "a.mkv").astype(int) - levels).max() <= 3


@pytest.mark.parametrize("transfer", [16, 18])  # PQ, HLG
def test_high_dynamic_range_has_its_white_at_white(tmp_path, transfer):
  """Diffuse white is 203 cd/m2: 58 % of a PQ signal, 75 % of an HLG one (ITU-R BT.2408)."""
  white = 64 + 876 * {16: 0.58, 18: 0.75}[transfer]
  frame = av.VideoFrame(32, 32, "yuv420p10le")
  for plane, level in zip(frame.planes, (white, 512, 512), strict=True):
    plane.update(np.full((plane.height, plane.line_size // 2), level, "<u2"))
  frame.colorspace, frame.color_range, frame.color_trc, frame.color_primaries = 9, 1, transfer, 9
  picture = pixels.to_rgb(frame)
  assert picture.min() >= 245 and np.ptp(picture) <= 4
  frame.color_trc = 14  # BT.2020 in 10 bits, which is no HDR
  assert pixels.to_rgb(frame).max() < 200


# Transparency.


def hidden(height=32, width=32):
  """RGBA whose left half is transparent, over noise that is not to be seen, and whose right half is red."""
  picture = np.zeros((height, width, 4), np.uint8)
  picture[:, : width // 2, :3] = np.random.default_rng(0).integers(0, 256, (height, width // 2, 3))
  picture[:, width // 2 :] = (200, 0, 0, 255)
  return picture


def test_a_video_with_an_alpha_channel():
  video = frames.read_video(CASES / "alpha.webm", 8)
  assert video.shape == (4, 96, 96, 3) and is_scene(video[0])


@pytest.mark.parametrize(
  ("name", "codec"),
  [
    ("a.webm", ("libvpx-vp9", "yuva420p", {"auto-alt-ref": "0", "crf": "10", "b": "0"})),
    ("b.webm", ("libvpx", "yuva420p", {"auto-alt-ref": "0", "crf": "10", "b": "1M"})),
    ("c.mov", ("qtrle", "argb", {})),
    ("d.mov", ("prores_ks", "yuva444p10le", {})),
    ("e.mkv", ("ffv1", "bgra", {})),
  ],
)
def test_hidden_colours_are_never_seen(tmp_path, name, codec):
  write(tmp_path / name, [hidden()] * 8, 8, codec=codec, metadata={"alpha_mode": "1"})
  video = frames.read_video(tmp_path / name, 8).astype(int)
  assert video.shape == (8, 32, 32, 3)
  assert video[:, :, :14].max() <= 6 and np.abs(video[:, :, 18:] - (200, 0, 0)).max() <= 12
  assert video[:, :, :, 1:].max() <= 40  # nor at the border


def test_a_transparent_animation_is_over_black(tmp_path):
  pages = [Image.fromarray(hidden())] * 2
  for suffix in ("webp", "png"):
    pages[0].save(
      tmp_path / f"a.{suffix}",
      save_all=True,
      append_images=[pages[1].rotate(180)],
      duration=125,
      lossless=True,
    )
    video = frames.read_video(tmp_path / f"a.{suffix}", 8)
    assert (video[0, :, :16] == 0).all() and (video[0, :, 16:] == (200, 0, 0)).all()
