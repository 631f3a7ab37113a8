"""Frames -> files: whole, or not at all."""

import contextlib
import io
import re
from collections.abc import Iterable, Mapping
from fractions import Fraction

import av
import numpy as np
from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc, Interpolation
from etils import epath
from jaxtyping import UInt8
from PIL import Image

from lumiere.data.frames.arrays import enlarge

FORMATS = ("mp4", "gif", "webp", "png")

# Players scale small videos smoothly and 4:2:0 chroma smears them: below this side pixels are repeated first.
MIN_SIDE = 256

# Chroma is the mean of the four pixels that share it.
_CONVERSION = Interpolation.AREA | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INP


def check_format(name: str):
  """Raises ValueError unless it is a format that `write_video` knows."""
  if name not in FORMATS:
    raise ValueError(f"format={name!r} must be one of {', '.join(FORMATS)}")


def write_video(path: epath.PathLike, video: UInt8[np.ndarray, "t h w 3"], fps: float | int):
  """Writes a video; the same frames give the same bytes.

  Small videos are enlarged by repeating pixels. `.png` is a folder of numbered frames, in their own size.

  Args:
    path: its suffix chooses the format: .mp4 (H.264, BT.709), .gif, .webp (lossless) or .png.
    video: frames.
    fps: frames per second.

  Raises:
    ValueError: for another suffix.
    OSError: if the path cannot be written; nothing is left of it then.
  """
  path = epath.Path(path)
  check_format(path.suffix.removeprefix("."))
  if path.suffix == ".png":
    _write_numbered(path, video)
  else:
    write_bytes(path, _mp4(video, fps) if path.suffix == ".mp4" else _pages(path, video, fps))


def write_image(path: epath.PathLike, image: UInt8[np.ndarray, "h w 3"]):
  """Writes a PNG, whatever the suffix; raises OSError as `write_bytes`."""
  buffer = io.BytesIO()
  Image.fromarray(image).save(buffer, format="PNG")
  write_bytes(path, buffer.getvalue())


def write_bytes(path: epath.PathLike, content: bytes):
  """Writes a file under another name beside it first, so that there is never half of it.

  Raises:
    OSError: if it cannot be written, in one line that names the file and the reason.
  """
  path = epath.Path(path)
  partial = path.with_name(f".{path.name}.partial")
  try:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial.write_bytes(content)
    partial.replace(path)
  except OSError as error:
    with contextlib.suppress(OSError):
      partial.unlink(missing_ok=True)
    raise OSError(f"{path} cannot be written: {error.strerror or error}") from error


def _write_numbered(folder: epath.Path, video: UInt8[np.ndarray, "t h w 3"]):
  """Writes frames as 0000.png ...; those of a longer video that was there before are removed."""
  written = []
  try:
    for index, frame in enumerate(video):
      path = folder / f"{index:04d}.png"
      write_image(path, frame)
      written.append(path)
  except OSError:
    for path in written:
      path.unlink(missing_ok=True)
    with contextlib.suppress(OSError):
      folder.rmdir()
    raise
  for path in folder.iterdir():
    if re.fullmatch(r"\d{4,}\.png", path.name) and int(path.stem) >= len(video):
      path.unlink()


def _pages(path: epath.Path, video: UInt8[np.ndarray, "t h w 3"], fps: float | int) -> bytes:
  video = enlarge(video, MIN_SIDE)
  pages, tick, options = [Image.fromarray(frame) for frame in video], 1, dict(lossless=True)
  if path.suffix == ".gif":  # counts in hundredths of a second; dithering would flicker
    pages, tick, options = [page.quantize(256, dither=Image.Dither.NONE) for page in pages], 10, {}
  ends = np.rint(np.arange(len(video) + 1) * (1000 / tick) / fps) * tick
  durations = np.diff(ends).astype(int).tolist()
  buffer, options = io.BytesIO(), options | dict(format=path.suffix[1:], duration=durations, loop=0)
  pages[0].save(buffer, save_all=True, append_images=pages[1:], **options)
  return buffer.getvalue()


def _mp4(video: UInt8[np.ndarray, "t h w 3"], fps: float | int) -> bytes:
  return h264((enlarge(frame, MIN_SIDE) for frame in video), fps, {"crf": "12", "preset": "medium"})


def h264(
  video: Iterable[UInt8[np.ndarray, "h w 3"]], fps: float | int, options: Mapping[str, str]
) -> bytes:
  """An .mp4 file of H.264 in BT.709 and limited range, tagged so: without tags players guess, by the height, and guess differently.

  Args:
    video: frames of one size; odd sides are made even by repeating the last row or column.
    fps: frames per second.
    options: of FFmpeg's libx264.
  """
  buffer = io.BytesIO()
  with av.open(buffer, "w", format="mp4", options={"fflags": "+bitexact"}) as container:
    stream = container.add_stream("libx264", rate=Fraction(fps).limit_denominator(1001))
    stream.pix_fmt, stream.options = "yuv420p", dict(options)
    codec = stream.codec_context
    codec.thread_count = 1  # the bytes depend on it
    codec.colorspace, codec.color_range = Colorspace.ITU709, ColorRange.MPEG
    codec.color_primaries, codec.color_trc = ColorPrimaries.BT709, ColorTrc.BT709
    for frame in map(_to_yuv, video):
      if not codec.is_open:
        codec.height, codec.width = frame.height, frame.width
      container.mux(stream.encode(frame))
    container.mux(stream.encode())
  return buffer.getvalue()


def _to_yuv(frame: UInt8[np.ndarray, "h w 3"]) -> av.VideoFrame:
  odd = [(0, side % 2) for side in frame.shape[:2]]
  frame = np.pad(frame, [*odd, (0, 0)], mode="edge")  # 4:2:0 needs even sides
  return av.VideoFrame.from_ndarray(frame, format="rgb24").reformat(
    format="yuv420p",
    dst_colorspace=Colorspace.ITU709,
    dst_color_range=ColorRange.MPEG,
    interpolation=_CONVERSION,
    threads=1,
  )
