"""Closed forms of the distances."""

import numpy as np
import pytest

from lumiere.evaluation.metrics.distances import Moments, frechet, kernel_distance


def gaussian(mean, covariance) -> Moments:
  return Moments(1000, np.array(mean, float), np.array(covariance, float))


def test_frechet_of_gaussians_with_covariances_that_commute():
  """tr (C1 C2)^1/2 is then the sum of the products of the standard deviations."""
  rotation = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]
  first = gaussian([1, 2, 3], rotation @ np.diag([4, 9, 1]) @ rotation.T)
  second = gaussian([1, 0, 3], rotation @ np.diag([1, 4, 0]) @ rotation.T)
  assert frechet(first, second) == pytest.approx(4 + (2 - 1) ** 2 + (3 - 2) ** 2 + 1)


def test_frechet_where_they_do_not_commute():
  """For 2x2 matrices tr sqrt(M) = sqrt(tr M + 2 sqrt(det M))."""
  a, b = np.array([[2.0, 1.0], [1.0, 3.0]]), np.array([[4.0, -1.0], [-1.0, 1.0]])
  product = a @ b
  cross = np.sqrt(np.trace(product) + 2 * np.sqrt(np.linalg.det(product)))
  expected = np.trace(a) + np.trace(b) - 2 * cross
  assert frechet(gaussian([0, 0], a), gaussian([0, 0], b)) == pytest.approx(expected)
  assert frechet(gaussian([0, 0], b), gaussian([0, 0], a)) == pytest.approx(expected)


def test_a_set_has_no_distance_from_itself_even_if_its_covariance_is_singular():
  features = np.random.default_rng(1).normal(size=(50, 8))
  features[:, 3] = features[:, 2]
  assert abs(frechet(Moments.of(features), Moments.of(features[::-1]))) < 1e-9


def test_divisors_are_those_of_the_two_estimates():
  features = np.random.default_rng(2).normal(size=(10, 3))
  np.testing.assert_allclose(Moments.of(features).covariance, np.cov(features.T))
  np.testing.assert_allclose(Moments.of(features, "n").covariance, np.cov(features.T, ddof=0))


def test_too_few_vectors_are_refused_with_the_reason():
  with pytest.raises(ValueError, match="8 entries needs more than 8 videos, 8 are given.*kvd"):
    Moments.of(np.zeros((8, 8)))
  with pytest.raises(ValueError, match="2 videos or more in each set, 1 and 5"):
    kernel_distance(np.zeros((1, 4)), np.zeros((5, 4)))


def test_the_kernel_distance_is_the_mean_over_all_pairs_of_different_videos():
  rng = np.random.default_rng(3)
  x, y = rng.normal(size=(4, 5)), rng.normal(size=(3, 5))
  kernel = lambda a, b: (a @ b / 5 + 1) ** 3
  within = lambda z: np.mean(
    [kernel(a, b) for i, a in enumerate(z) for j, b in enumerate(z) if i != j]
  )
  expected = within(x) + within(y) - 2 * np.mean([kernel(a, b) for a in x for b in y])
  assert kernel_distance(x, y) == pytest.approx(expected)


def test_the_kernel_distance_of_one_distribution_is_zero_on_average():
  """The biased estimate would be above zero by 0.35 here."""
  rng = np.random.default_rng(4)
  draws = [kernel_distance(*rng.normal(size=(2, 20, 4))) for _ in range(300)]
  assert abs(np.mean(draws)) < 4 * np.std(draws) / np.sqrt(len(draws))
