"""One video file -> clips of equal length, frame rate and size.

Clip k shows the times

    k n / fps + i / fps + phase_k,   i = 0 ... n - 1,   phase_k uniform in [0, 1 / fps)                                (1)

of the file, each by the frame that a player would show then. Were every phase zero, a source of another rate would repeat
or drop frames at the same places of every clip, a judder that a network would learn; so each clip has its own phase, drawn
from the seed, the file's name and k. Clips do not overlap. A file is read frame by frame and never held as a whole.
"""

import hashlib
import pathlib
from collections.abc import Iterator
from typing import NamedTuple

import av
import numpy as np
from jaxtyping import UInt8

from lumiere.data import frames

Frame = UInt8[np.ndarray, "h w 3"]


class Clip(NamedTuple):
  """`start`: time of the first frame in its file, in seconds."""

  start: float
  video: UInt8[np.ndarray, "t h w 3"]


class UnusableError(ValueError):
  """A file gives no clips, or no more of them; the message is for the user."""


def read_clips(
  folder: pathlib.Path, name: str, *, num_frames: int, fps: float, resolution: int, seed: int
) -> Iterator[Clip]:
  """Clips of the file `name` in `folder`; frames are centre-cropped to squares and area-averaged to `resolution`.

  The first clip is made without reading more of the file than it needs.

  Raises:
    UnusableError: if the file cannot be decoded, is smaller than `resolution`, or shorter than a clip.
  """
  phases = np.random.default_rng([seed, *hashlib.sha256(name.encode()).digest()])
  count, clip, phase, until = 0, [], phases.uniform(0, 1 / fps), 0.0
  for frame, until, last in _shown(folder / name):
    fitted = None
    # The last frame stays on for the phase: whether a file is long enough must not be a matter of chance.
    while (time := (count * num_frames + len(clip)) / fps) + (0.0 if last else phase) < until:
      fitted = _fit(frame, resolution) if fitted is None else fitted
      clip.append(fitted)
      if len(clip) == num_frames:
        yield Clip(time - (num_frames - 1) / fps + phase, np.stack(clip))
        count, clip, phase = count + 1, [], phases.uniform(0, 1 / fps)
  if not count:
    raise UnusableError(f"too short: {until:.2f} s, a clip is {num_frames} frames at {fps:g} fps")


def _shown(path: pathlib.Path) -> Iterator[tuple[Frame, float, bool]]:
  """(frame, when the next one replaces it, whether it is the last), with the first frame at time zero."""
  begin, shown, frame, gap = None, 0.0, None, 0.0
  try:
    for time, following in frames.decode(path):
      if frame is None:
        begin = time
      else:
        gap = time - begin - shown
        yield frame, time - begin, False
      shown, frame = time - begin, following
  except (ValueError, OSError, av.FFmpegError) as error:
    raise UnusableError(f"cannot be decoded: {error}") from error
  if frame is not None:
    # Less a tolerance for sums of rounded timestamps; a file of a single frame, a picture, is shown for one at any rate.
    yield frame, shown + (gap or 2e-6) - 1e-6, True


def _fit(frame: Frame, resolution: int) -> UInt8[np.ndarray, "size size 3"]:
  height, width, _ = frame.shape
  if min(height, width) < resolution:
    raise UnusableError(f"too small: {width}x{height} pixels, resolution={resolution}")
  square = frames.center_crop(frame[None], min(height, width))
  return frames.to_uint8(frames.area_resize(frames.to_float(square), resolution))[0]
