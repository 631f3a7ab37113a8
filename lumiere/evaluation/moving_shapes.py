"""Judges generated videos of moving shapes by their captions.

The thing in a video is tracked (`tracking.py`), and its track is compared with every motion at every speed that a caption
can name, each from its best-fitting start. The video shows the motion whose formula has the smallest residual

    sum_t |centre - predicted|^2 + (size - predicted)^2 / 2 + (sweep (angle - predicted))^2                          (1)

where `sweep` is the distance that a corner travels in a turn of one radian.
"""

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, UInt8

from lumiere.data.moving_shapes.captions import Implied, parse
from lumiere.data.moving_shapes.scene import MOTIONS, NUM_SIDES, REACH, SPEEDS, Thing, family
from lumiere.evaluation.tracking import Track, track

# Where in its period a motion may begin.
PHASES = np.arange(48) / 48


class Found(NamedTuple):
  """The thing seen in a video; None where there is nothing to see."""

  shape: str | None
  colour: str | None
  motion: str | None
  speed: str | None


@dataclasses.dataclass(frozen=True)
class Verdict:
  """What was found in one video, and what its caption asked for."""

  asked: Implied
  asked_background: str
  found: Found
  found_background: str

  @property
  def background(self) -> bool:
    """Whether the background is as asked."""
    return self.found_background == self.asked_background

  @property
  def colour(self) -> bool:
    """Whether the thing has the colour asked for."""
    return self.found.colour == self.asked.colour

  @property
  def shape(self) -> bool:
    """Whether it is the shape asked for."""
    return self.found.shape == self.asked.shape

  @property
  def motion(self) -> bool:
    """Whether it moves as asked."""
    return self.found.motion == self.asked.motion

  @property
  def speed(self) -> bool | None:
    """Whether motion and speed are as asked; None if the caption names no speed."""
    return (self.motion and self.found.speed == self.asked.speed) if self.asked.speed else None


def judge(
  videos: Sequence[UInt8[np.ndarray, "_t _h _w 3"]],
  captions: Sequence[str],
  fps: float | int,
) -> list[Verdict]:
  """Judges each video.

  Args:
    videos: of any size and length, 2 frames or more.
    captions: one a video, of the grammar of `lumiere.data.moving_shapes.captions`, naming one thing.
    fps: frames per second of the videos.

  Raises:
    ValueError: if a caption is not of the grammar or names several things.
  """
  verdicts = []
  for video, caption in zip(videos, captions, strict=True):
    meaning = parse(caption)
    if len(meaning.things) != 1:
      raise ValueError(f"caption {caption!r} names {len(meaning.things)} things; one can be judged")
    if len(video) < 2:
      raise ValueError(f"a video of {len(video)} frame has no motion to judge")
    seen = track(video)
    motion, speed = find_motion(seen, fps)
    found = Found(seen.shape, seen.colour, motion, speed)
    verdicts.append(Verdict(meaning.things[0], meaning.background, found, seen.background))
  return verdicts


def report(verdicts: Sequence[Verdict]) -> dict[str, float]:
  """Share of videos that show what was asked: background, colour, shape, motion, speed."""
  shares = {}
  for name in ("background", "colour", "shape", "motion", "speed"):
    values = [getattr(verdict, name) for verdict in verdicts]
    known = [value for value in values if value is not None]
    shares[name] = float(np.mean(known)) if known else float("nan")
  return shares


def find_motion(seen: Track, fps: float | int) -> tuple[str | None, str | None]:
  """(motion, speed) that explain a track best; Nones if the thing is not seen in two frames or more."""
  present = np.isfinite(seen.centre).all(axis=1)
  if seen.shape is None or present.sum() < 2:
    return None, None
  times = np.flatnonzero(present) / fps
  seen = seen._replace(
    centre=seen.centre[present], size=seen.size[present], turn=seen.turn[present]
  )
  misfits = {}
  for motion in MOTIONS:
    if family(motion) == "spins" and not NUM_SIDES[seen.shape]:
      continue
    for speed in (None,) if motion == "still" else SPEEDS:
      misfits[motion, speed] = misfit(seen, times, motion, speed)
  return min(misfits, key=misfits.get)


def misfit(seen: Track, times: Float[np.ndarray, " t"], motion: str, speed: str | None) -> float:
  """Equation (1), a frame, with start, size, angle and phase chosen for the best fit."""
  thing = Thing(seen.shape, "", motion, speed, (0.0, 0.0), 0.0)
  periodic = family(motion) in ("circles", "bounces")
  begins = PHASES / thing.rate if periodic else np.zeros(1)
  states = thing.state(np.add.outer(begins, times).ravel())
  centres = states.centre.reshape(len(begins), len(times), 2)
  moved = np.var(seen.centre - centres, axis=1).sum(axis=-1).min()
  # Neither sizes nor angles depend on the phase of what is periodic.
  grown = np.var(seen.size - states.size[: len(times)]) / 2
  return float(moved + grown + turned(seen, states.angle[: len(times)]))


def turned(seen: Track, angle: Float[np.ndarray, " t"]) -> float:
  """The last term of equation (1): 1 - cos on the circle, for small differences their square."""
  sides = NUM_SIDES[seen.shape]
  if not sides:
    return 0.0
  difference = seen.turn * np.exp(-1j * sides * angle)
  apart = 2 * (1 - np.abs(np.mean(difference))) / sides**2
  return (0.5 * REACH[seen.shape] * np.median(seen.size)) ** 2 * apart
