"""The best denoiser of benchmarks/ideal_passes.py, against its definition."""

import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks import ideal_passes
from benchmarks.ideal_passes import TOLERANCE, Clips

RATES = np.array([0, 0, 1, 1, 2])


@pytest.fixture
def world():
  rng = np.random.default_rng(0)
  return Clips(rng.uniform(size=(5, 3, 4, 4)).astype(np.float32), RATES)


def conditioning(known=None, allowed=(True, True, True)) -> dict[str, np.ndarray]:
  return {
    "colour": np.array([[0.9, -0.5, 0.1]], np.float32),
    "background": np.array([[-0.8, -0.8, 0.0]], np.float32),
    "allowed": np.array([allowed]),
    "known": np.zeros((1, 3, 4, 4, 4), np.float32) if known is None else known,
  }


def pictures(world, given):
  way = given["colour"] - given["background"]
  return given["background"][0] + world.coverage[..., None] * way[0]


@pytest.mark.parametrize("log_snr", [-6.0, -4.0, -3.0])
@pytest.mark.parametrize("allowed", [(True, True, True), (False, True, True)])
def test_it_is_the_mean_of_what_the_caption_allows(world, log_snr, allowed):
  given = conditioning(allowed=allowed)
  clips = pictures(world, given)
  alpha, sigma = (1 / np.sqrt(1 + np.exp(sign * log_snr)) for sign in (-1, 1))
  z = alpha * clips[2] + sigma * np.random.default_rng(1).normal(size=clips[2].shape)
  logs = -np.square(z - alpha * clips).sum(axis=(1, 2, 3, 4)) / (2 * sigma**2)
  weights = np.exp(logs - logs.max()) * np.array(allowed)[RATES]
  expected = np.einsum("n,nthwc->thwc", weights / weights.sum(), clips)
  denoise = ideal_passes.best_denoiser(world)
  found = denoise(jnp.asarray(z[None], jnp.float32), jnp.full(1, log_snr), given)[0]
  np.testing.assert_allclose(found, expected, atol=1e-4)


def test_known_frames_count_as_what_they_are(world):
  given = conditioning()
  clips = pictures(world, given)
  given["known"][0, 1] = np.concatenate([clips[3, 1], np.ones((4, 4, 1))], axis=-1)
  z = np.random.default_rng(2).normal(size=(1, *clips[0].shape)).astype(np.float32)
  logs = -np.square(clips[3, 1] - clips[:, 1]).sum(axis=(1, 2, 3)) / (2 * TOLERANCE**2)
  weights = np.exp(logs)  # at log-SNR -30 the other frames say nothing
  expected = np.einsum("n,nthwc->thwc", weights / weights.sum(), clips)
  found = ideal_passes.best_denoiser(world)(jnp.asarray(z), jnp.full(1, -30.0), given)[0]
  np.testing.assert_allclose(found, expected, atol=1e-3)
