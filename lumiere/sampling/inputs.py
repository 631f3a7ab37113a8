"""Input files of a user, images, videos and masks, read and fitted to a model's frames.

Errors are reported before weights are read.
"""

import re
from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import UInt8

from lumiere.data import frames
from lumiere.sampling import given as givens
from lumiere.sampling.given import Fitting, Given
from lumiere.sizes import Size


def read_images(paths: Sequence[str]) -> list[UInt8[np.ndarray, "_h _w 3"]]:
  """Image files.

  Raises:
    ValueError: if there is none, or one is not an image.
  """
  if not paths:
    raise ValueError("--image is missing: give the image to animate")
  return [frames.read_image(path) for path in paths]


def size_of_video(path: str | None) -> Size:
  """Height and width of a video file's pictures; raises ValueError if no file is given or it cannot be read."""
  if path is None:
    raise ValueError("--video is missing: give a video file")
  return frames.first_frame(path).shape[:2]


def read_video(
  path: str, fps: float | int, fitting: Fitting, usable: Callable[[int], int] = lambda count: count
) -> UInt8[np.ndarray, "t h w 3"]:
  """A video file at the model's frame rate, fitted; prints what is used of it.

  Args:
    path: of the file.
    fps: frames per second.
    fitting: of its frames. They are fitted as they come: memory does not grow with the file's pixels.
    usable: from the number of frames in the file to how many of them are used; by default all.

  Raises:
    ValueError: if it cannot be read or is too short.
  """
  video = frames.read_video(path, fps, fitting.frame)
  used = video[: usable(len(video))]
  if not len(used):
    raise ValueError(f"--video={path} is too short: it has {len(video)} frames at {fps:g} fps")
  print(f"{path}: {len(video)} frames at {fps:g} fps, {len(used)} used; {fitting.describe()}")
  return used


def read_hole(
  path: str,
  fps: float | int,
  fitting: Fitting,
  usable: Callable[[int], int] = lambda count: count,
  *,
  mask: str | None = None,
  box: Sequence[str] | None = None,
  soft_edge: int = 0,
) -> Given:
  """A video file of which a part is generated: a mask, a box or the border; prints what is used of it.

  Args:
    path: of the video.
    fps: frames per second.
    fitting: of its frames; one with a border generates that, and the video is not cropped then.
    usable: see `read_video`.
    mask: an image or video file of the video's size, white where pixels are generated.
    box: left, top, right and bottom of a rectangle, in the video's pixels.
    soft_edge: pixels over which kept pixels blend into generated ones.

  Raises:
    ValueError: if not exactly one way is given, it does not fit the video, or nothing is left to generate.
  """
  if [mask, box, fitting.border if any(fitting.border) else None].count(None) != 2:
    raise ValueError(
      "one of --mask, --box and --border is needed: the part of the video to generate"
    )
  new = np.zeros((1, *fitting.source), bool)
  if box is not None:
    left, top, right, bottom = four_numbers("box", box)
    height, width = fitting.source
    if not (0 <= left < right <= width and 0 <= top < bottom <= height):
      raise ValueError(
        f"--box={','.join(box)} must lie within the video, which is {width} pixels wide and {height} high"
      )
    new[:, top:bottom, left:right] = True
  if mask is not None:
    known = frames.read_mask(mask, fps, fitting.known)
  else:
    known = np.stack([fitting.known(new[0])])
  video = read_video(path, fps, fitting, usable)
  given = givens.hole(video, known if len(known) == 1 else known[: len(video)], soft_edge)
  givens.check_something_is_new([given])
  return given


def read_border(border: Sequence[str] | None) -> tuple[int, int, int, int]:
  """Left, top, right and bottom widths in pixels; raises ValueError unless all are 0 or more, and one above 0."""
  if border is None:
    return (0, 0, 0, 0)
  widths = four_numbers("border", border)
  if min(widths) < 0 or not any(widths):
    raise ValueError(f"--border={','.join(border)} must be 0 or more pixels, one above 0")
  return tuple(widths)


def four_numbers(name: str, values: Sequence[str]) -> list[int]:
  """LEFT,TOP,RIGHT,BOTTOM as whole numbers; raises ValueError."""
  if len(values) != 4 or not all(re.fullmatch(r"\s*-?\d+\s*", value) for value in values):
    raise ValueError(
      f"--{name}={','.join(values)} must be four whole numbers, LEFT,TOP,RIGHT,BOTTOM"
    )
  return [int(value) for value in values]
