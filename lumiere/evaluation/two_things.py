"""Judges videos of two things: does each have its colour, its shape and its motion?

The colours that a caption names tell the two apart. With b the background and c, d the colours seen, a pixel x is covered by
the shares of the least squares

    x - b = alpha_c (c - b) + alpha_d (d - b)                                                                       (1)

and each share is measured as the one thing of a clip is (`tracking.py`). Frames in which the two may touch are left out: what
lies behind is not whole there.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float, UInt8

from lumiere.data.moving_shapes.captions import Implied, Meaning, parse
from lumiere.data.moving_shapes.scene import BACKGROUNDS, COLOURS
from lumiere.evaluation.moving_shapes import Found, find_motion
from lumiere.evaluation.tracking import Track, background_colour, measure, nearest

# The least part of what is coloured that one of two things takes.
LEAST_PART = 0.1
# Frames that are measured, even where the two touch all the time.
FEWEST = 4
NOTHING = Found(None, None, None, None)


@dataclasses.dataclass(frozen=True)
class PairVerdict:
  """What was found of the two things that a caption names, in its order."""

  asked: tuple[Implied, Implied]
  asked_background: str
  found: tuple[Found, Found]
  found_background: str

  @property
  def background(self) -> bool:
    """Whether the background is as asked."""
    return self.found_background == self.asked_background

  def both(self, *fields: str) -> bool:
    """Whether both things are as asked in these fields of `Found`."""
    return all(
      getattr(found, field) == getattr(asked, field)
      for asked, found in zip(self.asked, self.found, strict=True)
      for field in fields
    )


def judge_pairs(
  videos: Sequence[UInt8[np.ndarray, "_t _h _w 3"]], captions: Sequence[str], fps: float | int
) -> list[PairVerdict]:
  """Judges each video.

  Args:
    videos: of any size and length, 2 frames or more.
    captions: one a video, of the grammar of `lumiere.data.moving_shapes.captions`, naming two things.
    fps: frames per second of the videos.

  Raises:
    ValueError: if a caption is not of the grammar or does not name two things.
  """
  verdicts = []
  for video, caption in zip(videos, captions, strict=True):
    meaning = parse(caption)
    if len(meaning.things) != 2:
      raise ValueError(
        f"caption {caption!r} names {len(meaning.things)} things; two are judged here"
      )
    if len(video) < 2:
      raise ValueError(f"a video of {len(video)} frame has no motion to judge")
    verdicts.append(_judge(video, meaning, fps))
  return verdicts


def report_pairs(verdicts: Sequence[PairVerdict]) -> dict[str, float]:
  """Shares of videos in which the background, and of both things the colour, shape, motion and all of these are right."""
  shares = {"background": float(np.mean([v.background for v in verdicts]))}
  for field in ("colour", "shape", "motion"):
    shares[field] = float(np.mean([v.both(field) for v in verdicts]))
  shares["all"] = float(np.mean([v.both("colour", "shape", "motion") for v in verdicts]))
  return shares


def _judge(video: UInt8[np.ndarray, "t h w 3"], meaning: Meaning, fps: float | int) -> PairVerdict:
  pixels = video.astype(np.float32)
  background = background_colour(pixels)
  name = nearest(background, BACKGROUNDS)
  seen = seen_colours(pixels, background)
  colours = [thing.colour for thing in meaning.things]
  found = [NOTHING, NOTHING]
  if all(colour in seen for colour in colours):
    shares = shares_of(pixels, background, [seen[colour] for colour in colours])
    measured = [measure(alpha, name, colour) for alpha, colour in zip(shares, colours, strict=True)]
    free = apart(*measured)[:, None, None]
    for index, colour in enumerate(colours):
      track = measure(np.where(free, shares[index], 0), name, colour)
      found[index] = Found(track.shape, track.colour, *find_motion(track, fps))
  return PairVerdict(meaning.things, meaning.background, tuple(found), name)


def seen_colours(
  pixels: Float[np.ndarray, "t h w 3"], background: Float[np.ndarray, "3"]
) -> dict[str, Float[np.ndarray, "3"]]:
  """Colours that take LEAST_PART or more of what stands out, by name, as they are seen."""
  out = pixels[np.linalg.norm(pixels - background, axis=-1) > 60]
  # Edges are mixtures: only what is near a colour counts for it.
  names = list(COLOURS)
  distance = np.linalg.norm(
    out[:, None] - np.array([COLOURS[name] for name in names], np.float32), axis=-1
  )
  near, which = distance.min(axis=1, initial=np.inf) < 60, np.argmin(distance, axis=1)
  found = {}
  for index, name in enumerate(names):
    own = out[near & (which == index)]
    if len(own) and len(own) >= LEAST_PART * near.sum():
      found[name] = np.median(own, axis=0)
  return found


def shares_of(
  pixels: Float[np.ndarray, "t h w 3"],
  background: Float[np.ndarray, "3"],
  colours: Sequence[Float[np.ndarray, "3"]],
) -> list[Float[np.ndarray, "t h w"]]:
  """Equation (1)."""
  ways = np.stack([colour - background for colour in colours], axis=1)
  alpha = (pixels - background) @ np.linalg.pinv(ways).T
  return [np.clip(alpha[..., index], 0, 1) for index in range(len(colours))]


def apart(first: Track, second: Track) -> Bool[np.ndarray, " t"]:
  """Frames in which two things do not touch, or, if there are fewer than FEWEST, those in which they are the farthest apart."""
  distance = np.linalg.norm(first.centre - second.centre, axis=1)
  distance = np.nan_to_num(distance, nan=np.inf)  # one that is not seen hides nothing
  # Half the extent reaches an edge, and no corner is farther than 0.7 of it.
  free = distance > 0.6 * (first.size + second.size)
  if free.sum() < FEWEST:
    free[np.argsort(distance)[-FEWEST:]] = True
  return free
