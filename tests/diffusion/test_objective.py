import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffusion.objective import PREDICTIONS, Objective, convert
from diffusion.schedule import CosineSchedule, alpha_sigma


def process(seed=0):
  keys = jax.random.split(jax.random.key(seed), 3)
  x, eps = (jax.random.normal(key, (5, 4, 3)) for key in keys[:2])
  log_snr = jax.random.uniform(keys[2], (5,), minval=-4, maxval=4)
  alpha, sigma = (scale[:, None, None] for scale in alpha_sigma(log_snr))
  truth = {"eps": eps, "v": alpha * eps - sigma * x, "x0": x}
  return alpha * x + sigma * eps, log_snr, truth


@pytest.mark.parametrize("source", PREDICTIONS)
@pytest.mark.parametrize("target", PREDICTIONS)
def test_every_prediction_gives_every_other(source, target):
  z, log_snr, truth = process()
  converted = convert(truth[source], z, log_snr, source, target)
  np.testing.assert_allclose(converted, truth[target], atol=2e-5)


@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_the_loss_of_a_constant_error_is_its_square(prediction):
  x = jax.random.normal(jax.random.key(1), (6, 4, 4, 3))
  schedule = CosineSchedule(-6.0, 6.0)

  def denoiser(z, log_snr, conditioning):
    alpha, sigma = (scale[:, None, None, None] for scale in alpha_sigma(log_snr))
    eps = (z - alpha * conditioning) / sigma
    return {"eps": eps, "v": alpha * eps - sigma * conditioning, "x0": conditioning}[
      prediction
    ] + 0.5

  losses, log_snr = Objective(prediction).losses(denoiser, schedule, x, jax.random.key(2), x)
  np.testing.assert_allclose(losses, 0.25, rtol=1e-3)
  assert len(set(np.asarray(log_snr).tolist())) == 6


@pytest.mark.parametrize("prediction", PREDICTIONS)
@pytest.mark.parametrize("weighting", ["min_snr", "v"])
def test_a_weighting_weighs_the_same_x0_error_the_same_way(prediction, weighting):
  log_snr = jnp.array([-3.0, 0.0, 1.0, 4.0])
  snr = jnp.exp(log_snr)
  # The squared error in the predicted quantity that an x0 error of 1 causes.
  squared = {"eps": snr, "v": snr + 1, "x0": 1.0}[prediction]
  weight = Objective(prediction, weighting, min_snr_gamma=5.0, v_gamma=5.0).weight(log_snr)
  wanted = snr if weighting == "min_snr" else snr + 1
  np.testing.assert_allclose(weight * squared, jnp.minimum(wanted, 5.0), rtol=1e-6)


@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_a_power_lies_between_uniform_x0_and_eps(prediction):
  log_snr = jnp.array([-6.0, -1.0, 0.0, 2.0])
  for power, same in ((0.0, "x0"), (1.0, "eps")):
    weight = Objective(prediction, "power", snr_power=power).weight(log_snr)
    # What weighs uniform losses of the other prediction, once both are errors of x0.
    implied = {"eps": jnp.exp(log_snr), "v": jnp.exp(log_snr) + 1, "x0": jnp.ones(4)}
    np.testing.assert_allclose(weight * implied[prediction], implied[same], rtol=1e-6)
  half = Objective("x0", "power", snr_power=0.5).weight(log_snr)
  np.testing.assert_allclose(half, jnp.exp(log_snr / 2), rtol=1e-6)


def test_bad_settings_are_refused():
  with pytest.raises(ValueError, match="prediction='noise'"):
    Objective("noise")
  with pytest.raises(ValueError, match="weighting='p2'"):
    Objective(weighting="p2")
  with pytest.raises(ValueError, match="min_snr_gamma=0"):
    Objective(weighting="min_snr", min_snr_gamma=0.0)
  with pytest.raises(ValueError, match="v_gamma=-1"):
    Objective(weighting="v", v_gamma=-1.0)
  with pytest.raises(ValueError, match="snr_power=nan"):
    Objective(weighting="power", snr_power=float("nan"))
