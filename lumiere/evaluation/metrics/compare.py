"""FVD and KVD of two sets of videos, given their features; and the moments of a set as a file to share."""

import dataclasses
import json
from collections.abc import Mapping

import numpy as np
from etils import epath
from jaxtyping import Float

from lumiere.evaluation.metrics import distances
from lumiere.evaluation.metrics.distances import Moments
from lumiere.evaluation.metrics.protocol import Protocol


@dataclasses.dataclass(frozen=True)
class Figure:
  """A metric's value, never without how it was made.

  Attributes:
    metric: its name.
    value: mean over the repeats.
    spread: standard deviation over the repeats; None for one.
    protocol: see `Protocol.text`.
  """

  metric: str
  value: float
  spread: float | None
  protocol: str

  def __str__(self):
    spread = "" if self.spread is None else f" +- {self.spread:.3f}"
    return f"{self.metric} {self.value:.3f}{spread}   [{self.protocol}]"


def compare(
  metric: str,
  first: Float[np.ndarray, "n d"],
  second: Float[np.ndarray, "m d"] | Moments,
  protocol: Protocol,
  backbone: str,
) -> Figure:
  """Computes FVD or KVD.

  Args:
    metric: "fvd" or "kvd".
    first: features of the videos in question.
    second: features of the reference; for "fvd" its moments will do.
    protocol: how many are drawn, how often.
    backbone: its title.

  Raises:
    ValueError: if there are too few videos, or only moments where features are needed.
  """
  shared = isinstance(second, Moments)
  if shared and metric != "fvd":
    raise ValueError(
      f"{metric} needs the reference's videos: a file of moments is enough for fvd only"
    )
  rng, values = np.random.default_rng(protocol.seed), []
  for _ in range(protocol.repeats):
    drawn = _drawn(rng, first, protocol.num_videos)
    other = second if shared else _drawn(rng, second, protocol.num_videos)
    if metric == "fvd":
      moments = other if shared else Moments.of(other, protocol.divisor)
      values.append(distances.frechet(Moments.of(drawn, protocol.divisor), moments))
    else:
      values.append(distances.kernel_distance(drawn, other))
  spread = float(np.std(values, ddof=1)) if len(values) > 1 else None
  counts = (len(first), second.count if shared else len(second))
  return Figure(metric, float(np.mean(values)), spread, protocol.text(metric, backbone, counts))


def _drawn(rng: np.random.Generator, features: Float[np.ndarray, "n d"], count: int):
  if count > len(features):
    raise ValueError(f"num_videos={count}, but a set has {len(features)} videos that can be used")
  return features[rng.permutation(len(features))[:count]] if count else features


def save_moments(path: epath.PathLike, moments: Moments, made: Mapping):
  """Writes a set's moments; `made` is what they depend on, see `made_from`."""
  with epath.Path(path).open("wb") as file:
    np.savez(
      file,
      count=moments.count,
      mean=moments.mean,
      covariance=moments.covariance,
      made=json.dumps(made, sort_keys=True),
    )


def load_moments(path: epath.PathLike, made: Mapping) -> Moments:
  """Reads moments.

  Raises:
    ValueError: if the file is none of `save_moments`, or was made in another way; says what differs.
  """
  try:
    with epath.Path(path).open("rb") as file, np.load(file, allow_pickle=False) as stored:
      theirs = json.loads(str(stored["made"]))
      moments = Moments(int(stored["count"]), stored["mean"], stored["covariance"])
  except (OSError, ValueError, KeyError) as error:
    raise ValueError(f"{path} cannot be read as the moments of a set: {error}") from error
  for name in sorted({*theirs, *made}):
    if theirs.get(name) != made.get(name):
      raise ValueError(
        f"{path} was made with {name}={theirs.get(name)!r}, asked for is {made.get(name)!r}: figures would not compare"
      )
  return moments


def made_from(backbone, protocol: Protocol) -> dict:
  """What a set's moments depend on beside its videos."""
  kept = dataclasses.asdict(protocol.of_features) | {"divisor": protocol.divisor}
  for name in ("num_videos", "repeats", "seed"):
    del kept[name]
  return kept | {"backbone": backbone.title}
