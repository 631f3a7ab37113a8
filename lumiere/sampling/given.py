"""Given parts of a clip, as pixels and a mask: keyframes, a video with a hole, an image with a moving region.

Images, videos and masks are fitted to the cascade's frames in the same way (`Fitting`), and each pixel is the average of its
area. So a mask stays where it was drawn. Known pixels are returned as they were fitted, bit for bit.
"""

import dataclasses
from collections.abc import Sequence
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, UInt8

from lumiere import masks
from lumiere.data import frames
from lumiere.sampling.generator import Known
from lumiere.sizes import Size, as_text, kept

# How what is given gets the shape of the frames; see `Fitting`.
Fit = Literal["crop", "pad"]


@dataclasses.dataclass(frozen=True)
class Given:
  """Part of a clip.

  Attributes:
    video: frames at the cascade's resolution; values where the mask is 0 are ignored.
    mask: how far each pixel is known, in [0, 1].
  """

  video: UInt8[np.ndarray, "t h w 3"]
  mask: Float[np.ndarray, "t h w"]

  def reduced(self, size: Size) -> "Given":
    """The same at a lower resolution; the mask of a pixel is the minimum over its area."""
    own = self.video.shape[1:3]
    if own == size:
      return self
    return Given(Fitting(own, size).video(self.video), masks.reduce(self.mask, size))

  def put_into(self, video: UInt8[np.ndarray, "t h w 3"]) -> UInt8[np.ndarray, "t h w 3"]:
    """`video` with the known pixels (mask 1) in their place."""
    return np.where(self.mask[..., None] == 1, self.video, video)


