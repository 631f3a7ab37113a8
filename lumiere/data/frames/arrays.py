"""Frames as arrays: ranges, sizes, orientation."""

import functools

import einops
import numpy as np
from jaxtyping import Float, Shaped, UInt8

from lumiere.sizes import kept


def to_float(frames: UInt8[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
  """0..255 -> [-1, 1], float32."""
  return frames.astype(np.float32) / 127.5 - 1


def to_uint8(frames: Float[np.ndarray, "..."]) -> UInt8[np.ndarray, "..."]:
  """[-1, 1] -> 0..255; what lies outside is clipped."""
  return np.clip(np.rint((np.asarray(frames, np.float32) + 1) * 127.5), 0, 255).astype(np.uint8)


def middle(
  frames: Shaped[np.ndarray, "*t h w c"], height: int, width: int
) -> Shaped[np.ndarray, "*t h2 w2 c"]:
  """The largest part in the middle of the frames that has the shape of `height` x `width`, in whole pixels."""
  before = frames.shape[-3:-1]
  rows, columns = kept(before, (height, width))
  top, left = (before[0] - rows) // 2, (before[1] - columns) // 2
  return frames[..., top : top + rows, left : left + columns, :]


def area_resize(
  frames: Float[np.ndarray, "t h w c"], height: int, width: int | None = None
) -> Float[np.ndarray, "t h2 w2 c"]:
  """Each new pixel is the mean over the area it covers, fractions of pixels included.

  Args:
    frames: of any size.
    height: of the new frames.
    width: of the new frames; without it they are squares.
  """
  width = height if width is None else width
  before = frames.shape[1:3]
  if before == (height, width):
    return frames
  if not (before[0] % height or before[1] % width):  # by whole factors, several times as fast
    return einops.reduce(frames, "t (h y) (w x) c -> t h w c", "mean", h=height, w=width)
  rows, columns = _area_weights(before[0], height), _area_weights(before[1], width)
  return np.einsum("yh,thwc,xw->tyxc", rows, frames, columns, optimize=True).astype(np.float32)


def _area_weights(before: int, after: int) -> Float[np.ndarray, "after before"]:
  """Share of old pixel j in new pixel i: the overlap of two intervals."""
  edges = np.arange(after + 1) * before / after
  pixels = np.arange(before)
  overlap = np.minimum(edges[1:, None], pixels + 1.0) - np.maximum(edges[:-1, None], pixels)
  return (np.maximum(overlap, 0) * after / before).astype(np.float32)


def fit(
  frame: UInt8[np.ndarray, "h w 3"], height: int, width: int | None = None
) -> UInt8[np.ndarray, "h2 w2 3"]:
  """The largest part in the middle that has the new shape, area-averaged to it.

  Args:
    frame: of any size.
    height: of the new frame.
    width: of the new frame; without it the frame is a square.
  """
  width = height if width is None else width
  frame = middle(frame, height, width)
  if frame.shape[:2] == (height, width):
    return frame
  if height <= frame.shape[0] and width <= frame.shape[1]:
    return opencv().resize(frame, (width, height), interpolation=opencv().INTER_AREA)
  return to_uint8(area_resize(to_float(frame[None]), height, width))[0]


@functools.cache
def opencv():
  """OpenCV, imported where pictures are read; in one thread, as those that read them are several already."""
  import cv2

  cv2.setNumThreads(1)
  return cv2


def turn(picture: np.ndarray, transposed: bool, mirrored: bool, flipped: bool) -> np.ndarray:
  """A picture [h w ...] with its axes swapped, then left and right swapped, then top and bottom."""
  if transposed:
    picture = picture.swapaxes(0, 1)
  if mirrored:
    picture = picture[:, ::-1]
  return picture[::-1] if flipped else picture


def enlarge(
  frames: UInt8[np.ndarray, "*b h w 3"], min_side: int
) -> UInt8[np.ndarray, "*b h2 w2 3"]:
  """Repeats pixels until the shorter side has at least `min_side`; larger frames stay."""
  factor = -(-min_side // min(frames.shape[-3:-1]))
  return frames.repeat(factor, axis=-3).repeat(factor, axis=-2)
