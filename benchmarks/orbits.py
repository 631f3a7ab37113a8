"""A world of moving shapes for `one_pass.py` and `ideal_passes.py`: a circle that goes round and round.

It goes round the middle of the frame, from anywhere, slowly or faster than keyframes can tell. Colours, size and
the place where it begins vary.

At a rate of f turns a second, frames 1/r seconds apart show the same as f + r turns do (a negative rate is counterclockwise).
Keyframes at 2 frames a second thus take seven quarter turns clockwise for one quarter turn counterclockwise; all frames, at
8 a second, do not.
"""

import csv
import dataclasses
import pathlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Complex, Float, UInt8

from lumiere.data import frames
from lumiere.data.moving_shapes.render import render
from lumiere.data.moving_shapes.scene import BACKGROUNDS, COLOURS, ORBIT, Scene, State, Thing
from lumiere.evaluation.tracking import Track, track

NUM_FRAMES, FPS, RESOLUTION = 16, 8, 16
RADIUS = 0.3  # of the orbit, in frames
EVERY = 4  # frames from one keyframe to the next
KEYFRAME_RATE = FPS / EVERY
# In quarter turns a second. Without four: it looks the same both ways at keyframes.
QUARTERS = {1: "one", 2: "two", 3: "three", 5: "five", 6: "six", 7: "seven"}
WAYS = ("clockwise", "counterclockwise")
# Share of a path's variance that one steady circling has to explain.
STEADY = 0.8
WORDS = (
  *("a", "on", "circle", "circles", "quarter", "turns", "second"),
  *(*QUARTERS.values(), *WAYS, *COLOURS, *BACKGROUNDS),
)


@dataclasses.dataclass(frozen=True)
class Orbiting(Thing):
  """A circle that goes round at `turns` turns a second, in the direction that `motion` says."""

  turns: float = 0.0

  @property
  def rate(self) -> float:
    """Turns a second, without the direction."""
    return self.turns

  def state(self, times: Float[np.ndarray, " t"]) -> State:
    """On a wider orbit than that of moving shapes."""
    state, middle = super().state(times), np.array(self.centre)
    return state._replace(centre=middle + RADIUS / ORBIT * (state.centre - middle))


class Asked(NamedTuple):
  """A caption, the scene that it was written for, and its turns a second: below 0 if counterclockwise."""

  caption: str
  scene: Scene
  turns: float

  def without_motion(self) -> "Asked":
    """The same with a caption that says neither rate nor direction."""
    return self._replace(caption=caption_of(self.scene))


class Reading(NamedTuple):
  """What a video shows.

  Attributes:
    turns: turns a second of the steady circling that is nearest to the thing's path, below 0 if counterclockwise.
    explained: share of the path's variance that it explains, in [0, 1]; 0 where there is no thing.
    halves: the same turns for each half of the video; nan where there is no thing.
    colour_drift: largest change of the thing's mean colour from one frame to the next, in levels of 255.
    size_spread: standard deviation of its size over time, relative to the mean.
  """

  turns: float
  explained: float
  halves: tuple[float, float]
  colour_drift: float
  size_spread: float


def orbiting(colour: str, quarters: int, way: str, size: float, phase: float) -> Orbiting:
  """A circle that goes round the middle of the frame at so many quarter turns a second."""
  motion, middle = f"circles {way}", (0.5, 0.5)
  return Orbiting("circle", colour, motion, None, middle, size, phase, turns=quarters / 4)


def signed(quarters: int, way: str) -> float:
  """Turns a second, below 0 if counterclockwise."""
  return quarters / 4 * (1 if way == WAYS[0] else -1)


def draw(rng: np.random.Generator, quarters: int, way: str) -> Asked:
  """A scene of a rate and a direction, and its caption."""
  colour, background = str(rng.choice(list(COLOURS))), str(rng.choice(list(BACKGROUNDS)))
  size, phase = rng.uniform(0.26, 0.34), rng.uniform(0, 2 * np.pi)
  scene = Scene((orbiting(colour, quarters, way, size, phase),), background)
  caption = caption_of(scene, f" {way} {QUARTERS[quarters]} quarter turns a second")
  return Asked(caption, scene, signed(quarters, way))


def caption_of(scene: Scene, motion: str = "") -> str:
  """The caption of a scene; `motion` is what it says of rate and direction."""
  return f"a {scene.things[0].colour} circle circles{motion} on {scene.background}"


def held_out(each: int, seed: int = 1) -> list[Asked]:
  """`each` scenes of every rate and direction, in turns, so that the first ones have all of them."""
  rng = np.random.default_rng(seed)
  return [draw(rng, quarters, way) for _ in range(each) for quarters in QUARTERS for way in WAYS]


def clip(scene: Scene) -> UInt8[np.ndarray, "t h w 3"]:
  """The true clip."""
  return frames.to_uint8(render(scene, NUM_FRAMES, FPS, RESOLUTION))


def truth(asked: Sequence[Asked]) -> UInt8[np.ndarray, "n t h w 3"]:
  """The clips that captions were written for."""
  return np.stack([clip(a.scene) for a in asked])


