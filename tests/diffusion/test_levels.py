"""Levels of training and sampling: their distribution in closed form, and that nothing changes unless asked for."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffusion.levels import Levels
from diffusion.objective import PREDICTIONS, Objective
from diffusion.schedule import CosineSchedule, DiscreteSchedule, alpha_sigma

WIDE = CosineSchedule(-30.0, 30.0)  # as good as without ends


@pytest.mark.parametrize("schedule", (CosineSchedule(), DiscreteSchedule()), ids=repr)
def test_as_they_are_levels_are_the_schedules_bit_for_bit(schedule):
  time = schedule.sample_time(jax.random.key(0), 64)
  drawn, own = Levels().log_snr(schedule, time), schedule.log_snr(time)
  np.testing.assert_array_equal(drawn, own)
  np.testing.assert_array_equal(Levels().visited(schedule, 16), schedule.sampling_log_snrs(16))


def test_drawn_levels_have_the_moved_distribution():
  # P(log_snr > x) = 2/pi arctan(exp(-x / 2)) for the cosine schedule; moved, of (x - shift) / spread.
  log_snr = np.asarray(Levels(-2.0, 1.5).log_snr(WIDE, (jnp.arange(4096) + 0.5) / 4096))
  for x in (-6.0, -2.0, 0.0, 3.0):
    expected = 2 / np.pi * np.arctan(np.exp(-(x + 2) / 1.5 / 2))
    assert np.mean(log_snr > x) == pytest.approx(expected, abs=1e-3)


def test_levels_stay_between_the_ends():
  schedule = CosineSchedule(-10.0, 8.0)
  log_snr = Levels(-4.0, 2.0).log_snr(schedule, jnp.linspace(0, 1, 101))
  assert float(log_snr.min()) == pytest.approx(-10, abs=1e-4)
  assert float(log_snr.max()) == pytest.approx(8, abs=1e-4)


def test_the_slope_is_one_over_the_density():
  time = jnp.linspace(0.05, 0.95, 19)
  # The cosine schedule's density of levels is sech(log_snr / 2) / (2 pi).
  expected = 2 * np.pi * np.cosh(np.asarray(WIDE.log_snr(time)) / 2)
  np.testing.assert_allclose(Levels(-3.0).slope(WIDE, time), expected, rtol=1e-4)
  np.testing.assert_allclose(Levels(0.0, 1.5).slope(WIDE, time), 1.5 * expected, rtol=1e-4)


def test_sampling_begins_and_ends_as_the_schedule_does():
  schedule = CosineSchedule()
  own, moved = schedule.sampling_log_snrs(16), Levels(-1.4).visited(schedule, 16)
  np.testing.assert_array_equal(moved[[0, -1]], own[[0, -1]])
  np.testing.assert_allclose(moved[1:-1], own[1:-1] - 1.4)
  with pytest.raises(ValueError, match="log_snr_shift=-20.0 leaves no room for num_steps=16"):
    Levels(-20.0).visited(schedule, 16)


def constant_error(kind: str, error):
  """A denoiser whose x0 is wrong by `error` everywhere; the conditioning is the truth."""

  def denoiser(z, log_snr, x):
    alpha, sigma = (scale[:, None, None] for scale in alpha_sigma(log_snr))
    eps = (z - alpha * (x + error)) / sigma
    return {"eps": eps, "v": alpha * eps - sigma * (x + error), "x0": x + error}[kind]

  return denoiser


@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_the_sigmoid_loss_is_the_same_integral_whatever_is_predicted_and_drawn(prediction):
  x, bias = jnp.zeros((8192, 1, 1)), -1.0
  objective = Objective(prediction, "sigmoid", sigmoid_bias=bias)
  schedule = CosineSchedule(-12.0, 8.0)
  # An error of x0 that counts where the weight is neither flat nor small.
  for levels in (Levels(), Levels(-1.0, 1.3)):
    losses, log_snr = objective.losses(
      constant_error(prediction, 1.0), schedule, x, jax.random.key(0), x, levels
    )
    within = jnp.abs(log_snr + 2) < 4
    total = float(jnp.mean(jnp.where(within, losses, 0)))
    # integral over [-6, 2] of exp(bias) sigmoid(l - bias)
    antiderivative = lambda x: np.exp(bias) * np.log1p(np.exp(x - bias))
    assert total == pytest.approx(antiderivative(2.0) - antiderivative(-6.0), rel=1e-2)


@pytest.mark.parametrize(
  ("settings", "message"),
  (
    (dict(shift=float("nan")), "log_snr_shift=nan must be a finite number"),
    (dict(spread=0.0), "log_snr_spread=0.0 must be above 0"),
  ),
)
def test_levels_that_cannot_be_are_refused(settings, message):
  with pytest.raises(ValueError, match=message):
    Levels(**settings)