@dataclasses.dataclass(frozen=True)
class Fitting:
  """How pictures, and masks that were drawn on them, become the cascade's frames: the one place where that is decided.

  Attributes:
    source: height and width of the pictures.
    size: height and width of the frames.
    fit: "crop": the middle of the frame's shape is kept. "pad": the whole picture is kept, and what lies beside it in the frame
      is generated.
    border: left, top, right and bottom pixels that are generated around the pictures; with a border all of them is kept.
  """

  source: Size
  size: Size
  fit: Fit = "crop"
  border: tuple[int, int, int, int] = (0, 0, 0, 0)

  def __post_init__(self):
    ratios = [s * n / r for s, n, r in zip(self.source, self.size, self.region, strict=True)]
    if self.widened and min(ratios) < 1:
      raise ValueError(
        f"border={','.join(map(str, self.border))} leaves less than a pixel of the video at {as_text(self.size)}"
      )

  @property
  def widened(self) -> bool:
    """Whether all of a picture is kept, and more may be generated around it."""
    return self.fit == "pad" or any(self.border)

  @property
  def region(self) -> Size:
    """Height and width of what is shown, in the pictures' pixels: a part of them, or more."""
    left, top, right, bottom = self.border
    rows, columns = self.source[0] + top + bottom, self.source[1] + left + right
    if not self.widened:
      return kept((rows, columns), self.size)
    height, width = self.size
    return max(rows, round(columns * height / width)), max(columns, round(rows * width / height))

  @property
  def padding(self) -> tuple[tuple[int, int], tuple[int, int]]:
    """Rows above and below, columns to the left and to the right of the pictures."""
    if not self.widened:
      return (0, 0), (0, 0)
    left, top, right, bottom = self.border
    rows, columns = (
      whole - (side + before + after)
      for whole, side, before, after in zip(
        self.region, self.source, (top, left), (bottom, right), strict=True
      )
    )
    return (
      (top + rows // 2, bottom + rows - rows // 2),
      (left + columns // 2, right + columns - columns // 2),
    )

  def frame(self, frame: UInt8[np.ndarray, "_h _w 3"]) -> UInt8[np.ndarray, "h w 3"]:
    """A picture; one of another size than the others is fitted to theirs first. Its edge goes on in what lies beside it."""
    if frame.shape[:2] != self.source:
      frame = frames.fit(frame, *self.source)
    return frames.fit(np.pad(frame, (*self.padding, (0, 0)), mode="edge"), *self.size)

  def video(self, video: UInt8[np.ndarray, "t _h _w 3"]) -> UInt8[np.ndarray, "t h w 3"]:
    """Some pictures."""
    return np.stack([self.frame(frame) for frame in video])

  def known(self, new: Bool[np.ndarray, "_h _w"] | None = None) -> Float[np.ndarray, "h w"]:
    """1 where a frame shows the pictures alone, and none of their `new` pixels.

    Raises:
      ValueError: if the mask has not the pictures' size.
    """
    if new is None:
      new = np.zeros(self.source, bool)
    check_same_size("mask", new.shape, self.source)
    new = np.pad(new, self.padding, constant_values=True)
    shares = area_shares(~new[None], self.size)[0]
    return (shares > 1 - 1e-4).astype(np.float32)

  def describe(self) -> str:
    """For people: what is done to the pictures."""
    source, region, size = map(as_text, (self.source, self.region, self.size))
    if self.widened:
      how = "shown whole" if self.region == self.source else f"widened to {region}"
      how += "" if region == size else f", resized to {size}"
    elif self.region == self.source:
      how = "shown whole" if source == size else f"resized to {size}"
    else:
      how = f"the middle {region} of it are" + (
        " shown" if region == size else f" resized to {size}"
      )
    return f"{source} pixels (height x width), {how}"


def area_shares(mask: Bool[np.ndarray, "t _h _w"], size: Size) -> Float[np.ndarray, "t h w"]:
  """The share of each new pixel's area in which a mask, of which the middle is kept, is true."""
  floats = mask[..., None].astype(np.float32)
  return frames.area_resize(frames.middle(floats, *size), *size)[..., 0]


def pictures(
  images: Sequence[UInt8[np.ndarray, "_h _w 3"]],
  at: Sequence[int],
  num_frames: int,
  size: Size,
  moving: Bool[np.ndarray, "mh mw"] | None = None,
  soft_edge: int = 0,
  fit: Fit = "crop",
) -> Given:
  """Image-to-video: images as keyframes, or with `moving` one image of which only that region moves.

  Raises:
    ValueError: if a frame is outside the clip; with `moving`, unless there is one image, at frame 0 and of the mask's size.
  """
  if moving is None:
    return keyframes(images, at, num_frames, size, fit)
  if len(images) != 1 or tuple(at) != (0,):
    raise ValueError(
      f"a moving region needs one image, at frame 0: got {len(images)} images at {', '.join(map(str, at))}"
    )
  return cinemagraph(images[0], moving, num_frames, size, soft_edge, fit)


def keyframes(
  images: Sequence[UInt8[np.ndarray, "_h _w 3"]],
  at: Sequence[int],
  num_frames: int,
  size: Size,
  fit: Fit = "crop",
) -> Given:
  """Images at frames `at`; -1 is the last frame.

  Raises:
    ValueError: if the numbers of images and frames differ, or a frame is outside the clip or named twice.
  """
  if len(images) != len(at) or not len(at):
    raise ValueError(
      f"{len(images)} images for {len(at)} keyframes: one image per keyframe is needed"
    )
  places = [_place(frame, num_frames) for frame in at]
  if len(set(places)) < len(places):
    raise ValueError(f"keyframes {', '.join(map(str, at))}: two images for one frame")
  video = np.zeros((num_frames, *size, 3), np.uint8)
  mask = np.zeros((num_frames, *size), np.float32)
  for image, place in zip(images, places, strict=True):
    fitting = Fitting(image.shape[:2], size, fit)
    video[place], mask[place] = fitting.frame(image), fitting.known()
  return Given(video, mask)


def _place(frame: int, num_frames: int) -> int:
  if not -num_frames <= frame < num_frames:
    raise ValueError(
      f"keyframe {frame} is outside the clip: its {num_frames} frames are 0 to {num_frames - 1}"
    )
  return frame % num_frames


def cinemagraph(
  image: UInt8[np.ndarray, "h w 3"],
  moving: Bool[np.ndarray, "mh mw"],
  num_frames: int,
  size: Size,
  soft_edge: int = 0,
  fit: Fit = "crop",
) -> Given:
  """An image of which only the region `moving` changes; all of it is known at frame 0."""
  fitting = Fitting(image.shape[:2], size, fit)
  video = np.repeat(fitting.frame(image)[None], num_frames, axis=0)
  still = masks.soften(fitting.known(moving)[None], soft_edge)
  mask = np.repeat(still, num_frames, axis=0)
  mask[0] = fitting.known()
  return Given(video, mask)


def with_hole(
  video: UInt8[np.ndarray, "t h w 3"],
  new: Bool[np.ndarray, "mt mh mw"],
  size: Size,
  soft_edge: int = 0,
  fit: Fit = "crop",
) -> Given:
  """A video whose pixels are generated where `new` is true."""
  fitting = Fitting(video.shape[1:3], size, fit)
  return hole(fitting.video(video), np.stack([fitting.known(mask) for mask in new]), soft_edge)


def hole(
  video: UInt8[np.ndarray, "t h w 3"], known: Float[np.ndarray, "mt h w"], soft_edge: int = 0
) -> Given:
  """A fitted video of which only the `known` pixels are kept; raises ValueError if the mask has another number of frames."""
  if len(known) not in (1, len(video)):
    raise ValueError(
      f"the mask has {len(known)} frames, the video {len(video)}: give 1 frame, or as many as the video has"
    )
  known = masks.soften(known, soft_edge)
  return Given(video, np.broadcast_to(known, video.shape[:3]).copy())


def check_something_is_new(given: Sequence[Given]):
  """Raises ValueError if all pixels of a clip are known."""
  if any((each.mask == 1).all() for each in given):
    raise ValueError(
      "nothing is left to generate: all that a frame shows of what was given is known. The part to "
      "generate lies outside of it, or is smaller than a pixel"
    )


def beginning(
  video: UInt8[np.ndarray, "t h w 3"], num_frames: int, size: Size, fit: Fit = "crop"
) -> Given:
  """A clip whose first frames are those of `video`.

  Raises:
    ValueError: if that leaves no frame to generate.
  """
  fitting = Fitting(video.shape[1:3], size, fit)
  return continued(fitting.video(video), fitting.known(), num_frames)


def continued(
  video: UInt8[np.ndarray, "t h w 3"], known: Float[np.ndarray, "h w"], num_frames: int
) -> Given:
  """The same of frames that are fitted already; `known` says which of their pixels are given."""
  if len(video) >= num_frames:
    raise ValueError(
      f"num_frames={num_frames} must be more than the {len(video)} frames that are given"
    )
  more = [(0, num_frames - len(video)), (0, 0), (0, 0)]
  mask = np.pad(np.broadcast_to(known, video.shape[:3]), more)
  return Given(np.pad(video, [*more, (0, 0)]), mask)


def check_same_size(name: str, ours: Sequence[int], theirs: Sequence[int]):
  """Raises ValueError unless a mask has the size of its image or video."""
  if tuple(ours) != tuple(theirs):
    raise ValueError(
      f"the {name} has {ours[0]}x{ours[1]} pixels (height x width), but its image or video has {theirs[0]}x{theirs[1]}"
    )


def as_known(given: Sequence[Given]) -> Known | None:
  """The given pixels of all clips for `Generator.sample`, in [-1, 1]; None if there are none."""
  if not given:
    return None
  video = np.stack([frames.to_float(each.video) for each in given])
  return Known(video, np.stack([each.mask[..., None] for each in given]))


def put_back(given: Sequence[Given], videos) -> UInt8[np.ndarray, "b t h w 3"]:
  """Videos in [-1, 1] -> uint8, with given pixels in their place, exactly."""
  made = frames.to_uint8(np.asarray(videos))
  if not given:
    return made
  return np.stack([each.put_into(video) for each, video in zip(given, made, strict=True)])
