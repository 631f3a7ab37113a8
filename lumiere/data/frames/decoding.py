"""Video files and animations -> frames with the times that the file gives them.

A packet that cannot be decoded, or a frame that the decoder had to guess in part, costs what follows it up to the next key
frame; the rest is read, and at the end it is said what was lost.
"""

import functools
import math
import re
from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import BinaryIO, NamedTuple

import av
import numpy as np
from etils import epath
from jaxtyping import UInt8
from PIL import Image

from lumiere.data.frames import pictures, pixels
from lumiere.data.frames.pictures import UnreadableError

ANIMATIONS = ("AVIF", "GIF", "PNG", "WEBP")

# The decoders of FFmpeg that see the alpha channel of WebM.
_ALPHA_DECODERS = {"vp8": "libvpx", "vp9": "libvpx-vp9"}
# Browsers show frames of animations for this long, in seconds, where they are to be shown for less than a tick of 10 ms.
_SHORTEST, _INSTEAD = 0.011, 0.1
# Rounding of times is made good up to half of the coarsest clock, a GIF's, in seconds.
_MAX_ROUNDING = 0.005
# A file that ends so much earlier than it says, in seconds, has lost its tail; its sound may last a little longer.
_MISSING = 0.1


class DamagedError(ValueError):
  """Part of a file is lost, which is said after the rest has been read; the message is for the user."""


class Stamped(NamedTuple):
  """A frame as it lies in a file.

  Attributes:
    picture: makes its pixels, as they are to be shown; raises UnreadableError if that is not possible.
    time: in seconds, from any zero; None if the file does not say.
    duration: in seconds; 0 if the file does not say.
    rounding: how far the time may be off, for the unit in which the file counts.
    small: makes its pixels with a shorter side of so many pixels, quickly, see `pixels.thumbnail`.
    size: (height, width) of `picture`.
    after_loss: whether frames before it are lost.
  """

  picture: Callable[[], UInt8[np.ndarray, "h w 3"]]
  time: float | None
  duration: float
  rounding: float
  small: Callable[[int], UInt8[np.ndarray, "h w 3"]]
  size: tuple[int, int]
  after_loss: bool = False

  @classmethod
  def of_picture(
    cls, picture: UInt8[np.ndarray, "h w 3"], time=0.0, duration=0.0, rounding=0.0
  ) -> "Stamped":
    """A frame whose pixels are there already."""
    small = functools.partial(pictures.thumbnail, picture)
    return cls(lambda: picture, time, duration, rounding, small, picture.shape[:2])


def decode(path: epath.PathLike) -> Iterator[Stamped]:
  """All frames of a video file, an animation or a picture, in order of presentation.

  Raises:
    UnreadableError: if there is none.
    DamagedError: after the last frame, if part of the file is lost.
  """
  with pictures.open_file(path) as file:
    image = pictures.identify(file)
    if image is None:
      file.seek(0)
      yield from _container(file, str(path))
    elif image.format in ANIMATIONS and getattr(image, "is_animated", False):
      yield from _animation(image, str(path))
    else:
      yield Stamped.of_picture(pictures.to_rgb(image, str(path)))


def _animation(image: Image.Image, name: str) -> Iterator[Stamped]:
  """Frames of what Pillow plays; they have to be converted in their order."""
  time, index, rounding = 0.0, 0, _MAX_ROUNDING if image.format == "GIF" else 0.0005
  while True:
    try:
      image.seek(index)
      picture = pictures.to_rgb(image, name)
      duration = float(image.info.get("duration", 0)) / 1000
    except EOFError:
      return
    except Exception as error:  # Pillow does not say what its readers raise on damaged files
      if not index:
        raise UnreadableError(str(error)) from error
      raise DamagedError(f"frame {index} and what follows cannot be decoded") from error
    duration = duration if duration >= _SHORTEST else _INSTEAD
    yield Stamped.of_picture(picture, time, duration, rounding)
    time, index = time + duration, index + 1


def _container(file: BinaryIO, name: str) -> Iterator[Stamped]:
  """Frames of what FFmpeg reads."""
  with opened(file) as container:
    stream = video_stream(container)
    unit, aspect = stream.time_base or Fraction(0), stream.sample_aspect_ratio
    usual = 1 / stream.average_rate if stream.average_rate else Fraction(0)
    # Where the unit is the time of a frame, times are exact.
    rounding = 0.0 if unit == usual else min(float(unit) / 2, _MAX_ROUNDING)
    lost, frame, end, orientations = [], None, -math.inf, {}
    for frame, after_loss in _whole_frames(container, stream, lost):
      time = None if frame.pts is None else float(frame.pts * unit)
      duration = float(max(frame.duration, 0) * unit or usual)
      end = end if time is None else time + duration
      if frame.rotation not in orientations:
        orientations[frame.rotation] = pixels.orientation_of(frame)
      shape = (aspect, orientations[frame.rotation])
      picture = functools.partial(_pixels, frame, *shape, name)
      small = functools.partial(pixels.thumbnail, frame, *shape)
      size = pixels.shown_size(frame, *shape)
      yield Stamped(picture, time, duration, rounding, small, size, after_loss)
    if frame is None:
      raise UnreadableError("no frame in it can be decoded")
    if damage := _damage(stream, lost, end):
      raise DamagedError(damage)


