"""Video files, read as a player shows them.

A frame is shown from its own time until the next one's, the last one for its own duration: a file of exactly 2 s gives 16
frames at 8 fps, whatever its own rate. Frames are fitted as they come, so that memory follows the result and not the file.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
from absl import logging
from etils import epath
from jaxtyping import Bool, UInt8

from lumiere.data.frames import arrays
from lumiere.data.frames.decoding import DamagedError, decode
from lumiere.data.frames.pictures import UnreadableError

# A frame that stays for longer, in seconds, is taken for a damaged time.
MAX_HOLD = 600.0
# Of sums of times, in seconds.
_TOLERANCE = 1e-6


class Shown(NamedTuple):
  """One frame of a video.

  Attributes:
    picture: makes its pixels; raises UnreadableError if that is not possible.
    small: makes its pixels with a shorter side of so many pixels, quickly, see `pixels.thumbnail`.
    size: (height, width) of `picture`.
    until: when another one replaces it, in seconds after the first one appears.
    last: whether there is no other one.
    gap: whether frames after it are lost, so that it stays for longer than it should.
  """

  picture: Callable[[], UInt8[np.ndarray, "h w 3"]]
  small: Callable[[int], UInt8[np.ndarray, "h w 3"]]
  size: tuple[int, int]
  until: float
  last: bool = False
  gap: bool = False


def shown(path: epath.PathLike) -> Iterator[Shown]:
  """The frames of a video file, an animation or a picture, and for how long each is shown.

  Times that are rounded to the file's unit, a millisecond in WebM, are taken for earlier by half of it: they do not move a
  frame past the moment for which it was meant.

  Raises:
    UnreadableError: if there is none.
    DamagedError: after the last frame, if part of the file is lost.
  """
  frame, damage, begin, time, step = None, None, 0.0, 0.0, 0.0
  try:
    for following in decode(path):
      if frame is not None:
        # Without a time, or with one that goes back, a frame follows the one before it.
        usual = time + (frame.duration or step)
        after = usual if following.time is None else max(following.time - begin, 0)
        after = usual if after < time else after
        if after - time > MAX_HOLD:
          raise DamagedError(f"its times jump from {time:.2f} s to {after:.2f} s")
        until = after - following.rounding - _TOLERANCE
        yield Shown(frame.picture, frame.small, frame.size, until, gap=following.after_loss)
        step = after - time or step
        time = after
      else:
        begin = following.time or 0.0
      frame = following
  except DamagedError as error:
    damage = error
  if frame is not None:
    stays = frame.duration if 0 < frame.duration <= MAX_HOLD else step
    # A picture has no duration, and is shown all the same.
    stays = max(stays - 2 * frame.rounding - _TOLERANCE, _TOLERANCE)
    yield Shown(frame.picture, frame.small, frame.size, time + stays, last=True)
  if damage is not None:
    raise damage


def read_video(
  path: epath.PathLike,
  fps: float | int,
  fit: Callable[[UInt8[np.ndarray, "_h _w 3"]], UInt8[np.ndarray, "_h2 _w2 3"]] | None = None,
  *,
  strict: bool = False,
) -> UInt8[np.ndarray, "t h w 3"]:
  """A video file, an animation or a picture at another frame rate: frame i is what a player shows at time i / fps.

  Frames are upright, of square pixels, and over black where they are transparent.

  Args:
    path: the file.
    fps: frames per second of the result.
    fit: what to make of each frame as it comes; only its results are kept, and all must have one size. Without it frames
      keep their size; those of another size than the first are cropped and resized to it.
    strict: if part of the file is lost, a warning says so and the rest is returned; if `strict`, that is an error.

  Raises:
    ValueError: if no frame can be read, or if `strict` not all of them; says why.
  """
  return np.stack(_read(path, fps, fit or _Alike(), "a video", strict))


def read_mask(
  path: epath.PathLike,
  fps: float | int,
  fit: Callable[[Bool[np.ndarray, "_h _w"]], np.ndarray] | None = None,
) -> Bool[np.ndarray, "t h w"] | np.ndarray:
  """A mask file, a picture (t = 1) or a video at a frame rate: True where it is white.

  A pixel is white if the mean of its colours is 128 or more of 255. Where the file is transparent it is black.

  Args:
    path: the file.
    fps: frames per second of the result.
    fit: what to make of each mask [h w] as it comes, as in `read_video`.

  Raises:
    ValueError: if no frame can be read; says why.
  """
  alike = _Alike()
  finish = fit or (lambda mask: mask)
  white = lambda frame: (frame if fit else alike(frame)).mean(axis=-1) >= 128
  return np.stack(_read(path, fps, lambda frame: finish(white(frame)), "a mask"))


def first_frame(path: epath.PathLike) -> UInt8[np.ndarray, "h w 3"]:
  """The first frame that `read_video` would give, without reading more: what masks and boxes are drawn on.

  Raises:
    ValueError: if no frame can be read; says why.
  """
  try:
    return next(shown(path)).picture()
  except UnreadableError as error:
    raise ValueError(f"{path} cannot be read as a video: {error}") from error


def _read(
  path: epath.PathLike, fps: float | int, fit: Callable, what: str, strict: bool = False
) -> list[Any]:
  """What `fit` makes of the frame that is shown at i / fps, i = 0, 1, ..."""
  result = []
  try:
    for frame in shown(path):
      fitted = None
      while len(result) / fps < frame.until:
        fitted = fit(frame.picture()) if fitted is None else fitted
        result.append(fitted)
  except UnreadableError as error:
    raise ValueError(f"{path} cannot be read as {what}: {error}") from error
  except DamagedError as error:
    if strict:
      raise ValueError(f"{path} is damaged: {error}") from error
    logging.warning("%s is damaged (%s); the rest of it is used", path, error)
  return result


class _Alike:
  """Frames as they are; those of another size than the first are fitted to it."""

  def __init__(self):
    self._size = None

  def __call__(self, frame: UInt8[np.ndarray, "_h _w 3"]) -> UInt8[np.ndarray, "_h2 _w2 3"]:
    self._size = self._size or frame.shape[:2]
    return frame if frame.shape[:2] == self._size else arrays.fit(frame, *self._size)
