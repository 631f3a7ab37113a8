"""Frames to and from the outside: decode, resize, write. The only place where frames are uint8.

Inside the project videos are float in [-1, 1]; `to_float` and `to_uint8` are the border.
"""

import io
from collections.abc import Iterator, Sequence
from fractions import Fraction

import av
import numpy as np
from etils import epath
from jaxtyping import Bool, Float, UInt8
from PIL import Image, ImageDraw, ImageOps

FORMATS = ("mp4", "gif", "webp", "png")

# Players scale small videos smoothly and 4:2:0 chroma smears them: below this side pixels are repeated first.
MIN_SIDE = 256


def to_float(frames: UInt8[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
  """0..255 -> [-1, 1], float32."""
  return frames.astype(np.float32) / 127.5 - 1


def to_uint8(frames: Float[np.ndarray, "..."]) -> UInt8[np.ndarray, "..."]:
  """[-1, 1] -> 0..255; what lies outside is clipped."""
  return np.clip(np.rint((np.asarray(frames, np.float32) + 1) * 127.5), 0, 255).astype(np.uint8)


def center_crop(frames: np.ndarray, size: int) -> np.ndarray:
  """The `size` x `size` square in the middle of [t h w c]."""
  height, width = frames.shape[1:3]
  top, left = (height - size) // 2, (width - size) // 2
  return frames[:, top : top + size, left : left + size]


def area_resize(
  frames: Float[np.ndarray, "t h w c"], size: int
) -> Float[np.ndarray, "t size size c"]:
  """Each new pixel is the mean over the area it covers, fractions of pixels included."""
  _, height, width, _ = frames.shape
  if height == width == size:
    return frames
  rows, columns = _area_weights(height, size), _area_weights(width, size)
  return np.einsum("yh,thwc,xw->tyxc", rows, frames, columns, optimize=True).astype(np.float32)


def _area_weights(before: int, after: int) -> Float[np.ndarray, "after before"]:
  """Share of old pixel j in new pixel i: the overlap of two intervals."""
  edges = np.arange(after + 1) * before / after
  pixels = np.arange(before)
  overlap = np.minimum(edges[1:, None], pixels + 1.0) - np.maximum(edges[:-1, None], pixels)
  return (np.maximum(overlap, 0) * after / before).astype(np.float32)


def decode(path: epath.PathLike) -> Iterator[tuple[float, UInt8[np.ndarray, "h w 3"]]]:
  """Frames of a video file in order of presentation, each with its time in seconds.

  Raises:
    ValueError: if the file has no video.
    av.FFmpegError: if it cannot be decoded.
  """
  with av.open(str(path)) as container:
    if not container.streams.video:
      raise ValueError("no video stream")
    for frame in container.decode(video=0):
      if frame.time is not None:
        yield float(frame.time), frame.to_ndarray(format="rgb24")


def read_video(path: epath.PathLike, fps: float | int) -> UInt8[np.ndarray, "t h w 3"]:
  """A video file at another frame rate: frame i is what a player shows at time i / fps.

  Raises:
    ValueError: if the file cannot be read or has no frame.
  """
  shown, video, begin = None, [], 0.0
  try:
    if not epath.Path(path).is_file():
      raise ValueError("no such file")
    for time, frame in decode(path):
      if shown is None:
        begin = time
      while shown is not None and len(video) / fps < time - begin - 1e-6:
        video.append(shown)
      shown = frame
  except (ValueError, OSError, av.FFmpegError) as error:
    raise ValueError(f"{path} cannot be read as a video: {error}") from error
  if shown is None:
    raise ValueError(f"{path} cannot be read as a video: it has no frame")
  return np.stack([*video, shown])


def read_image(path: epath.PathLike) -> UInt8[np.ndarray, "h w 3"]:
  """A picture file, turned as its camera says.

  Raises:
    ValueError: if it is not there or no picture.
  """
  try:
    with Image.open(io.BytesIO(epath.Path(path).read_bytes())) as image:
      return np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
  except (OSError, SyntaxError, Image.DecompressionBombError) as error:
    reason = error.strerror if isinstance(error, FileNotFoundError) else "no picture in it"
    raise ValueError(f"{path} cannot be read as a picture: {reason}") from error


def read_mask(path: epath.PathLike, fps: float | int) -> Bool[np.ndarray, "t h w"]:
  """A mask file, a picture (t = 1) or a video at a frame rate: True where it is white.

  Raises:
    ValueError: if it is neither.
  """
  try:
    shades = read_image(path)[None]
  except ValueError:
    try:
      shades = read_video(path, fps)
    except ValueError as error:
      raise ValueError(f"{path} cannot be read as a mask: no picture and no video in it") from error
  return shades.mean(axis=-1) >= 128


def write_video(path: epath.PathLike, video: UInt8[np.ndarray, "t h w 3"], fps: float | int):
  """Writes a video; the same frames give the same bytes.

  Small videos are enlarged by repeating pixels. `.png` is a folder of numbered frames, in their own size.

  Args:
    path: its suffix chooses the format: .mp4 (H.264), .gif, .webp (lossless) or .png.
    video: frames.
    fps: frames per second.

  Raises:
    ValueError: for another suffix.
    OSError: if the path cannot be written.
  """
  path = epath.Path(path)
  check_format(path.suffix.removeprefix("."))
  if path.suffix == ".png":
    path.mkdir(parents=True, exist_ok=True)
    for index, frame in enumerate(video):
      write_image(path / f"{index:04d}.png", frame)
    return
  video = enlarge(video, MIN_SIDE)
  path.parent.mkdir(parents=True, exist_ok=True)
  if path.suffix == ".mp4":
    path.write_bytes(_mp4(video, fps))
    return
  pages, tick, options = [Image.fromarray(frame) for frame in video], 1, dict(lossless=True)
  if path.suffix == ".gif":  # counts in hundredths of a second; dithering would flicker
    pages, tick, options = [page.quantize(256, dither=Image.Dither.NONE) for page in pages], 10, {}
  ends = np.rint(np.arange(len(video) + 1) * (1000 / tick) / fps) * tick
  durations = np.diff(ends).astype(int).tolist()
  buffer, options = io.BytesIO(), options | dict(format=path.suffix[1:], duration=durations, loop=0)
  pages[0].save(buffer, save_all=True, append_images=pages[1:], **options)
  path.write_bytes(buffer.getvalue())


def _mp4(video: UInt8[np.ndarray, "t h w 3"], fps: float | int) -> bytes:
  odd = [(0, 0), *((0, side % 2) for side in video.shape[1:3]), (0, 0)]
  video = np.pad(video, odd, mode="edge")  # 4:2:0 needs even sides
  buffer = io.BytesIO()
  with av.open(buffer, "w", format="mp4", options={"fflags": "+bitexact"}) as container:
    stream = container.add_stream("libx264", rate=Fraction(fps).limit_denominator(1001))
    stream.height, stream.width = video.shape[1:3]
    stream.pix_fmt, stream.options = "yuv420p", {"crf": "12", "preset": "medium"}
    stream.codec_context.thread_count = 1  # the bytes depend on it
    for frame in video:
      container.mux(
        stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24"))
      )
    container.mux(stream.encode())
  return buffer.getvalue()


def check_format(name: str):
  """Raises ValueError unless it is a format that `write_video` knows."""
  if name not in FORMATS:
    raise ValueError(f"format={name!r} must be one of {', '.join(FORMATS)}")


def write_image(path: epath.PathLike, image: UInt8[np.ndarray, "h w 3"]):
  """Writes a PNG, whatever the suffix."""
  buffer = io.BytesIO()
  Image.fromarray(image).save(buffer, format="PNG")
  epath.Path(path).write_bytes(buffer.getvalue())


def enlarge(
  frames: UInt8[np.ndarray, "*b h w 3"], min_side: int
) -> UInt8[np.ndarray, "*b h2 w2 3"]:
  """Repeats pixels until the shorter side has at least `min_side`; larger frames stay."""
  factor = -(-min_side // min(frames.shape[-3:-1]))
  return frames.repeat(factor, axis=-3).repeat(factor, axis=-2)


def contact_sheet(
  videos: Sequence[UInt8[np.ndarray, "_t _h _w 3"]],
  captions: Sequence[str] = (),
  columns: int = 8,
  side: int = 96,
) -> UInt8[np.ndarray, "h2 w2 3"]:
  """A picture of videos: one a row, frames at equal distances from first to last, captions above.

  Args:
    videos: any number, of any lengths.
    captions: one a video, or none.
    columns: most frames of a row.
    side: smallest side of a frame on the sheet.
  """
  rows = []
  for index, video in enumerate(videos):
    picked = np.linspace(0, len(video) - 1, min(columns, len(video))).round().astype(int)
    frames = np.pad(
      enlarge(video[picked], side), [(0, 0), (1, 1), (1, 1), (0, 0)], constant_values=255
    )
    row = np.concatenate(list(frames), axis=1)
    if captions:
      row = np.concatenate([_text(captions[index], row.shape[1]), row])
    rows.append(row)
  width = max(row.shape[1] for row in rows)
  padding = [[(0, 0), (0, width - row.shape[1]), (0, 0)] for row in rows]
  return np.concatenate(
    [np.pad(row, pad, constant_values=255) for row, pad in zip(rows, padding, strict=True)]
  )


def _text(line: str, width: int, height: int = 16) -> UInt8[np.ndarray, "h w 3"]:
  image = Image.new("RGB", (width, height), "white")
  # The built-in font knows Latin-1 only.
  line = line.encode("latin-1", "replace").decode("latin-1")
  ImageDraw.Draw(image).text((3, 1), line, fill="black")
  return np.asarray(image)


def xt_slice(
  video: UInt8[np.ndarray, "t h w 3"], min_side: int = 256
) -> UInt8[np.ndarray, "t2 w2 3"]:
  """The middle row of every frame, time running down: smooth motion is smooth lines, a seam is a step."""
  return enlarge(video[:, video.shape[1] // 2], min_side)
