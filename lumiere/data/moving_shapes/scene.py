"""What is in a clip, and where it is at any time.

The shorter side of the frame is the unit of length, x to the right and y down; an angle grows clockwise, as seen. Time is in
seconds. A thing's state is a closed formula of time, so that one scene can be shown at any frame rate and resolution:

    left, right, up, down     position = start + rate t, rate in units a second
    clockwise, ...            position = start + orbit (cos, sin)(phase + 2 pi rate t), rate in turns a second
    bounces                   height   = |sin(phase + pi rate t)|, rate in bounces a second
    grows, shrinks            size     = start + rate t
    spins                     angle    = phase + 2 pi rate t
"""

import dataclasses
import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from lumiere.sizes import Size

SHAPES = ("circle", "square", "triangle")
NUM_SIDES = {"circle": 0, "square": 4, "triangle": 3}
# Distance from the centre to the farthest point, for size 1.
REACH = {"circle": 0.5, "square": 0.45 * math.sqrt(2), "triangle": 0.68}

COLOURS = {
  "red": (230, 30, 30),
  "green": (30, 190, 50),
  "blue": (40, 90, 255),
  "yellow": (240, 220, 30),
  "cyan": (40, 220, 230),
  "magenta": (230, 40, 210),
  "white": (250, 250, 250),
}
BACKGROUNDS = {"black": (0, 0, 0), "gray": (96, 96, 96), "navy": (10, 10, 80)}

MOTIONS = (
  "still",
  "left",
  "right",
  "up",
  "down",
  "circles clockwise",
  "circles counterclockwise",
  "bounces",
  "grows",
  "shrinks",
  "spins clockwise",
  "spins counterclockwise",
)
SPEEDS = ("slow", "fast")
DIRECTIONS = {"left": (-1, 0), "right": (1, 0), "up": (0, -1), "down": (0, 1)}
ORBIT, BOUNCE = 0.17, 0.34  # radius and height, in units

# Stated rates (slow, fast), in the units above.
RATES = {
  "moves": (0.10, 0.20),
  "circles": (0.25, 0.5),
  "bounces": (0.5, 1.0),
  "sizes": (0.07, 0.14),
  "spins": (0.12, 0.24),
}


class State(NamedTuple):
  """Of one thing at some times: centre [t 2] and size [t] in units of length, angle [t] in radians."""

  centre: Float[np.ndarray, "t 2"]
  size: Float[np.ndarray, " t"]
  angle: Float[np.ndarray, " t"]


@dataclasses.dataclass(frozen=True)
class Thing:
  """One moving shape.

  Attributes:
    shape: one of SHAPES.
    colour: one of COLOURS.
    motion: one of MOTIONS.
    speed: one of SPEEDS; None if still.
    centre: position at time 0; for circling and bouncing, the resting point of the motion.
    size: extent at time 0, in units of length: a circle's diameter, and for other shapes of about its area.
    phase: where a periodic motion begins, in radians.
  """

  shape: str
  colour: str
  motion: str
  speed: str | None
  centre: tuple[float, float]
  size: float
  phase: float = 0.0

  @property
  def rate(self) -> float:
    """Stated rate, 0 if still; its unit depends on the motion, see the head of this file."""
    if self.motion == "still":
      return 0.0
    return RATES[family(self.motion)][SPEEDS.index(self.speed)]

  def state(self, times: Float[np.ndarray, " t"]) -> State:
    """Where it is at `times`, in seconds."""
    centre = np.tile(np.array(self.centre), (len(times), 1))
    size, angle = np.full(len(times), self.size), np.zeros(len(times))
    turn = 2 * np.pi * self.rate * times * (-1 if "counter" in self.motion else 1)
    match family(self.motion):
      case "moves":
        centre += self.rate * times[:, None] * np.array(DIRECTIONS[self.motion])
      case "circles":
        around = self.phase + turn
        centre += ORBIT * np.stack([np.cos(around), np.sin(around)], axis=1)
      case "bounces":
        centre[:, 1] -= BOUNCE * np.abs(np.sin(self.phase + np.pi * self.rate * times))
      case "sizes":
        size += self.rate * times * (1 if self.motion == "grows" else -1)
      case "spins":
        angle += self.phase + turn
    return State(centre, size, angle)


