"""What a few frames a second of a video say, as numbers: the clips' scores are made of them.

Every measure is classical and runs on a CPU; columns of learned scores may be added to the table.
"""

from typing import NamedTuple

import cv2
import numpy as np
import scipy.fft
from jaxtyping import Bool, Float, UInt8

# Frames a second that are looked at, and their shorter side in pixels.
RATE, SIDE = 4.0, 256
# The shorter side at which motion is measured.
_FLOW_SIDE = 64
# Steps from pixel to pixel that codecs make, in levels of 255: no sign of sharpness.
_NOISE = 4
# A bar is darker than this in all of its pixels, of 255; codecs do not keep black exactly.
_BLACK = 24
# Share of a line that is lit where a picture begins beside a bar.
_LIT = 0.5


class Sample(NamedTuple):
  """One frame.

  Attributes:
    time: in seconds.
    motion: mean length of the optical flow from the sample before, in frame heights a second; nan for the first.
    local_motion: the same where it is the largest, as the mean of the fastest twentieth.
    blur: 0 sharp to 1 blurred (Crete et al., 2007).
    brightness: mean luma, 0 to 1.
    contrast: standard deviation of luma, 0 to 0.5.
    text: share of the frame that looks like writing, 0 to 1.
    edges: where there are strong edges, a bit a place: a video has many samples.
    bars: shares of the frame that are black bars: top, bottom, left, right; nan where that cannot be told.
    hash: 64 bits that change little when the picture does.
  """

  time: float
  motion: float
  local_motion: float
  blur: float
  brightness: float
  contrast: float
  text: float
  edges: UInt8[np.ndarray, " e"]
  bars: tuple[float, float, float, float]
  hash: int


class Sampler:
  """Measures the frames that it is given, one after another.

  Attributes:
    samples: so far.
  """

  def __init__(self):
    self.samples: list[Sample] = []
    self._before = None

  def add(self, frame: UInt8[np.ndarray, "h w 3"], time: float):
    """A frame in RGB whose shorter side is `SIDE`, shown from `time` on, in seconds."""
    gray = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)
    length, largest = np.nan, np.nan
    if self._before is not None:
      if gray.shape != self._before.shape:  # some files change their size on the way
        gray = cv2.resize(gray, self._before.shape[::-1])
      seconds = time - self.samples[-1].time
      length, largest = (found / seconds for found in motion(self._before, gray))
    self._before = gray
    self.samples.append(
      Sample(
        time,
        length,
        largest,
        blur(gray),
        float(gray.mean() / 255),
        float(gray.std() / 255),
        text_share(gray),
        np.packbits(edges(gray)),
        bars(gray),
        perceptual_hash(gray),
      )
    )


def motion(one: UInt8[np.ndarray, "h w"], other: UInt8[np.ndarray, "h w"]) -> tuple[float, float]:
  """(mean, mean of the largest twentieth) of the lengths of the optical flow (Farneback), in frame heights."""
  small = [shrink(gray, _FLOW_SIDE) for gray in (one, other)]
  flow = cv2.calcOpticalFlowFarneback(*small, None, 0.5, 3, 15, 3, 5, 1.2, 0)
  lengths = np.sort(np.linalg.norm(flow, axis=-1), axis=None) / small[0].shape[0]
  return float(lengths.mean()), float(lengths[-(len(lengths) // 20) :].mean())


def blur(gray: UInt8[np.ndarray, "h w"]) -> float:
  """How little a picture loses when it is blurred once more, 0 to 1 (Crete et al., 2007); 1 if it is flat."""
  gray, worst = gray.astype(np.float32), 0.0
  for axis in (0, 1):
    kernel = (1, 11) if axis == 0 else (11, 1)
    sharp, soft = (steps(x, axis) for x in (gray, cv2.blur(gray, kernel)))
    total = cv2.sumElems(sharp)[0]
    lost = cv2.sumElems(cv2.max(cv2.subtract(sharp, soft), 0))[0]
    worst = max(worst, 1 - lost / total if total else 1.0)
  return worst


def steps(gray: Float[np.ndarray, "h w"], axis: int) -> Float[np.ndarray, "h2 w2"]:
  """How much larger than noise the steps from pixel to pixel are, along an axis."""
  one, other = (gray[1:], gray[:-1]) if axis == 0 else (gray[:, 1:], gray[:, :-1])
  return cv2.max(cv2.absdiff(one, other) - _NOISE, 0)


def text_share(gray: UInt8[np.ndarray, "h w"]) -> float:
  """Share of the frame under wide, dense groups of strokes, as lines of writing are."""
  strokes = cv2.morphologyEx(gray, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8))
  _, strokes = cv2.threshold(strokes, 60, 255, cv2.THRESH_BINARY)
  joined = cv2.morphologyEx(strokes, cv2.MORPH_CLOSE, np.ones((3, 11), np.uint8))
  count, _, boxes, _ = cv2.connectedComponentsWithStats(joined)
  total = 0
  for x, y, width, height, area in boxes[1:count]:
    dense = (strokes[y : y + height, x : x + width] > 0).mean() > 0.35
    if 6 <= height <= 48 and width > 2.5 * height and area > 0.6 * width * height and dense:
      total += width * height
  return total / gray.size


def edges(gray: UInt8[np.ndarray, "h w"]) -> Bool[np.ndarray, "eh ew"]:
  """Strong edges, at the size at which motion is measured."""
  small = shrink(gray, _FLOW_SIDE)
  slope = [cv2.Sobel(small, cv2.CV_32F, 1 - axis, axis) for axis in (0, 1)]
  return np.hypot(*slope) > 160


def bars(gray: UInt8[np.ndarray, "h w"]) -> tuple[float, float, float, float]:
  """Shares of the frame that are black bars: top, bottom, left, right.

  A bar ends along a line, where a picture begins over much of the frame's length; nan where something begins on black, but not so.
  """
  lit = gray > _BLACK
  return tuple(
    bar(lines)
    for lines in (
      lit.mean(axis=1),
      lit.mean(axis=1)[::-1],
      lit.mean(axis=0),
      lit.mean(axis=0)[::-1],
    )
  )


def bar(lit: Float[np.ndarray, " n"]) -> float:
  """How far a bar goes from the first line on, as a share, given the share of each line that is lit; nan: cannot be told."""
  if not lit.any():
    return np.nan
  first = int(np.argmax(lit > 0))
  begins = lit[first : first + 3].max() >= _LIT  # scaling blurs the line
  return first / len(lit) if begins or not first else np.nan


def perceptual_hash(gray: UInt8[np.ndarray, "h w"]) -> int:
  """64 bits: which of the lowest frequencies of the picture, but for its mean, are above their median."""
  small = cv2.resize(gray, (32, 32), interpolation=cv2.INTER_AREA).astype(np.float32)
  low = scipy.fft.dctn(small)[:8, :8].ravel()
  bits = low > np.median(low[1:])
  return int.from_bytes(np.packbits(bits).tobytes())


def shrink(gray: UInt8[np.ndarray, "h w"], side: int) -> UInt8[np.ndarray, "h2 w2"]:
  """Area-averaged to a shorter side of `side` pixels."""
  height, width = gray.shape
  scale = side / min(height, width)
  size = (max(round(width * scale), 1), max(round(height * scale), 1))
  return cv2.resize(gray, size, interpolation=cv2.INTER_AREA)
