"""One video file -> clips of equal length, frame rate and size.

Clip k shows the times

    k n / fps + i / fps + phase_k,   i = 0 ... n - 1,   phase_k uniform in [0, 1 / fps)                                (1)

of the file, each by the frame that a player would show then. Were every phase zero, a source of another rate would repeat
or drop frames at the same places of every clip, a judder that a network would learn; so each clip has its own phase, drawn
from the seed, the file's name and k. Clips do not overlap, and none spans a
place where frames are lost. A file is read frame by frame and never held as a whole.
"""

import hashlib
import math
import pathlib
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8

from lumiere.data import frames
from lumiere.sizes import Size, as_text, size_of


class Clip(NamedTuple):
  """`start`: time of the first frame in its file, in seconds."""

  start: float
  video: UInt8[np.ndarray, "t h w 3"]


class UnusableError(ValueError):
  """A file gives no clips, or no more of them; the message is for the user."""


def read_clips(
  folder: pathlib.Path,
  name: str,
  *,
  num_frames: int,
  fps: float,
  resolution: int | Sequence[int],
  seed: int,
) -> Iterator[Clip]:
  """Clips of the file `name` in `folder`; of frames the middle of the shape of `resolution` is kept, and area-averaged to it.

  The first clip is made without reading more of the file than it needs.

  Raises:
    UnusableError: if the file cannot be read, is smaller than `resolution`, or shorter than a clip; after the last clip,
      if part of it is lost.
  """
  size = size_of(resolution, "resolution")
  phases = np.random.default_rng([seed, *hashlib.sha256(name.encode()).digest()])
  made, count, clip, phase, until = 0, 0, [], phases.uniform(0, 1 / fps), 0.0
  damage = None
  try:
    for frame in frames.shown(folder / name):
      fitted, until = None, frame.until
      if frame.gap:
        count, clip = math.ceil(until * fps / num_frames), []
      # The last frame stays on for the phase: whether a file is long enough must not be a matter of chance.
      while (time := (count * num_frames + len(clip)) / fps) + (0 if frame.last else phase) < until:
        fitted = _fit(frame.picture(), size) if fitted is None else fitted
        clip.append(fitted)
        if len(clip) == num_frames:
          yield Clip(time - (num_frames - 1) / fps + phase, np.stack(clip))
          made, count, clip, phase = made + 1, count + 1, [], phases.uniform(0, 1 / fps)
  except frames.UnreadableError as error:
    raise UnusableError(f"cannot be read: {error}") from error
  except frames.DamagedError as error:
    damage = error
  if damage is not None:
    raise UnusableError(f"damaged: {damage}") from damage
  if not made:
    raise UnusableError(f"too short: {until:.2f} s, a clip is {num_frames} frames at {fps:g} fps")


def _fit(frame: UInt8[np.ndarray, "h w 3"], size: Size) -> UInt8[np.ndarray, "h2 w2 3"]:
  if any(np.less(frame.shape[:2], size)):
    raise UnusableError(f"too small: {as_text(frame.shape[:2])} pixels, resolution={as_text(size)}")
  return frames.fit(frame, *size)
