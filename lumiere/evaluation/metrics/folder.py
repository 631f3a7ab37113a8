"""The videos of a folder as a protocol sees them."""

import dataclasses
import hashlib
import pathlib
from collections.abc import Iterator

import numpy as np
from jaxtyping import UInt8

from lumiere.data import frames
from lumiere.data.video_folder.files import VIDEOS, list_files
from lumiere.evaluation.metrics.protocol import Protocol

# Pictures lie beside videos, such as the contact sheets of sample.py; those that may be animated count as videos.
SUFFIXES = (*VIDEOS, ".webp")


@dataclasses.dataclass(frozen=True)
class Video:
  """A file.

  Attributes:
    path: where it is.
    name: relative to the folder.
  """

  path: pathlib.Path
  name: str

  def checksum(self) -> str:
    """Of the file's content, 32 hexadecimal digits."""
    with self.path.open("rb") as file:
      return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()

  def clip(self, protocol: Protocol) -> UInt8[np.ndarray, "t h w 3"]:
    """Its frames; raises ValueError, naming the file, if not all of it can be read or it is too short."""
    fit = lambda frame: fitted(frame, protocol)
    if protocol.fps:
      clip = frames.read_video(self.path, protocol.fps, fit, strict=True)
    else:
      clip = np.stack(list(_own_frames(self.path, fit)))
    return cut(clip, protocol, str(self.path))

  def named(self) -> "Video":
    """What is kept of it: a place and a name."""
    return self


def videos_of(folder: pathlib.Path) -> list[Video]:
  """All videos in a folder and below it, in the order of their names; pictures are none.

  Raises:
    FileNotFoundError: if there is no such folder.
    ValueError: if it holds no video.
  """
  names = [
    name
    for name in list_files(folder).names
    if pathlib.PurePosixPath(name).suffix.lower() in SUFFIXES
  ]
  if not names:
    raise ValueError(f"{folder} holds no video")
  return [Video(folder / name, name) for name in names]


def _own_frames(path: pathlib.Path, fit) -> Iterator[UInt8[np.ndarray, "h w 3"]]:
  """Every frame once, however long it is shown."""
  try:
    for frame in frames.shown(path):
      yield fit(frame.picture())
  except (frames.UnreadableError, frames.DamagedError) as error:
    raise ValueError(f"{path} cannot be read as a video: {error}") from error


def cut(
  video: UInt8[np.ndarray, "t _h _w 3"], protocol: Protocol, name: str
) -> UInt8[np.ndarray, "t2 _h _w 3"]:
  """The frames that are compared; raises ValueError if the video is too short."""
  spare = len(video) - protocol.num_frames
  if spare < 0:
    rate = f" at {protocol.fps:g} fps" if protocol.fps else ""
    raise ValueError(
      f"{name} has {len(video)} frames{rate}, num_frames={protocol.num_frames} are needed"
    )
  first = spare // 2 if protocol.frames == "centre" else 0
  return video[first : first + protocol.num_frames]


def fitted(
  frame: UInt8[np.ndarray, "_h _w 3"], protocol: Protocol
) -> UInt8[np.ndarray, "_h2 _w2 3"]:
  """A frame, cropped and of the size that frames are compared at."""
  if protocol.crop:
    frame = frames.middle(frame, 1, 1)
  if not protocol.size:
    return frame
  resized = frames.area_resize(frames.to_float(frame[None]), protocol.size)
  return frames.to_uint8(resized)[0]
