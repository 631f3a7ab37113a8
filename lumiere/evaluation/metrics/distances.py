"""Distances between two sets of feature vectors, in float64.

With mean m and covariance C of each set, the Fréchet distance is

    |m1 - m2|^2 + tr C1 + tr C2 - 2 tr (C1^1/2 C2 C1^1/2)^1/2                                                        (1)

(Heusel et al., 2017; Unterthiner et al., 2018). Roots are taken of symmetric matrices only, by their eigenvalues: those of a
product, as `scipy.linalg.sqrtm` takes them, are complex or wrong where covariances are near-singular. The kernel distance is the
unbiased estimate of the squared maximum mean discrepancy (Binkowski et al., 2018) for

    k(x, y) = (x . y / d + 1)^3.                                                                                    (2)

(1) falls with the number of vectors, and needs more of them than they have entries. (2) is right on average for any number.
"""

import dataclasses

import numpy as np
from jaxtyping import Float

DIVISORS = ("n-1", "n")


@dataclasses.dataclass(frozen=True)
class Moments:
  """What (1) needs of a set.

  Attributes:
    count: vectors in the set.
    mean: of them.
    covariance: of them, divided by what `divisor` said.
  """

  count: int
  mean: Float[np.ndarray, " d"]
  covariance: Float[np.ndarray, "d d"]

  @classmethod
  def of(cls, features: Float[np.ndarray, "n d"], divisor: str = "n-1") -> "Moments":
    """Those of a set, the covariance divided by one of `DIVISORS`.

    Raises:
      ValueError: if there are not more vectors than entries: their covariance has no full rank, and a distance would say
        more of the number of videos than of the videos.
    """
    n, width = features.shape
    if n <= width:
      raise ValueError(
        f"a Fréchet distance of features with {width} entries needs more than {width} videos, {n} are given: their covariance "
        "has no full rank; take more, or the kernel distance (kvd)"
      )
    features = np.asarray(features, np.float64)
    mean = features.mean(axis=0)
    centred = features - mean
    return cls(n, mean, centred.T @ centred / (n - (divisor == "n-1")))


def frechet(first: Moments, second: Moments) -> float:
  """The distance (1)."""
  root = _root(first.covariance)
  product = root @ second.covariance @ root
  cross = np.sqrt(np.maximum(np.linalg.eigvalsh((product + product.T) / 2), 0)).sum()
  spread = np.trace(first.covariance) + np.trace(second.covariance) - 2 * cross
  return float(np.sum(np.square(first.mean - second.mean)) + spread)


def _root(covariance: Float[np.ndarray, "d d"]) -> Float[np.ndarray, "d d"]:
  values, vectors = np.linalg.eigh(covariance)
  return (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T


def kernel_distance(first: Float[np.ndarray, "n d"], second: Float[np.ndarray, "m d"]) -> float:
  """The unbiased estimate for (2); below zero where the sets are alike.

  Raises:
    ValueError: if a set has less than two vectors.
  """
  if min(len(first), len(second)) < 2:
    raise ValueError(
      f"a kernel distance needs 2 videos or more in each set, {len(first)} and {len(second)} are given"
    )
  first, second = np.asarray(first, np.float64), np.asarray(second, np.float64)
  within = _mean_of_pairs(first) + _mean_of_pairs(second)
  return float(within - 2 * _kernel(first, second).mean())


def _kernel(x, y):
  return (x @ y.T / x.shape[1] + 1) ** 3


def _mean_of_pairs(x: Float[np.ndarray, "n d"]) -> float:
  """The mean kernel of two different vectors."""
  kernel = _kernel(x, x)
  return (kernel.sum() - np.trace(kernel)) / (len(x) * (len(x) - 1))
