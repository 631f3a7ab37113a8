"""What is written is the same each time, comes back the same, and is whole or not there."""

import contextlib
import errno
import os
import resource
import subprocess

import av
import numpy as np
import pytest
from etils import epath
from PIL import Image

from lumiere.data import frames
from tests.lumiere.data.media import ramp

PATCHES = np.array(
  [(255, 0, 0), (0, 255, 0), (0, 0, 255), (200, 100, 50), (255, 255, 255), (0, 0, 0), (90, 90, 90), (20, 160, 220)],
  np.uint8,
)  # fmt: skip


@pytest.fixture
def clip():
  """A square that moves over a coloured ramp."""
  video = np.zeros((5, 16, 16, 3), np.uint8)
  video[..., 0] = np.arange(16) * 10
  for index, frame in enumerate(video):
    frame[4:9, 2 * index : 2 * index + 5] = (40, 200, 250)
  return video


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
  with av.open(str(tmp_path / "a.mp4")) as container:
    times = [frame.time for frame in container.decode(video=0)]
  np.testing.assert_allclose(times, np.arange(5) / 8, atol=1e-3)
  back = frames.read_video(tmp_path / "a.mp4", 8, lambda frame: frames.fit(frame, 16))
  assert np.abs(back.astype(int) - clip).max() <= 12 and np.abs(back.astype(int) - clip).mean() < 2


