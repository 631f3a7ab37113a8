"""What is known stays known, and is noised as sampling goes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffusion.known import keep_known
from diffusion.objective import PREDICTIONS, convert
from diffusion.samplers import make_sampler, sample
from diffusion.schedule import CosineSchedule, alpha_sigma, expand_like

SHAPE = (2, 4, 3, 3, 3)


@pytest.fixture
def given():
  """(data, mask, noise): one example's first half is known, the other's last."""
  x, noise = (jax.random.uniform(jax.random.key(i), SHAPE, minval=-1) for i in range(2))
  mask = np.zeros((*SHAPE[:-1], 1), np.float32)
  mask[0, :2], mask[1, 2:] = 1, 1
  return x, jnp.asarray(mask), noise


@pytest.mark.parametrize("sampler", ("ddpm", "ddim", "dpm++"))
@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_sampling_ends_in_what_is_known(given, sampler, prediction):
  x, mask, noise = given
  zero = lambda z, log_snr, _: convert(jnp.zeros_like(z), z, log_snr, "x0", prediction)
  done = sample(
    keep_known(zero, prediction, x, mask, noise),
    noise,
    None,
    jax.random.key(3),
    sampler=make_sampler(sampler),
    schedule=CosineSchedule(),
    prediction=prediction,
    num_steps=5,
  )
  np.testing.assert_allclose(done, mask * x, atol=2e-3)


def test_the_network_sees_known_data_at_the_noise_level_of_the_rest(given):
  x, mask, noise = given
  seen = []

  def denoiser(z, log_snr, conditioning):
    seen.append((z, log_snr))
    return z

  z, log_snr = jnp.full(SHAPE, 7.0), jnp.array([-1.0, 2.0])
  keep_known(denoiser, "x0", x, mask, noise)(z, log_snr, None)
  alpha, sigma = alpha_sigma(expand_like(log_snr, z))
  np.testing.assert_allclose(
    seen[0][0], np.where(mask == 1, alpha * x + sigma * noise, 7.0), rtol=1e-6
  )


def test_what_is_known_in_part_is_mixed(given):
  x, _, noise = given
  half = jnp.full((*SHAPE[:-1], 1), 0.25)
  z, log_snr = noise, jnp.zeros(2)
  made = keep_known(lambda z, *_: jnp.ones_like(z), "x0", x, half, noise)(z, log_snr, None)
  np.testing.assert_allclose(made, 0.25 * x + 0.75, rtol=1e-6)


def test_where_nothing_is_known_nothing_changes(given):
  x, mask, noise = given
  denoiser = lambda z, log_snr, _: jnp.sin(z)
  plain = denoiser(noise, None, None)
  kept = keep_known(denoiser, "v", x, jnp.zeros_like(mask), noise)(noise, jnp.zeros(2), None)
  np.testing.assert_allclose(kept, plain, atol=1e-6)
