"""Captions of scenes, in several wordings, and what a caption implies.

    caption = things " on " background | "on " background ", " things
    things  = thing | thing " and " thing
    thing   = ("a " | "one ") colour " " shape " " verb [" " adverb]

Every caption that `write_caption` makes is read back by `parse`.
"""

import dataclasses
import itertools

import numpy as np

from lumiere.data.moving_shapes.scene import BACKGROUNDS, COLOURS, SHAPES, Scene, Thing

VERBS = {
  "still": ("stays still", "does not move", "rests"),
  "bounces": ("bounces", "bounces up and down", "jumps up and down"),
  "grows": ("grows", "gets bigger", "becomes larger"),
  "shrinks": ("shrinks", "gets smaller", "becomes smaller"),
}
VERBS |= {
  way: tuple(f"{verb} {way}" for verb in ("moves", "drifts", "slides"))
  for way in ("left", "right", "up", "down")
}
VERBS |= {
  f"circles {way}": (f"circles {way}", f"orbits {way}") for way in ("clockwise", "counterclockwise")
}
VERBS |= {
  f"spins {way}": (f"spins {way}", f"rotates {way}") for way in ("clockwise", "counterclockwise")
}
ADVERBS = {"slow": ("slowly", "gently"), "fast": ("quickly", "fast")}


@dataclasses.dataclass(frozen=True)
class Implied:
  """What a caption says of one thing; `speed` is None if it is still, or not said."""

  shape: str
  colour: str
  motion: str
  speed: str | None


@dataclasses.dataclass(frozen=True)
class Meaning:
  """What a caption says."""

  things: tuple[Implied, ...]
  background: str


def write_caption(scene: Scene, rng: np.random.Generator, unsaid: float = 0.0) -> str:
  """A caption of the scene, in wordings that `rng` chooses; ASCII, at most 71 characters a thing.

  `unsaid` is the share of moving things whose speed is not said.
  """
  things = " and ".join(_phrase(thing, rng, unsaid) for thing in scene.things)
  return (
    f"{things} on {scene.background}" if rng.random() < 0.7 else f"on {scene.background}, {things}"
  )


def _phrase(thing: Thing, rng: np.random.Generator, unsaid: float) -> str:
  words = [
    str(rng.choice(["a", "one"])),
    thing.colour,
    thing.shape,
    str(rng.choice(VERBS[thing.motion])),
  ]
  if thing.speed and not (unsaid and rng.random() < unsaid):
    words.append(str(rng.choice(ADVERBS[thing.speed])))
  return " ".join(words)


def parse(caption: str) -> Meaning:
  """What a caption of the grammar says.

  Raises:
    ValueError: if it is not of the grammar.
  """
  text = caption.strip().lower().rstrip(".")
  if text.startswith("on ") and ", " in text:
    background, things = text.removeprefix("on ").split(", ", 1)
  else:
    things, _, background = text.rpartition(" on ")
  if background not in BACKGROUNDS:
    raise ValueError(f"caption {caption!r} names no background of {', '.join(BACKGROUNDS)}")
  phrases = [phrase for phrase in _split(things)]
  if unknown := [phrase for phrase in phrases if phrase not in _PHRASES]:
    raise ValueError(f"caption {caption!r} is not of the grammar: {unknown[0]!r} cannot be read")
  return Meaning(tuple(_PHRASES[phrase] for phrase in phrases), background)


def _split(things: str) -> list[str]:
  """Phrases joined by "and", which also stands in "up and down"."""
  return [
    part.replace("up&down", "up and down")
    for part in things.replace("up and down", "up&down").split(" and ")
  ]


def _all_phrases() -> dict[str, Implied]:
  """Every phrase of the grammar: a few thousand."""
  phrases = {}
  for colour, shape, (motion, verbs) in itertools.product(COLOURS, SHAPES, VERBS.items()):
    speeds = {None: ("",)}
    if motion != "still":
      speeds |= {s: tuple(f" {a}" for a in adverbs) for s, adverbs in ADVERBS.items()}
    for speed, adverbs in speeds.items():
      for article, verb, adverb in itertools.product(("a", "one"), verbs, adverbs):
        phrases[f"{article} {colour} {shape} {verb}{adverb}"] = Implied(
          shape, colour, motion, speed
        )
  return phrases


_PHRASES = _all_phrases()
