"""One file, decoded once: what it is, its shots, and the clips in it with their scores.

A file is never held: of each frame a few numbers are kept, and of a few frames a second some more. What a clip scores is made of
the samples in it.
"""

import dataclasses
import hashlib
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from etils import epath

from lumiere.data import frames
from lumiere.data.curation import samples as sampling
from lumiere.data.curation import shots
from lumiere.data.curation.probe import probe
from lumiere.data.curation.samples import Sample

DETECTORS = ("classical", "transnet")
# Frames a second of files that do not say.
_USUAL_FPS = 25.0
# Bars of less than this share of the frame are not cropped: codecs blur edges.
_LEAST_BAR = 0.01
# Motion, in frame heights a second, from which on edges that stay are taken for overlays.
_MOVES = 0.02


@dataclasses.dataclass(frozen=True)
class ClipSettings:
  """What clips are cut.

  Attributes:
    num_frames: frames of a clip.
    fps: frames per second of a clip.
    margin: seconds next to a cut that are left out.
    seed: of the phases at which clips begin, below one frame's time.
    detector: what finds cuts: "classical", see `shots`, or "transnet", see `learned`.
  """

  num_frames: int = 80
  fps: float = 16.0
  margin: float = 0.1
  seed: int = 0
  detector: str = "classical"

  def __post_init__(self):
    if self.num_frames < 1:
      raise ValueError(f"num_frames={self.num_frames} must be 1 or more")
    if self.fps <= 0:
      raise ValueError(f"fps={self.fps} must be positive")
    if self.margin < 0:
      raise ValueError(f"margin={self.margin} must be 0 or more")
    if self.detector not in DETECTORS:
      raise ValueError(f"detector={self.detector!r} must be one of {', '.join(DETECTORS)}")

  @property
  def length(self) -> float:
    """Of a clip, in seconds."""
    return self.num_frames / self.fps


def look(
  folder: epath.PathLike, name: str, settings: ClipSettings
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
  """(row of the table of sources, rows of the table of clips) of one file; columns as in `table`.

  A file that cannot be read, or is damaged, is no error: the column "problem" says so. Of a damaged one the clips that can be
  read are given.
  """
  path, source = pathlib.Path(folder) / name, {"source": name, "problem": ""}
  cuts, sampler = detector(settings.detector), sampling.Sampler()
  times, end, size, after_loss = [], 0.0, (0, 0), False
  due = 0.0  # time of the next sample: the same in each copy of a video
  try:
    source |= probe(path)
    cuts = detector(settings.detector, source["fps"] or _USUAL_FPS)
    for frame in frames.shown(path):
      size = size if times else frame.size
      cuts.add(frame.small(cuts.side), after_loss)
      if due < frame.until:
        sampler.add(frame.small(sampling.SIDE), due)
        due = (int(frame.until * sampling.RATE) + 1) / sampling.RATE
      times.append(end)
      end, after_loss = frame.until, frame.gap
  except frames.UnreadableError as error:
    source["problem"] = f"cannot be read: {error}"
  except frames.DamagedError as error:
    source["problem"] = f"damaged: {error}"
  found = shots.shots_of(cuts.indices(), times, end)
  clips = [
    clip_row(name, index, start, size, settings, sampler.samples)
    for index, start in enumerate(starts_of(name, found, settings))
  ]
  source |= dict(
    duration=end,
    frames=len(times),
    height=size[0],
    width=size[1],
    shots=len(found),
    clips=len(clips),
  )
  return source, clips


def detector(name: str, fps: float = _USUAL_FPS):
  """What finds the cuts of one file; raises ValueError if its weights are not there."""
  if name == "transnet":
    from lumiere.data.curation.learned import LearnedCuts  # JAX, which the rest does without

    return LearnedCuts(fps)
  return shots.Cuts(fps)


def starts_of(name: str, found: Sequence[shots.Shot], settings: ClipSettings) -> list[float]:
  """When the clips of a file begin: in each shot at a random part of a frame's time, as far as there is room.

  Were it always the shot's begin, a source of another rate would repeat or drop frames at the same places of every clip.
  """
  rng = np.random.default_rng([settings.seed, *hashlib.sha256(name.encode()).digest()])
  starts = []
  for start, room in shots.clips_of(found, settings.length, settings.margin):
    starts.append(start + min(room, 1 / settings.fps) * rng.uniform())
  return starts


def clip_row(
  name: str,
  index: int,
  start: float,
  size: tuple[int, int],
  settings: ClipSettings,
  taken: Sequence[Sample],
) -> dict[str, Any]:
  """A row of the table of clips, with scores from the samples of the file."""
  inside = [s for s in taken if start <= s.time < start + settings.length]
  inside = inside or [min(taken, key=lambda s: abs(s.time - start))]
  mean = lambda field, some=inside: (
    float(np.mean([getattr(s, field) for s in some])) if some else 0.0
  )
  moves = [
    s for s in inside[1:] if np.isfinite(s.motion)
  ]  # the first one compares with what was before
  top, bottom, left, right = (bar_of([s.bars[side] for s in inside]) for side in range(4))
  height, width = round(size[0] * (1 - top - bottom)), round(size[1] * (1 - left - right))
  row = dict(
    source=name,
    clip=index,
    start=start,
    duration=settings.length,
    height=height,
    width=width,
    side=min(height, width),
    top=top,
    bottom=bottom,
    left=left,
    right=right,
    motion=mean("motion", moves),
    local_motion=mean("local_motion", moves),
    blur=mean("blur"),
    brightness=mean("brightness"),
    contrast=mean("contrast"),
    text=mean("text"),
    overlay=0.0,
    hashes=[inside[place].hash for place in (0, len(inside) // 2, -1)],
  )
  if row["motion"] > _MOVES:
    stay = np.bitwise_and.reduce([s.edges for s in inside])
    row["overlay"] = float(np.bitwise_count(stay).sum() / (8 * stay.size))
  return row


def bar_of(shares: Sequence[float]) -> float:
  """The bar of a clip at one side: where none of its samples shows anything."""
  known = [share for share in shares if np.isfinite(share)]
  return min(known) if known and min(known) >= _LEAST_BAR else 0.0
