"""Media files of every kind, written for tests."""

import fractions
import pathlib

import av
import numpy as np

# Files as people have them, one for each way in which they differ from what was expected.
CASES = pathlib.Path(__file__).parent / "cases"

# suffix -> (codec, pixel format, options); lossless where there is such a codec, so that tests can read off which frames
# of the source they see.
CODECS = {
  ".mp4": ("libx264rgb", "rgb24", {"crf": "0"}),
  ".m4v": ("libx264", "yuv444p", {"crf": "1"}),
  ".mov": ("libx264rgb", "rgb24", {"crf": "0"}),
  ".mkv": ("ffv1", "bgr0", {}),
  ".webm": ("libvpx-vp9", "gbrp", {"lossless": "1"}),
  ".avi": ("ffv1", "bgr0", {}),
  ".ts": ("libx264", "yuv444p", {"crf": "1"}),
  ".mpg": ("mpeg1video", "yuv420p", {"qscale": "1"}),
  ".mpeg": ("mpeg2video", "yuv420p", {"qscale": "1"}),
  ".wmv": ("wmv2", "yuv420p", {"qscale": "1"}),
  ".flv": ("flv", "yuv420p", {"qscale": "1"}),
  ".3gp": ("libx264", "yuv444p", {"crf": "1"}),
  ".gif": ("gif", "rgb8", {}),
}


def write(path, video, fps, *, codec=None, rotation=None, aspect=None, tags=(), metadata=None):
  """Writes frames [t h w 3] of RGB, or [t h w 4] of RGBA; raw `av.VideoFrame`s are encoded as they are.

  Args:
    path: its suffix chooses the container, and the codec if none is given.
    video: frames.
    fps: frames per second.
    codec: (name, pixel format, options).
    rotation: arguments of `set_display_rotation`, or the nine numbers of a display matrix.
    aspect: width over height of the pixels.
    tags: (matrix, range) as numbers.
    metadata: of the stream.
  """
  path.parent.mkdir(parents=True, exist_ok=True)
  name, pixels, options = codec or CODECS[path.suffix.lower()]
  container_format = {".m4v": "mp4", ".mkv": "matroska", ".ts": "mpegts", ".wmv": "asf"}
  suffix = path.suffix.lower()
  kind = container_format.get(suffix, "mpeg" if suffix in (".mpg", ".mpeg") else suffix[1:])
  with av.open(str(path), "w", format=kind) as container:
    stream = container.add_stream(
      name, rate=fractions.Fraction(fps).limit_denominator(1001), options=options
    )
    first = video[0]
    stream.height, stream.width = (
      first.shape[:2] if isinstance(first, np.ndarray) else (first.height, first.width)
    )
    stream.pix_fmt = pixels
    if rotation is not None and len(rotation) == 9:
      stream.set_display_matrix(rotation)
    elif rotation is not None:
      stream.set_display_rotation(*rotation)
    if aspect is not None:
      stream.codec_context.sample_aspect_ratio = aspect
    if tags:
      stream.codec_context.colorspace, stream.codec_context.color_range = tags
    stream.metadata.update(metadata or {})
    for frame in video:
      if isinstance(frame, np.ndarray):
        frame = av.VideoFrame.from_ndarray(
          np.ascontiguousarray(frame), format="rgb24" if frame.shape[-1] == 3 else "rgba"
        )
      container.mux(stream.encode(frame))
    container.mux(stream.encode())


def ramp(num_frames, size=32, step=4):
  """Frame i is gray of level `step` i: a clip shows which frames it was made of."""
  levels = np.arange(num_frames, dtype=np.uint8)[:, None, None, None] * np.uint8(step)
  return np.broadcast_to(levels, (num_frames, size, size, 3))


def plain(colour, num_frames=24, height=32, width=32):
  return np.broadcast_to(np.array(colour, np.uint8), (num_frames, height, width, 3))


def write_sound(path):
  with av.open(str(path), "w") as container:
    stream = container.add_stream("aac", rate=44100, layout="mono")
    frame = av.AudioFrame.from_ndarray(
      np.zeros((1, 1024), np.float32), format="fltp", layout="mono"
    )
    frame.sample_rate = 44100
    container.mux(stream.encode(frame))
    container.mux(stream.encode())
