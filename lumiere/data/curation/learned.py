"""Cuts and gradual transitions as TransNet V2 sees them. It is slow on a CPU."""

import functools

import cv2
import jax
import numpy as np
from jaxtyping import Float, UInt8

from lumiere import user_cache
from lumiere.data.curation import transnet_weights
from lumiere.data.curation.transnet import HEIGHT, STEP, WIDTH, WINDOW

# A frame is in a transition from this probability on; the authors' choice.
THRESHOLD = 0.5
_AROUND = (WINDOW - STEP) // 2


class LearnedCuts:
  """Finds the cuts of a video whose frames come one by one; see `shots.Cuts`. No more than a window of them is kept.

  Attributes:
    side: the shorter side of the frames that it is to be shown, in pixels.
  """

  side = 2 * HEIGHT

  def __init__(self, fps: float | int = 25):
    """`fps` is of no use to it."""
    self._run = network()
    self._waiting, self._probabilities, self._count, self._lost = [], [], 0, set()

  def add(self, frame: UInt8[np.ndarray, "h w 3"], after_loss: bool = False):
    """The next frame, in RGB; `after_loss` if frames before it are missing, which is a cut too."""
    small = cv2.resize(frame, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)
    self._waiting += [small] * (
      1 if self._count else 1 + _AROUND
    )  # what comes before the first one is like it
    if after_loss:
      self._lost.add(self._count)
    self._count += 1
    if len(self._waiting) == WINDOW:
      self._probabilities.append(self._run(np.stack(self._waiting)))
      self._waiting = self._waiting[STEP:]

  def probabilities(self) -> Float[np.ndarray, " t"]:
    """Of each frame, to be in a transition; what comes after the last frame is taken to be like it."""
    found, waiting = list(self._probabilities), list(self._waiting)
    while sum(map(len, found)) < self._count:
      waiting += [waiting[-1]] * (WINDOW - len(waiting))
      found.append(self._run(np.stack(waiting)))
      waiting = waiting[STEP:]
    return np.concatenate([*found, np.zeros(0, np.float32)])[: self._count]

  def indices(self) -> list[int]:
    """The first frames of all shots but the first; the frames of a gradual transition are a shot of their own."""
    return sorted((cuts_of(self.probabilities() > THRESHOLD) | self._lost) - {0})


def cuts_of(inside: np.ndarray) -> set[int]:
  """First frames of shots, given which frames are in a transition; a hard cut is the last frame of its shot alone."""
  changes = np.flatnonzero(np.diff(inside.astype(np.int8), prepend=0, append=0))
  cuts = set()
  for begin, end in changes.reshape(-1, 2).tolist():
    if end < len(inside):
      cuts.add(end)
    if end - begin > 1:
      cuts.add(begin)
  return cuts


@functools.cache
def network():
  """[100 27 48 3] -> the probabilities of the 50 frames in the middle; raises ValueError if the weights are not there."""
  model, _ = transnet_weights.load(user_cache.folder() / transnet_weights.NAME)
  run = jax.jit(lambda frames: jax.nn.sigmoid(model(frames[None])[0][0, _AROUND : _AROUND + STEP]))
  return lambda frames: np.asarray(run(frames))
