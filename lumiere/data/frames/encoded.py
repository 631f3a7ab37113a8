"""Clips as they are stored for training: H.264, of which a run of frames is decoded when it is needed.

Key frames stand every `KEY_EVERY` frames, so that a run costs little more than its own frames; open groups of pictures and
B-frames, which would make it cost more, are left out.
"""

import dataclasses
import io
from collections.abc import Iterable

import av
import numpy as np
from jaxtyping import UInt8

from lumiere.data.frames import arrays, pixels
from lumiere.data.frames.writing import h264
from lumiere.sizes import Size

KEY_EVERY = 8


def encode(frames: Iterable[UInt8[np.ndarray, "h w 3"]], fps: float | int, crf: int) -> bytes:
  """A clip as a file; the same frames give the same bytes.

  Args:
    frames: of one size.
    fps: frames per second.
    crf: constant rate factor of x264, 0 (as good as exact) to 51; 18 is hard to tell from the source.
  """
  options = {"crf": str(crf), "preset": "medium", "g": str(KEY_EVERY), "keyint_min": str(KEY_EVERY)}
  return h264(frames, fps, options | {"sc_threshold": "0", "bf": "0"})


@dataclasses.dataclass(frozen=True)
class EncodedClip:
  """A clip that is decoded where it is looked at: `clip[3:11]` decodes 8 frames, `np.asarray(clip)` all.

  Attributes:
    content: what `encode` returned.
    num_frames: its frames.
    size: height and width of the frames that are decoded: the largest part of that shape in the middle, area-averaged.
  """

  content: bytes
  num_frames: int
  size: Size

  def __len__(self) -> int:
    return self.num_frames

  @property
  def shape(self) -> tuple[int, int, int, int]:
    """As of the array."""
    return (self.num_frames, *self.size, 3)

  def __getitem__(self, run: slice) -> UInt8[np.ndarray, "t h w 3"]:
    first, last, step = run.indices(self.num_frames)
    if step != 1:
      raise ValueError(f"a run of frames has the step 1, not {step}")
    return np.stack([arrays.fit(frame, *self.size) for frame in decode(self.content, first, last)])

  def __array__(self, dtype=None, copy=None) -> np.ndarray:
    return self[:] if dtype is None else self[:].astype(dtype)


def decode(content: bytes, first: int, last: int) -> Iterable[UInt8[np.ndarray, "h w 3"]]:
  """Frames `first` to `last` - 1 of a clip; decoding begins at the key frame before them."""
  with av.open(io.BytesIO(content)) as container:
    stream = container.streams.video[0]
    stream.codec_context.thread_count = 1  # loaders are parallel themselves
    seconds = float(1 / stream.average_rate)
    # Half a frame later, so that rounding does not lead to the key frame before.
    begin = first // KEY_EVERY * KEY_EVERY
    container.seek(int((begin + 0.5) * seconds / stream.time_base), stream=stream)
    for frame in container.decode(stream):
      index = round(float(frame.pts * stream.time_base) / seconds)
      if index >= last:
        return
      if index >= first:
        yield pixels.to_rgb(frame)
