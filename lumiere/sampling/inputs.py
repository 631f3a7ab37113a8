"""Inputs of a user, read and checked: prompts, images, videos, masks.

This needs neither weights nor JAX, so that errors are reported before anything large is loaded.
"""

import pathlib
import re
from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Bool, UInt8

from lumiere.data import frames
from lumiere.sampling import prompts as timed
from lumiere.sampling.prompts import Prompt


def read_prompts(given: Sequence[str], path: str | None = None) -> list[Prompt]:
  """Prompts given one by one, and those of a text file with one per line.

  Raises:
    ValueError: if there is none, or one is blank.
    OSError: if the file cannot be read.
  """
  prompts = list(given)
  if path is not None:
    try:
      text = pathlib.Path(path).read_text(encoding="utf-8-sig")  # without a byte order mark
    except UnicodeDecodeError as error:
      raise ValueError(
        f"--prompts_file={path} is not UTF-8 text: byte {error.start} cannot be read; save it as UTF-8"
      ) from error
    # Lines end at newlines only: a prompt may hold other separators of Unicode.
    found = [line.strip() for line in text.split("\n") if line.strip()]
    if not found:
      raise ValueError(f"--prompts_file={path} holds no prompt: one per line is expected")
    prompts += found
  if not prompts:
    raise ValueError("--prompt is missing: give at least one prompt, or --prompts_file")
  if blank := [prompt for prompt in prompts if not prompt.strip()]:
    raise ValueError(f"--prompt={blank[0]!r} is blank")
  parsed = timed.parse(prompts)
  if timed.looks_timed(parsed):
    print(
      "note: no prompt begins at frame 0, so numbers before a colon are read as part of the prompts"
    )
  return parsed


def read_images(paths: Sequence[str]) -> list[UInt8[np.ndarray, "_h _w 3"]]:
  """Image files; prints their sizes.

  Raises:
    ValueError: if there is none, or one is not an image.
  """
  if not paths:
    raise ValueError("--image is missing: give the image to animate")
  images = [frames.read_image(path) for path in paths]
  for path, image in zip(paths, images, strict=True):
    print(f"{path}: {image.shape[1]}x{image.shape[0]} pixels; its middle square is resized")
  return images


def read_video(
  path: str | None, fps: float, size: int, usable: Callable[[int], int] = lambda count: count
) -> UInt8[np.ndarray, "t h w 3"]:
  """A video file at the model's frame rate; prints what is used of it.

  Args:
    path: of the file.
    fps: frames per second.
    size: side of the model's frames, for the message.
    usable: from the number of frames in the file to how many of them are used; by default all.

  Raises:
    ValueError: if no file is given, it cannot be read or is too short.
  """
  if path is None:
    raise ValueError("--video is missing: give a video file")
  video = frames.read_video(path, fps)
  used = video[: usable(len(video))]
  if not len(used):
    raise ValueError(f"--video={path} is too short: it has {len(video)} frames at {fps:g} fps")
  print(
    f"{path}: {len(video)} frames at {fps:g} fps, {len(used)} used; {video.shape[2]}x{video.shape[1]} pixels, the middle "
    f"square is resized to {size}x{size}"
  )
  return used


def read_hole(
  video: UInt8[np.ndarray, "t h w 3"],
  fps: float,
  *,
  mask: str | None = None,
  box: Sequence[str] | None = None,
  border: Sequence[str] | None = None,
) -> tuple[UInt8[np.ndarray, "t h2 w2 3"], Bool[np.ndarray, "t2 h2 w2"]]:
  """The part of a video that is generated, given in one of three ways.

  Args:
    video: the clip.
    fps: its frame rate.
    mask: an image or video file of the clip's size, white where pixels are generated.
    box: left, top, right and bottom of a rectangle, in pixels.
    border: left, top, right and bottom widths, in pixels, that are added around the clip.

  Returns:
    (the video with its border, a mask that is True where pixels are generated; one for all frames, or one per frame).

  Raises:
    ValueError: if not exactly one way is given, or it does not fit the video.
  """
  if [mask, box, border].count(None) != 2:
    raise ValueError(
      "one of --mask, --box and --border is needed: the part of the video to generate"
    )
  height, width = video.shape[1:3]
  if mask is not None:
    new = frames.read_mask(mask, fps)
    return video, new if len(new) == 1 else new[: len(video)]
  if box is not None:
    left, top, right, bottom = four_numbers("box", box)
    if not (0 <= left < right <= width and 0 <= top < bottom <= height):
      raise ValueError(f"--box={','.join(box)} must lie within the video's {width}x{height} pixels")
    new = np.zeros((1, height, width), bool)
    new[:, top:bottom, left:right] = True
    return video, new
  left, top, right, bottom = four_numbers("border", border)
  if min(left, top, right, bottom) < 0 or not any((left, top, right, bottom)):
    raise ValueError(f"--border={','.join(border)} must be 0 or more pixels, one above 0")
  around = ((0, 0), (top, bottom), (left, right))
  new = np.pad(np.zeros((1, height, width), bool), around, constant_values=True)
  return np.pad(video, (*around, (0, 0))), new


def four_numbers(name: str, values: Sequence[str]) -> list[int]:
  """LEFT,TOP,RIGHT,BOTTOM as whole numbers; raises ValueError."""
  if len(values) != 4 or not all(re.fullmatch(r"\s*-?\d+\s*", value) for value in values):
    raise ValueError(
      f"--{name}={','.join(values)} must be four whole numbers, LEFT,TOP,RIGHT,BOTTOM"
    )
  return [int(value) for value in values]
