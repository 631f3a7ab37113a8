"""Overlapping windows over the frames of a video. Pure numpy: everything here is known before anything is traced.

Windows of `length` frames begin every `stride` frames; the last one is moved back so that it ends with the video. Every
frame is covered. A video shorter than a window is one window. The paper's windows overlap by 2 frames.
"""

import dataclasses

import numpy as np
from jaxtyping import Float, Int

KINDS = ("uniform", "tapered")


@dataclasses.dataclass(frozen=True)
class WindowPlan:
  """The positions of the windows of a video.

  Attributes:
    num_frames: frames of the video.
    length: frames of a window.
    starts: first frame of each window.
  """

  num_frames: int
  length: int
  starts: tuple[int, ...]

  def indices(self) -> Int[np.ndarray, "n length"]:
    """Frames of each window."""
    return np.array(self.starts)[:, None] + np.arange(self.length)[None]

  def coverage(self) -> Int[np.ndarray, " t"]:
    """Number of windows that cover each frame."""
    return np.bincount(self.indices().ravel(), minlength=self.num_frames)

  def borders(self) -> tuple[int, ...]:
    """Where a window begins or ends inside the video: border i lies between frames i and i + 1."""
    ends = {start - 1 for start in self.starts} | {start + self.length - 1 for start in self.starts}
    return tuple(sorted(ends - {-1, self.num_frames - 1}))

  def weights(self, kind: str = "uniform") -> Float[np.ndarray, "n length"]:
    """Weight of each window's frames, the largest at every frame of the video being 1; `kind` as in `window_weights`."""
    weight = np.broadcast_to(window_weights(self.length, kind), (len(self.starts), self.length))
    largest = np.zeros(self.num_frames, np.float32)
    np.maximum.at(largest, self.indices(), weight)
    return weight / largest[self.indices()]


def plan_windows(num_frames: int, length: int, stride: int) -> WindowPlan:
  """Plans windows as described in the module docstring.

  Args:
    num_frames: frames of the video, 1 or more.
    length: frames of a window, 1 or more; a longer window than the video means one window over all of it.
    stride: frames from one window's start to the next's, between 1 and `length`.

  Raises:
    ValueError: names the argument that is out of range.
  """
  for name, value in (("num_frames", num_frames), ("length", length)):
    if value < 1:
      raise ValueError(f"{name}={value} must be 1 or more")
  if not 1 <= stride <= length:
    raise ValueError(f"stride={stride} must be between 1 and the window's length={length}")
  length = min(length, num_frames)
  last = num_frames - length
  return WindowPlan(num_frames, length, (*range(0, last, stride), last))


def window_weights(length: int, kind: str = "uniform") -> Float[np.ndarray, " length"]:
  """Weight of each frame of a window in the reconciliation, all positive.

  Args:
    length: frames of the window.
    kind: "uniform", the paper's plain mean; or "tapered", a triangle 1, 2, ..., 2, 1: a frame has more weight the farther it
      is from the window's ends, where the network does not see its neighbours.

  Raises:
    ValueError: for another kind.
  """
  if kind == "uniform":
    return np.ones(length, np.float32)
  if kind == "tapered":
    ramp = np.arange(1, length + 1, dtype=np.float32)
    return np.minimum(ramp, ramp[::-1])
  raise ValueError(f"window weights {kind!r} must be one of {', '.join(KINDS)}")
