"""Where one shot of a video ends and another begins.

PySceneDetect's detectors see every frame, small. The adaptive one compares a frame's change of colours with that of its
neighbours, so that a fast pan is no cut; the histogram one finds fades, which change little from frame to frame.
"""

import collections
import itertools
from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import UInt8
from scenedetect import FrameTimecode
from scenedetect.detectors import AdaptiveDetector, HistogramDetector

# Clips that are shorter than they should be by less than this, in seconds, are whole: files round their times.
_TOLERANCE = 0.01
# The standard deviation, of 255, of frames so dark or flat that their hues and histograms are noise.
_FLAT = 4
# Frames on either side that the adaptive detector compares a frame with.
_AROUND = 3
# Longer flashes, in frames, are taken for shots.
_FLASH = 4
# Correlation of the colours' histograms from which on what comes after a flash is what was before it.
_ALIKE = 0.8
# No shot is shorter, in seconds. The best of PySceneDetect's own benchmark, like the adaptive threshold below.
SHORTEST = 0.6


class Shot(NamedTuple):
  """`begin` and `end`: in seconds."""

  begin: float
  end: float


class Cuts:
  """Finds the cuts of a video whose frames come one by one.

  Attributes:
    side: the shorter side of the frames that it is to be shown, in pixels.
  """

  side = 48

  def __init__(self, fps: float | int = 25):
    """`fps`: frames per second of the file, as its head has it."""
    shortest = max(round(SHORTEST * fps), 1)
    self._fps, self._size = float(fps), None
    self._changes = AdaptiveDetector(adaptive_threshold=3.5, window_width=3, min_scene_len=shortest)
    # Few bins, for few pixels: with 256 the key frames of older codecs look like cuts.
    self._histograms = HistogramDetector(threshold=0.15, bins=64, min_scene_len=shortest)
    # Of a frame that the adaptive detector reports, and of those that it is compared with.
    self._spreads = collections.deque(maxlen=2 + _AROUND)
    self._count, self._found = 0, set()
    self._losses = set()
    # Of the frame before a cut that is reported late, and of those after it.
    self._colours = collections.deque(maxlen=2 + _AROUND + _FLASH)
    self._pending, self._flash = set(), range(0)

  def add(self, frame: UInt8[np.ndarray, "h w 3"], after_loss: bool = False):
    """The next frame, in RGB; `after_loss` if frames before it are missing, which is a cut too."""
    self._size = self._size or frame.shape[:2]
    if frame.shape[:2] != self._size:  # some files change it on the way
      frame = cv2.resize(frame, self._size[::-1])
    code, frame = FrameTimecode(self._count, self._fps), cv2.cvtColor(frame, cv2.COLOR_RGB2BGR)
    found = self._changes.process_frame(code, frame) + self._histograms.process_frame(code, frame)
    self._spreads.append(float(cv2.meanStdDev(frame.reshape(-1, 1))[1][0, 0]))
    colours = cv2.calcHist([frame], [0, 1, 2], None, [6, 6, 6], [0, 256] * 3).ravel()
    self._colours.append((self._count, colours))
    if max(self._spreads) > _FLAT:
      self._pending |= {cut.frame_num for cut in found}
    if after_loss:
      self._losses.add(self._count)
    for cut in [cut for cut in self._pending if cut + _FLASH <= self._count]:
      self._decide(cut)
    self._count += 1

  def _decide(self, cut: int):
    """A cut is one, unless what was before it comes back at once: then it is a flash, and so is its end."""
    self._pending.discard(cut)
    if cut - 1 in self._flash:
      return
    colours = dict(self._colours)
    before = colours.get(cut - 1)
    if before is not None:
      alike = lambda index: cv2.compareHist(before, colours[index], cv2.HISTCMP_CORREL) > _ALIKE
      after = [index for index in range(cut, cut + _FLASH + 1) if index in colours]
      back = [index for index in after[1:] if alike(index)]
      if back and not alike(cut):
        self._flash = range(cut, back[0])
        return
    self._found.add(cut)

  def indices(self) -> list[int]:
    """The first frames of all shots but the first, so far."""
    for cut in sorted(self._pending):
      self._decide(cut)
    return sorted((self._found | self._losses) - {0})


def shots_of(cuts: Sequence[int], times: Sequence[float], end: float) -> list[Shot]:
  """The shots of a video.

  Args:
    cuts: first frames of shots, as `Cuts.indices` has them.
    times: of all frames, in seconds.
    end: of the last frame.

  Returns:
    at least one, if there is a frame.
  """
  edges = [0.0, *(times[cut] for cut in cuts), end]
  return [Shot(begin, until) for begin, until in itertools.pairwise(edges) if until > begin]


def clips_of(shots: list[Shot], length: float, margin: float) -> list[tuple[float, float]]:
  """(when it may begin, room after its shot's last clip) of all clips, in seconds; none of them crosses a cut.

  Args:
    shots: of a video.
    length: of a clip, in seconds.
    margin: seconds next to a cut that are left out, for what fades there; the video's own ends are none.
  """
  clips = []
  for index, shot in enumerate(shots):
    begin = shot.begin + (margin if index else 0)
    end = shot.end - (margin if index < len(shots) - 1 else 0)
    count = int((max(end - begin, 0) + _TOLERANCE) / length)
    clips += [(begin + k * length, max(end - begin - count * length, 0.0)) for k in range(count)]
  return clips
