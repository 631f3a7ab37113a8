"""Given parts of a clip, as pixels and a mask: keyframes, a video with a hole, an image with a moving region.

Images, videos and masks are fitted to the cascade's square frames in the same way: the middle is cropped, and each pixel is the
average of its area. So a mask stays where it was drawn. A border, in contrast, widens the frame: the frame is extended to a
square, and nothing is cropped. Known pixels are returned as they were fitted, bit for bit.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float, UInt8

from lumiere import masks
from lumiere.data import frames
from lumiere.sampling.generator import Known


@dataclasses.dataclass(frozen=True)
class Given:
  """Part of a clip.

  Attributes:
    video: frames at the cascade's resolution; values where the mask is 0 are ignored.
    mask: how far each pixel is known, in [0, 1].
  """

  video: UInt8[np.ndarray, "t h w 3"]
  mask: Float[np.ndarray, "t h w"]

  def reduced(self, size: int) -> "Given":
    """The same at a lower resolution; the mask of a pixel is the minimum over its area."""
    if self.video.shape[1] == size:
      return self
    video = fit_video(self.video, size)
    return Given(video, masks.reduce(self.mask, size))

  def put_into(self, video: UInt8[np.ndarray, "t h w 3"]) -> UInt8[np.ndarray, "t h w 3"]:
    """`video` with the known pixels (mask 1) in their place."""
    return np.where(self.mask[..., None] == 1, self.video, video)


@dataclasses.dataclass(frozen=True)
class Fitting:
  """How the frames of a video, and masks that were drawn on them, become the cascade's square frames.

  Attributes:
    source: height and width of the video.
    size: side of the cascade's frames.
    border: left, top, right and bottom pixels that are added around the video; the shorter side gets further ones, so that
      the whole becomes a square.
  """

  source: tuple[int, int]
  size: int
  border: tuple[int, int, int, int] = (0, 0, 0, 0)

  def __post_init__(self):
    shown = self.size * min(self.source) / self.square
    if any(self.border) and shown < 1:
      raise ValueError(
        f"border={','.join(map(str, self.border))} leaves less than a pixel of the video at {self.size}x{self.size}"
      )

  @property
  def square(self) -> int:
    """Side of what is kept of the video, or with a border of the square around both, in the video's pixels."""
    left, top, right, bottom = self.border
    height, width = self.source
    return (max if any(self.border) else min)(height + top + bottom, width + left + right)

  @property
  def padding(self) -> tuple[tuple[int, int], tuple[int, int]]:
    """Rows above and below, columns to the left and to the right of the video."""
    if not any(self.border):
      return (0, 0), (0, 0)
    left, top, right, bottom = self.border
    rows, columns = (
      self.square - (side + before + after)
      for side, before, after in zip(self.source, (top, left), (bottom, right), strict=True)
    )
    return (
      (top + rows // 2, bottom + rows - rows // 2),
      (left + columns // 2, right + columns - columns // 2),
    )

  def frame(self, frame: UInt8[np.ndarray, "_h _w 3"]) -> UInt8[np.ndarray, "s s 3"]:
    """A frame; one of another size than the video's is fitted to that first."""
    if frame.shape[:2] != self.source:
      frame = frames.fit(frame, *self.source)
    return frames.fit(np.pad(frame, (*self.padding, (0, 0))), self.size)

  def known(self, new: Bool[np.ndarray, "_h _w"]) -> Float[np.ndarray, "s s"]:
    """1 where nothing is `new`, neither in the mask nor in the border.

    Raises:
      ValueError: if the mask has not the video's size.
    """
    check_same_size("mask", new.shape, self.source)
    new = np.pad(new, self.padding, constant_values=True)
    return fit_mask(~new[None], self.size)[0]


def fit_video(video: UInt8[np.ndarray, "t h w 3"], size: int) -> UInt8[np.ndarray, "t s s 3"]:
  """Middle square, area-averaged to `size`."""
  square = frames.center_crop(video, min(video.shape[1:3]))
  if square.shape[1] == size:
    return square
  return frames.to_uint8(frames.area_resize(frames.to_float(square), size))


def fit_mask(mask: np.ndarray, size: int) -> Float[np.ndarray, "t s s"]:
  """The same for a mask [t h w]: 1 only where the whole area is."""
  square = frames.center_crop(mask[..., None].astype(np.float32), min(mask.shape[1:3]))
  shares = frames.area_resize(square, size)[..., 0]
  return (shares > 1 - 1e-4).astype(np.float32)


def pictures(
  images: Sequence[UInt8[np.ndarray, "_h _w 3"]],
  at: Sequence[int],
  num_frames: int,
  size: int,
  moving: Bool[np.ndarray, "mh mw"] | None = None,
  soft_edge: int = 0,
) -> Given:
  """Image-to-video: images as keyframes, or with `moving` one image of which only that region moves.

  Raises:
    ValueError: if a frame is outside the clip; with `moving`, unless there is one image, at frame 0 and of the mask's size.
  """
  if moving is None:
    return keyframes(images, at, num_frames, size)
  if len(images) != 1 or tuple(at) != (0,):
    raise ValueError(
      f"a moving region needs one image, at frame 0: got {len(images)} images at {', '.join(map(str, at))}"
    )
  return cinemagraph(images[0], moving, num_frames, size, soft_edge)


def keyframes(
  images: Sequence[UInt8[np.ndarray, "_h _w 3"]], at: Sequence[int], num_frames: int, size: int
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
  video = np.zeros((num_frames, size, size, 3), np.uint8)
  mask = np.zeros((num_frames, size, size), np.float32)
  for image, place in zip(images, places, strict=True):
    video[place], mask[place] = fit_video(image[None], size)[0], 1
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
  size: int,
  soft_edge: int = 0,
) -> Given:
  """An image of which only the region `moving` changes; all of it is known at frame 0."""
  check_same_size("mask", moving.shape, image.shape[:2])
  video = np.repeat(fit_video(image[None], size), num_frames, axis=0)
  still = masks.soften(fit_mask(~moving[None], size), soft_edge)
  mask = np.repeat(still, num_frames, axis=0)
  mask[0] = 1
  return Given(video, mask)


def with_hole(
  video: UInt8[np.ndarray, "t h w 3"],
  new: Bool[np.ndarray, "mt mh mw"],
  size: int,
  soft_edge: int = 0,
) -> Given:
  """A video whose pixels are generated where `new` is true."""
  fitting = Fitting(video.shape[1:3], size)
  known = np.stack([fitting.known(mask) for mask in new])
  return hole(np.stack([fitting.frame(frame) for frame in video]), known, soft_edge)


def hole(
  video: UInt8[np.ndarray, "t s s 3"], known: Float[np.ndarray, "mt s s"], soft_edge: int = 0
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
      "nothing is left to generate: the part of the frame that is used, its middle square, is given as a whole. The part to "
      "generate lies outside of it, or is smaller than a pixel"
    )


def beginning(video: UInt8[np.ndarray, "t h w 3"], num_frames: int, size: int) -> Given:
  """A clip whose first frames are those of `video`.

  Raises:
    ValueError: if that leaves no frame to generate.
  """
  if len(video) >= num_frames:
    raise ValueError(
      f"num_frames={num_frames} must be more than the {len(video)} frames that are given"
    )
  return keyframes(list(video), range(len(video)), num_frames, size)


def check_same_size(name: str, ours: Sequence[int], theirs: Sequence[int]):
  """Raises ValueError unless a mask has the size of its image or video."""
  if tuple(ours) != tuple(theirs):
    raise ValueError(
      f"the {name} has {ours[1]}x{ours[0]} pixels, but its image or video has {theirs[1]}x{theirs[0]}"
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
