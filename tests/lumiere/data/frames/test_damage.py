"""Of a damaged file what can be read is used, and what is lost is said."""

import logging
import re

import av
import numpy as np
import pytest

from lumiere.data import frames
from tests.lumiere.data.frames.test_pictures import is_scene
from tests.lumiere.data.media import CASES, plain, write

GROUPS = {"g": "24", "crf": "5", "bf": "0"}  # a key frame each second


def moving(num_frames=96, side=64):
  """A pattern that moves one pixel a frame, so that no frame is like another."""
  blocks = np.random.default_rng(0).integers(0, 200, (8, 8, 3), dtype=np.uint8)
  pattern = blocks.repeat(side // 8, 0).repeat(side // 8, 1)
  return np.stack([np.roll(pattern, index, axis=1) for index in range(num_frames)])


def read(path, caplog):
  """(frames at 24 per second, what was said)."""
  caplog.clear()
  with caplog.at_level(logging.WARNING):
    video = frames.read_video(path, 24)
  return video, caplog.text


def test_a_truncated_tail(caplog):
  video, said = read(CASES / "truncated_tail.mp4", caplog)
  assert 4 * 24 < len(video) <= 5 * 24 and all(is_scene(frame) for frame in video)
  assert "truncated_tail.mp4 is damaged" in said and "of 8.00 s" in said
  assert "the rest of it is used" in said and said.count("\n") == 1


@pytest.mark.parametrize(
  ("suffix", "codec"),
  [
    (".mkv", ("libx264", "yuv444p", GROUPS)),
    (".webm", ("libvpx-vp9", "yuv444p", {"deadline": "realtime", "crf": "10", "b": "0"})),
    (".mpg", ("mpeg1video", "yuv420p", {"qscale": "2"})),
    (".gif", ("gif", "rgb8", {})),
  ],
)
def test_a_tail_that_is_cut_off(tmp_path, caplog, suffix, codec):
  path = tmp_path / f"a{suffix}"
  write(path, moving(), 24, codec=codec)
  whole, said = read(path, caplog)
  assert len(whole) == 96 and not said
  path.write_bytes(path.read_bytes()[: path.stat().st_size * 6 // 10])
  part, said = read(path, caplog)
  assert 24 <= len(part) < 72 and np.array_equal(part, whole[: len(part)])
  assert f"a{suffix} is damaged" in said


def test_masks_are_read_up_to_the_damage(tmp_path, caplog):
  data = (CASES / "moving_mask.gif").read_bytes()
  (tmp_path / "a.gif").write_bytes(data[: len(data) // 2])
  with caplog.at_level(logging.WARNING):
    part = frames.read_mask(tmp_path / "a.gif", 8)
  assert np.array_equal(part, frames.read_mask(CASES / "moving_mask.gif", 8)[: len(part)])
  assert 0 < len(part) < 16 and re.search(
    "a.gif is damaged .frame [0-9]+ and what follows", caplog.text
  )


def packets(path):
  """(time, position in the file, size) of each packet."""
  with av.open(str(path)) as container:
    return [
      (float(packet.pts * packet.time_base), packet.pos, packet.size)
      for packet in container.demux(video=0)
      if packet.size
    ]


def test_damage_in_the_middle_costs_the_frames_up_to_the_next_key_frame(tmp_path, caplog):
  path = tmp_path / "a.mp4"
  write(path, moving(), 24, codec=("libx264", "yuv444p", GROUPS))
  whole, _ = read(path, caplog)
  data = bytearray(path.read_bytes())
  time, position, size = packets(path)[36]
  assert time == 1.5
  data[position : position + size] = bytes(size)
  path.write_bytes(data)
  part, said = read(path, caplog)
  assert "a.mp4 is damaged" in said and "the first at 1.50 s" in said
  assert len(part) == 96
  assert np.array_equal(part[:36], whole[:36]) and np.array_equal(part[48:], whole[48:])
  assert (part[36:48] == whole[35]).all()  # what is lost is bridged by the frame before it
  gaps = [frame.gap for frame in _shown(path)]
  assert gaps.count(True) == 1 and gaps[35]


def _shown(path):
  try:
    yield from frames.shown(path)
  except frames.DamagedError as error:
    assert "1.50 s" in str(error)


def test_a_recording_that_begins_between_key_frames(tmp_path, caplog):
  write(tmp_path / "a.ts", moving(), 24, codec=("libx264", "yuv444p", GROUPS))
  whole, _ = read(tmp_path / "a.ts", caplog)
  data = (tmp_path / "a.ts").read_bytes()
  starts = [position for _, position, _ in packets(tmp_path / "a.ts")]
  (tmp_path / "b.ts").write_bytes(
    data[: 188 * 3] + data[starts[12] :]
  )  # its tables, and what follows
  part, _ = read(tmp_path / "b.ts", caplog)
  assert np.array_equal(part[-72:], whole[-72:])


def test_times_that_jump_are_damage(tmp_path, caplog):
  path = tmp_path / "a.mkv"
  with av.open(str(path), "w") as container:
    stream = container.add_stream("ffv1", rate=24)
    stream.height, stream.width, stream.pix_fmt = 32, 32, "bgr0"
    for index, frame in enumerate(plain((200, 0, 0), 48)):
      frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
      frame.pts = index + (24 * 10**6 if index >= 24 else 0)
      container.mux(stream.encode(frame))
    container.mux(stream.encode())
  video, said = read(path, caplog)
  assert len(video) == 24 and re.search(
    "a.mkv is damaged .its times jump from 0.96 s to 1000001", said
  )


def test_a_file_of_which_nothing_is_left(tmp_path):
  path = tmp_path / "a.mp4"
  write(path, moving(8), 24, codec=("libx264", "yuv444p", GROUPS))
  data = bytearray(path.read_bytes())
  for _, position, size in packets(path):
    data[position : position + size] = bytes(size)
  path.write_bytes(data)
  for attempt in (frames.first_frame, lambda path: frames.read_video(path, 8)):
    with pytest.raises(
      ValueError, match="a.mp4 cannot be read as a video: no frame in it can be decoded"
    ):
      attempt(path)