@pytest.mark.parametrize("side", [64, 1024])
def test_colours_come_back_whatever_the_size(tmp_path, side):
  """Players take untagged videos for BT.601 when they are small and for BT.709 when they are large."""
  columns = PATCHES.repeat(side // len(PATCHES), axis=0)
  video = np.broadcast_to(columns, (4, side, side, 3))
  frames.write_video(tmp_path / "a.mp4", video, fps=8)
  back = frames.read_video(tmp_path / "a.mp4", 8, lambda frame: frames.fit(frame, side))
  assert back.shape == video.shape and np.abs(back.astype(int) - video).max() <= 3

  with av.open(str(tmp_path / "a.mp4")) as container:
    codec = container.streams.video[0].codec_context
    assert (codec.colorspace, codec.color_primaries, codec.color_trc, codec.color_range) == (
      1,
      1,
      1,
      1,
    )
    stored = next(container.decode(video=0))
    planes = [
      np.frombuffer(plane, np.uint8).reshape(plane.height, plane.line_size)[:, : plane.width]
      for plane in stored.planes
    ]
  assert b"colrnclx" in (tmp_path / "a.mp4").read_bytes()  # QuickTime reads the container's tags
  # By the equations of BT.709, limited range.
  r, g, b = PATCHES.T / 255
  luma = 0.2126 * r + 0.7152 * g + 0.0722 * b
  expected = 16 + 219 * luma, 128 + 224 * (b - luma) / 1.8556, 128 + 224 * (r - luma) / 1.5748
  for plane, values in zip(planes, expected, strict=True):
    width = plane.shape[1] // len(PATCHES)
    assert np.abs(plane[len(plane) // 2, width // 2 :: width] - values).max() <= 2


def test_mp4_with_odd_sides_and_one_frame(tmp_path):
  frames.write_video(tmp_path / "a.mp4", np.full((1, 301, 257, 3), 90, np.uint8), fps=29.97)
  video = frames.read_video(tmp_path / "a.mp4", 29.97)
  assert video.shape == (1, 302, 258, 3) and np.abs(video.astype(int) - 90).max() <= 2


def test_webp_and_png_are_lossless(tmp_path, clip):
  frames.write_video(tmp_path / "a.webp", clip, fps=8)
  pages = Image.open(tmp_path / "a.webp")
  for index in range(5):
    pages.seek(index)
    assert np.array_equal(np.asarray(pages.convert("RGB"))[::16, ::16], clip[index])
    assert pages.info["duration"] == 125
  assert np.array_equal(frames.read_video(tmp_path / "a.webp", 8)[:, ::16, ::16], clip)
  frames.write_video(tmp_path / "a.png", clip, fps=8)
  for index in range(5):
    assert np.array_equal(
      np.asarray(Image.open(tmp_path / "a.png" / f"000{index}.png")), clip[index]
    )


def test_numbered_frames_of_a_longer_video_are_replaced(tmp_path, clip):
  frames.write_video(tmp_path / "a.png", clip, fps=8)
  (tmp_path / "a.png" / "notes.txt").write_text("mine")
  frames.write_video(tmp_path / "a.png", clip[3:], fps=8)
  names = sorted(path.name for path in (tmp_path / "a.png").iterdir())
  assert names == ["0000.png", "0001.png", "notes.txt"]
  assert np.array_equal(frames.read_image(tmp_path / "a.png" / "0001.png"), clip[4])


def test_gif_plays_at_its_rate(tmp_path, clip):
  frames.write_video(tmp_path / "a.gif", clip, fps=8)
  with av.open(str(tmp_path / "a.gif")) as container:
    times = [float(frame.time) for frame in container.decode(video=0)]
  np.testing.assert_allclose(times, np.arange(5) / 8, atol=0.011)  # a gif counts in hundredths


def test_unknown_format_names_the_accepted_ones(tmp_path, clip):
  with pytest.raises(ValueError, match="'avi'.*mp4, gif, webp, png"):
    frames.write_video(tmp_path / "a.avi", clip, fps=8)


@contextlib.contextmanager
def largest_file(size):
  """Files of this process cannot grow larger, as if the disk were full."""
  before = resource.getrlimit(resource.RLIMIT_FSIZE)
  resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
  try:
    yield
  finally:
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("suffix", frames.FORMATS)
@pytest.mark.parametrize("before", [False, True])
def test_what_cannot_be_written_is_said_in_one_line_and_leaves_nothing(tmp_path, suffix, before):
  path = tmp_path / "out" / f"a.{suffix}"
  if before and suffix != "png":
    frames.write_video(path, ramp(2), fps=8)
  files = {each: each.read_bytes() for each in tmp_path.rglob("*.*") if each.is_file()}
  noise = np.random.default_rng(0).integers(0, 256, (4, 64, 64, 3), dtype=np.uint8)
  with (
    largest_file(2000),
    pytest.raises(OSError, match=f"a.{suffix}.* cannot be written: File too large") as error,
  ):
    frames.write_video(path, noise, fps=8)
  assert "\n" not in str(error.value)
  assert {each: each.read_bytes() for each in tmp_path.rglob("*.*") if each.is_file()} == files
  assert not list(tmp_path.rglob(".*"))


def test_a_full_disk(tmp_path):
  mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", tmp_path]
  if os.geteuid() or subprocess.run(mount, capture_output=True, check=False).returncode:
    pytest.skip("needs the right to mount a small file system")
  try:
    noise = np.random.default_rng(0).integers(0, 256, (4, 64, 64, 3), dtype=np.uint8)
    for name in ("a.mp4", "a.webp", "a.png"):
      with pytest.raises(OSError, match=f"{name}.*cannot be written: No space left on device"):
        frames.write_video(tmp_path / name, noise.repeat(4, 0), fps=8)
      assert not list(tmp_path.iterdir())
  finally:
    subprocess.run(["umount", tmp_path], check=True)


def test_a_disk_that_fills_up_while_writing(tmp_path, monkeypatch):
  """The same without the right to mount: the system call fails after a part was written."""
  path = tmp_path / "a.webp"

  def fail(self, content):
    with open(self, "wb") as file:
      file.write(content[:100])
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

  monkeypatch.setattr(type(epath.Path(path)), "write_bytes", fail)
  with pytest.raises(OSError, match="a.webp cannot be written: No space left on device"):
    frames.write_video(path, ramp(2), fps=8)
  assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_made(tmp_path, clip):
  (tmp_path / "file").write_text("in the way")
  with pytest.raises(OSError, match="file/a.mp4 cannot be written: (Not a directory|File exists)"):
    frames.write_video(tmp_path / "file" / "a.mp4", clip, fps=8)