@dataclasses.dataclass(frozen=True)
class Scene:
  """A clip: things on a plain background, later ones in front."""

  things: tuple[Thing, ...]
  background: str


def family(motion: str) -> str:
  """Motions that share a formula and a unit: "still" or a key of RATES."""
  if motion in DIRECTIONS:
    return "moves"
  if motion in ("grows", "shrinks"):
    return "sizes"
  return motion.split()[0]


def is_held_out(colour: str, shape: str, motion: str) -> bool:
  """Whether a combination is kept from training, to see whether a model composes: 24 of the 238 that there are.

  Each shape with each motion, each colour with each motion and each colour with each shape is left in others.
  """
  place = list(COLOURS).index(colour) + 2 * SHAPES.index(shape) + 3 * MOTIONS.index(motion)
  return place % 10 == 0


def extent_of(size: Size) -> tuple[float, float]:
  """Width and height of a frame in units of length, from its height and width in pixels."""
  unit = min(size)
  return size[1] / unit, size[0] / unit


def random_scene(
  rng: np.random.Generator,
  duration: float,
  max_things: int = 1,
  *,
  count: int | None = None,
  held_out: bool | None = None,
  extent: tuple[float, float] = (1.0, 1.0),
) -> Scene:
  """Draws a scene in which everything stays in view for `duration` seconds; colours differ within it.

  Args:
    rng: what is drawn from.
    duration: in seconds.
    max_things: things are 1 to so many, each number as likely.
    count: things, where their number is not to be drawn.
    held_out: True for combinations that `is_held_out` names and no others, False for all but those, None for any.
    extent: of the frame, see `extent_of`.
  """
  count = int(rng.integers(1, max_things + 1)) if count is None else count
  colours = rng.choice(list(COLOURS), count, replace=False)
  background = str(rng.choice(list(BACKGROUNDS)))
  things = []
  for colour in colours:
    thing = _random_thing(rng, str(colour), duration, count, extent)
    while held_out is not None and is_held_out(colour, thing.shape, thing.motion) != held_out:
      thing = _random_thing(rng, str(colour), duration, count, extent)
    things.append(thing)
  return Scene(tuple(things), background)


def _random_thing(
  rng: np.random.Generator, colour: str, duration: float, count: int, extent: tuple[float, float]
) -> Thing:
  shape, motion = str(rng.choice(SHAPES)), str(rng.choice(MOTIONS))
  if shape == "circle" and family(motion) == "spins":
    shape = str(rng.choice(SHAPES[1:]))  # a circle's spin cannot be seen
  speed = None if motion == "still" else str(rng.choice(SPEEDS))
  return place(rng, Thing(shape, colour, motion, speed, (0.5, 0.5), 0.0), duration, count, extent)


def place(
  rng: np.random.Generator,
  thing: Thing,
  duration: float,
  count: int = 1,
  extent: tuple[float, float] = (1.0, 1.0),
) -> Thing:
  """Draws size, phase and centre of a thing so that it stays in view for `duration` seconds; `count` things are smaller."""
  motion = thing.motion
  low, high = {"sizes": (0.24, 0.28), "spins": (0.36, 0.48)}.get(family(motion), (0.32, 0.40))
  size = rng.uniform(low, high)
  if count > 1:
    size = 0.8 * size
  # Drawn with its start in the middle, it says how much room it needs on each side.
  phase = rng.uniform(0, 2 * np.pi)
  thing = dataclasses.replace(thing, size=float(size), phase=float(phase))
  change = thing.rate * duration if family(motion) == "sizes" else 0.0
  if motion == "shrinks":
    thing = dataclasses.replace(thing, size=float(size + change))
  reach = REACH[thing.shape] * (size + change)
  state = thing.state(np.linspace(0, duration, 65))
  lowest = reach - (state.centre - 0.5).min(axis=0)
  highest = np.array(extent) - reach - (state.centre - 0.5).max(axis=0)
  centre = rng.uniform(np.minimum(lowest, highest), np.maximum(lowest, highest))
  return dataclasses.replace(thing, centre=(float(centre[0]), float(centre[1])))
