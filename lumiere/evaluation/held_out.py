"""What a model trained on the endless world shows of captions that it has never been trained on.

"test" has other clips of the combinations that training saw, "unseen" has combinations of colour, shape and motion that it
never saw; both with one thing, or with two (`pairs`). The same captions are sampled with the same noise every time, so that
figures of one training's checkpoints are figures of a curve.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np
from jaxtyping import UInt8

from lumiere.data import frames, sources
from lumiere.evaluation.moving_shapes import judge, report
from lumiere.evaluation.two_things import judge_pairs, report_pairs
from lumiere.sampling.cascade import example_keys
from lumiere.sampling.generator import Generator
from lumiere.sections import DataConfig

SPLITS = ("test", "unseen")
# Fields that a picture shows.
OF_STILLS = ("background", "colour", "shape")


@dataclasses.dataclass(frozen=True)
class HeldOut:
  """Captions, and clips that show them.

  Attributes:
    captions: all of one thing, or all of two.
    videos: whole clips, at the resolution and frame rate of the data.
    pairs: whether there are two things.
    fps: frames per second.
  """

  captions: tuple[str, ...]
  videos: UInt8[np.ndarray, "n t h w 3"]
  pairs: bool
  fps: float

  @classmethod
  def load(cls, data: DataConfig, split: str, count: int, pairs: bool = False) -> "HeldOut":
    """The first `count` clips of a split.

    Raises:
      ValueError: if the data is of another world.
    """
    if data.dataset != "moving_shapes_endless":
      raise ValueError(
        f"data.dataset={data.dataset!r}: only 'moving_shapes_endless' has captions that no training sees"
      )
    world = dict(data.moving_shapes_endless) | dict(max_things=1 + pairs, share_of_two=1.0)
    length = world.get("num_frames", data.num_frames)
    data = dataclasses.replace(data, num_frames=length, buckets=(), moving_shapes_endless=world)
    source = sources.make_source(data, split)
    clips = [source[index] for index in range(count)]
    captions = tuple(clip["caption"].decode() for clip in clips)
    return cls(captions, np.stack([clip["video"] for clip in clips]), pairs, float(data.fps))

  def judge(self, videos: Sequence[UInt8[np.ndarray, "_t _h _w 3"]]) -> dict[str, float]:
    """Shares of videos, one a caption, that show what it asks for; see the two judges."""
    if self.pairs:
      return report_pairs(judge_pairs(videos, self.captions, self.fps))
    return report(judge(videos, self.captions, self.fps))


def judge_base(
  generator: Generator, count: int, *, pairs: bool = False, batch_size: int = 16, seed: int = 1
) -> dict[str, dict[str, float]]:
  """Judges what a base, or its image network, makes of `count` captions of each split; pictures as clips that rest."""
  results = {}
  for split in SPLITS:
    held_out = HeldOut.load(generator.experiment.data, split, count, pairs)
    shares = held_out.judge(list(sample(generator, held_out.captions, batch_size, seed)))
    if not generator.experiment.is_video:
      shares = {name: share for name, share in shares.items() if name in OF_STILLS}
    results[split] = shares
  return results


def sample(
  generator: Generator, captions: Sequence[str], batch_size: int = 16, seed: int = 1
) -> UInt8[np.ndarray, "n t h w 3"]:
  """A clip for each caption; of an image network, a picture that is shown twice."""
  data = generator.experiment.data
  shape = (*data.size, 3)
  if generator.experiment.is_video:
    shape = (data.num_frames, *shape)
  parts = []
  for first in range(0, len(captions), batch_size):
    some = captions[first : first + batch_size]
    keys = example_keys(seed, first, len(some))
    made = np.asarray(generator.sample(generator.encode(some), shape, keys))
    parts.append(frames.to_uint8(made))
  videos = np.concatenate(parts)
  return videos if generator.experiment.is_video else np.repeat(videos[:, None], 2, axis=1)
