"""Two sections of an experiment, kept apart from experiment.py: the optimizer, and what is evaluated while a base trains."""

import dataclasses

from lumiere.fields import at_least, between, one_of

EVALUATION_METRICS = ("fvd", "kvd")
# Entries of I3D's logits: a Fréchet distance needs more videos.
I3D_WIDTH = 400


@dataclasses.dataclass(frozen=True)
class OptimizerConfig:
  """Optax settings.

  Attributes:
    name: "adam", "adafactor", or "muon" for kernels and Adam for all other weights.
    learning_rate: peak learning rate.
    warmup_steps: steps of linear warm-up.
    decay: "constant", or "cosine" down to zero at the last step.
    clip_norm: gradients are scaled down to this global norm; 0 is no clipping.
    b1: Adam's decay rate of the first moment.
    b2: Adam's decay rate of the second moment.
    weight_decay: decoupled weight decay.
  """

  name: str = "adam"
  learning_rate: float = 1e-4
  warmup_steps: int = 10_000
  decay: str = "constant"
  clip_norm: float = 1.0
  b1: float = 0.9
  b2: float = 0.999
  weight_decay: float = 0.0

  def __post_init__(self):
    one_of("optimizer.name", self.name, ("adam", "adafactor", "muon"))
    one_of("optimizer.decay", self.decay, ("constant", "cosine"))
    for field in ("learning_rate", "warmup_steps", "clip_norm", "weight_decay"):
      at_least(f"optimizer.{field}", getattr(self, field), 0)
    for field in ("b1", "b2"):
      between(f"optimizer.{field}", getattr(self, field), 0, 1)


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
      raise ValueError(f"evaluation.metrics is empty: give {' or '.join(EVALUATION_METRICS)}")
    for metric in self.metrics:
      one_of("evaluation.metrics", metric, EVALUATION_METRICS)
    at_least(
      "evaluation.num_videos", self.num_videos, I3D_WIDTH + 1 if "fvd" in self.metrics else 2
    )
