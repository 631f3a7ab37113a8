"""What is known of a trained model wherever it lies: in the workdir of a run or in a release."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from flax import nnx

from lumiere import checksums, weights
from lumiere.experiment import Experiment


@dataclasses.dataclass(frozen=True)
class Record:
  """What a checkpoint says of itself, without its weights.

  Attributes:
    step: steps taken.
    experiment: how it was trained.
    provenance: what the run was made from, see `lumiere.training.provenance`; empty for imported weights.
    place: of the loader in the data; empty for releases.
    sums: part ("params", "frozen", ...) -> the sums of its leaves.
  """

  step: int
  experiment: Experiment
  provenance: Mapping[str, Any]
  place: Mapping[str, int]
  sums: Mapping[str, checksums.Sums]


@dataclasses.dataclass(frozen=True)
class Trained:
  """A trained model, as sampling needs it.

  Attributes:
    experiment: how it was trained.
    step: how long.
    rebuild: `(params, frozen) -> model`.
    params: averaged trainable weights.
    frozen: frozen weights.
    provenance: what it was made from.
    checksum: 16 hexadecimal digits that stand for `params` and `frozen`.
  """

  experiment: Experiment
  step: int
  rebuild: Callable[[weights.Weights, weights.Weights], nnx.Module]
  params: weights.Weights
  frozen: weights.Weights
  provenance: Mapping[str, Any]
  checksum: str