def opened(file: BinaryIO) -> av.container.InputContainer:
  """What FFmpeg makes of a file; raises UnreadableError if it is none of its kinds."""
  try:
    try:
      return av.open(file)
    except UnicodeDecodeError:  # PyAV 18 and older, where a title or the like is not in UTF-8
      file.seek(0)
      return av.open(file, metadata_errors="replace")
  except av.FFmpegError as error:
    raise UnreadableError(f"no video in it, or its head is damaged ({error.strerror})") from error


def video_stream(container: av.container.InputContainer) -> av.VideoStream:
  """The stream that a player would choose; raises UnreadableError, with the reason, if there is none."""
  covers = av.stream.Disposition.attached_pic
  videos = [each for each in container.streams.video if not each.disposition & covers]
  usable = [each for each in videos if each.codec_context is not None]
  if usable:
    best = container.streams.best("video")
    return best if best in usable else usable[0]
  if videos:
    raise UnreadableError("no video in it that can be decoded: its codec is not known")
  found = ["audio"] if container.streams.audio else []
  found += ["a cover picture"] if container.streams.video else []
  only = f", only {' and '.join(found)}" if found else ""
  raise UnreadableError(f"no video in it{only}")


def _whole_frames(
  container: av.container.InputContainer, stream: av.VideoStream, lost: list[int | None]
) -> Iterator[tuple[av.VideoFrame, bool]]:
  """Frames that were decoded as they were meant, each with whether some are missing before it.

  Args:
    container: the file.
    stream: its video.
    lost: times of what cannot be decoded, in the stream's unit, are appended here; None where they are not known.
  """
  decoder, waiting = _decoder(stream), False  # for a key frame, after a loss
  held = set()  # stamps of frames that the decoder has got whole and not given yet
  for packet in _packets(container, stream, lost):
    decoded, stamp = _decoded(decoder, packet), None if packet is None else packet.pts
    if decoded is None:
      lost.append(stamp)
      waiting = True
    elif not waiting and stamp is not None:
      held.add(stamp)
    for frame in decoded or ():
      whole = not waiting or frame.pts in held
      held.discard(frame.pts)
      if frame.is_corrupt:
        lost.append(frame.pts)
        waiting = True
        held.clear()
      elif whole:
        yield frame, False
      elif frame.key_frame:
        waiting = False
        yield frame, True


def _decoded(decoder: av.VideoCodecContext, packet: av.Packet | None) -> list[av.VideoFrame] | None:
  """The frames that a packet completes; None if it is damaged."""
  if packet is not None and packet.is_corrupt:
    return None
  try:
    return decoder.decode(packet)
  except av.FFmpegError:
    return None


def _packets(
  container: av.container.InputContainer, stream: av.VideoStream, lost: list[int | None]
) -> Iterator[av.Packet | None]:
  """The stream's packets, then None, which makes the decoder give its last frames."""
  try:
    for packet in container.demux(stream):
      if packet.size:  # an empty one repeats a frame in AVI, but to a decoder it would mean the end
        yield packet
  except av.FFmpegError:
    lost.append(None)
  yield None


def _decoder(stream: av.VideoStream) -> av.VideoCodecContext:
  name = stream.codec_context.name
  transparent = stream.metadata.get("alpha_mode", stream.metadata.get("ALPHA_MODE")) == "1"
  if transparent and _ALPHA_DECODERS.get(name) in av.codec.codecs_available:
    return av.CodecContext.create(_ALPHA_DECODERS[name], "r")
  return stream.codec_context


def _pixels(frame: av.VideoFrame, *args) -> UInt8[np.ndarray, "h w 3"]:
  try:
    return pixels.to_rgb(frame, *args)
  except (ValueError, OSError, av.FFmpegError) as error:
    raise UnreadableError(f"its pixels, {frame.format.name}, cannot be converted") from error


def _damage(stream: av.VideoStream, lost: list[int | None], end: float) -> str:
  """What is lost of a stream whose last frame ends at `end`; empty if nothing is."""
  unit, start, found = stream.time_base or Fraction(0), stream.start_time or 0, []
  if lost:
    where = next((stamp for stamp in lost if stamp is not None), None)
    at = "" if where is None else f", the first at {float((where - start) * unit):.2f} s"
    found.append(f"packets or frames that cannot be decoded: {len(lost)}{at}")
  declared = None
  if stream.duration:
    declared = float((start + stream.duration) * unit)
  elif match := re.fullmatch(r"(\d+):(\d+):(\d+\.\d+)", stream.metadata.get("DURATION", "")):
    declared = 3600 * int(match[1]) + 60 * int(match[2]) + float(match[3])
  tolerance = _MISSING + float(2 / (stream.average_rate or 10))
  if declared is not None and -math.inf < end < declared - tolerance:
    begin = float(start * unit)
    found.append(f"it ends at {end - begin:.2f} s of {declared - begin:.2f} s")
  return "; ".join(found)
