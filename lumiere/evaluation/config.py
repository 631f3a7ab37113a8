"""What training reports of its videos by the metrics of `lumiere.evaluate`."""

import dataclasses

from lumiere.fields import at_least, one_of

METRICS = ("fvd", "kvd")
# Entries of I3D's logits: a Fréchet distance needs more videos.
WIDTH = 400


@dataclasses.dataclass(frozen=True)
class EvaluationConfig:
  """FVD or KVD of what the averaged weights make of held-out captions, against the clips that have these captions.

  Attributes:
    every: steps between evaluations, which also follow the last step; 0 for none.
    metrics: "fvd", which needs more than 400 videos, or "kvd", which does with few.
    num_videos: how many are made, and taken from the held-out split.
    i3d: file of I3D's weights; empty for where `python -m lumiere.fetch --what=i3d` puts it.
  """

  every: int = 0
  metrics: tuple[str, ...] = ("kvd",)
  num_videos: int = 64
  i3d: str = ""

  def __post_init__(self):
    object.__setattr__(self, "metrics", tuple(self.metrics))
    at_least("evaluation.every", self.every, 0)
    if not self.metrics:
      raise ValueError(f"evaluation.metrics is empty: give {' or '.join(METRICS)}")
    for metric in self.metrics:
      one_of("evaluation.metrics", metric, METRICS)
    at_least("evaluation.num_videos", self.num_videos, WIDTH + 1 if "fvd" in self.metrics else 2)