def write_folder(folder: pathlib.Path, count: int, seed: int = 0):
  """A folder of `count` videos and captions to train on; half of the captions say nothing of the motion."""
  folder.mkdir(parents=True)
  rng = np.random.default_rng(seed)
  rows = []
  for index in range(count):
    asked = draw(rng, int(rng.choice(list(QUARTERS))), str(rng.choice(WAYS)))
    asked = asked.without_motion() if rng.random() < 0.5 else asked
    # Half a second longer, for the phase at which frames are picked. Four times the size: video codecs blur small pictures.
    video = render(asked.scene, NUM_FRAMES + EVERY, FPS, 4 * RESOLUTION)
    frames.write_video(folder / f"{index:05d}.mp4", frames.to_uint8(video), FPS)
    rows.append((f"{index:05d}.mp4", asked.caption))
  with (folder / "captions.csv").open("w", newline="") as file:
    csv.writer(file).writerows([("file", "caption"), *rows])


def read(video: UInt8[np.ndarray, "t h w 3"], fps: float = FPS) -> Reading:
  """Measures how a thing goes round; see `Reading`."""
  seen = track(video)
  present = np.isfinite(seen.centre).all(axis=1)
  if present.sum() < len(video) // 2:
    return Reading(0.0, 0.0, (np.nan, np.nan), 0.0, 0.0)
  times = np.flatnonzero(present) / fps
  path = seen.centre[present] @ np.array([1, 1j])
  half = len(path) // 2
  turns, explained = steady(path, times, fps)
  halves = tuple(
    steady(p, t, fps)[0] for p, t in ((path[:half], times[:half]), (path[half:], times[half:]))
  )
  sizes = seen.size[present]
  return Reading(
    turns, explained, halves, colour_drift(video, seen), float(sizes.std() / sizes.mean())
  )


def steady(
  path: Complex[np.ndarray, " t"], times: Float[np.ndarray, " t"], fps: float
) -> tuple[float, float]:
  """(f, share of the variance explained) of the best c + a exp(2 pi i f t), f between both Nyquist rates."""
  rates = np.arange(-fps / 2 + 0.01, fps / 2, 0.01)
  waves = np.exp(2j * np.pi * np.outer(rates, times))
  waves -= waves.mean(axis=1, keepdims=True)
  moved = path - path.mean()
  # A rate near 0 is nearly constant over the clip, and would explain a drift with a huge circle.
  power = np.abs(waves.conj() @ moved) ** 2 / np.maximum(
    np.sum(np.abs(waves) ** 2, axis=1), 0.5 * len(times)
  )
  best = int(np.argmax(power))
  return float(rates[best]), float(power[best] / max(np.sum(np.abs(moved) ** 2), 1e-9))


def colour_drift(video: UInt8[np.ndarray, "t h w 3"], seen: Track) -> float:
  """See `Reading`: of the mean colour of the 3x3 pixels about the thing's centre."""
  size = video.shape[1]
  colours = []
  for frame, centre in zip(video, seen.centre, strict=True):
    if np.isfinite(centre).all():
      x, y = np.clip((centre * size).astype(int), 1, size - 2)
      colours.append(frame[y - 1 : y + 2, x - 1 : x + 2].reshape(-1, 3).mean(axis=0))
  return float(np.abs(np.diff(colours, axis=0)).max(initial=0.0))


def fits(turns: float, wanted: float) -> bool:
  """Whether a rate is nearer to the wanted one than to any other of this world."""
  return abs(turns - wanted) < 0.125


def alias(turns: float) -> float:
  """The other rate of this world that has the same keyframes."""
  return turns - KEYFRAME_RATE if turns > 0 else turns + KEYFRAME_RATE


def measured(
  said: Sequence[UInt8[np.ndarray, "_t _h _w 3"]],
  unsaid: Sequence[UInt8[np.ndarray, "_t _h _w 3"]],
  asked: Sequence[Asked],
) -> dict[str, Any]:
  """What videos of captions show.

  Args:
    said: of captions that say rate and direction, in the order of `asked`.
    unsaid: of captions that say neither.
    asked: the former captions.

  Returns:
    `rates`: for each number of quarter turns a second, how many videos there are, and the shares that go round "as asked",
      as their keyframes would also do ("aliased"), or neither steadily one nor the other ("else").
    `n_unsaid`: how many of the others there are; `steady`: the share of them that goes round in one way from beginning to end;
      `same_halves`: the share in which both halves go round alike; `fast`: the share that goes round faster than keyframes can
      tell.
    `colour_drift`, `size_spread`: medians over the former, see `Reading`.
  """
  readings, free = [read(video) for video in said], [read(video) for video in unsaid]
  rates = {}
  for quarters in QUARTERS:
    of_rate = [
      (r, a.turns) for r, a in zip(readings, asked, strict=True) if abs(a.turns) == quarters / 4
    ]
    steady_ones = [(r, turns) for r, turns in of_rate if r.explained > STEADY]
    right = sum(fits(r.turns, turns) for r, turns in steady_ones)
    aliased = sum(fits(r.turns, alias(turns)) for r, turns in steady_ones)
    n = len(of_rate)
    rates[quarters] = {
      "n": n,
      "as asked": right / n,
      "aliased": aliased / n,
      "else": (n - right - aliased) / n,
    }
  median = lambda name: float(np.median([getattr(r, name) for r in readings]))
  share = lambda test: float(np.mean([test(r) for r in free]))
  return {
    "rates": rates,
    "n_unsaid": len(free),
    "steady": share(lambda r: r.explained > STEADY),
    "same_halves": share(lambda r: abs(r.halves[0] - r.halves[1]) < 0.25),
    "fast": share(lambda r: abs(r.turns) > KEYFRAME_RATE / 2),
    "colour_drift": median("colour_drift"),
    "size_spread": median("size_spread"),
  }
