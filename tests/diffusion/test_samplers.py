"""Samplers against Gaussian data, where the exact denoiser is known, and against diffusers step by step."""

import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffusion.objective import PREDICTIONS, convert
from diffusion.samplers import DDIM, DDPM, DPMSolverPlusPlus2M, denoise_step, make_sampler, sample
from diffusion.schedule import CosineSchedule, DiscreteSchedule, alpha_sigma
from diffusion.thresholding import make_threshold

GOLDEN = np.load(pathlib.Path(__file__).parent / "golden" / "schedulers.npz")
NO_THRESHOLD = make_threshold("none")

MEAN = jnp.array([0.5, -1.0, 0.2])
FACTOR = jnp.array([[0.6, 0.0, 0.0], [0.3, 0.2, 0.0], [-0.2, 0.4, 0.5]])
COVARIANCE = FACTOR @ FACTOR.T


def exact_denoiser(prediction):
  """E[x | z] for x ~ N(MEAN, COVARIANCE): MEAN + alpha C (alpha^2 C + sigma^2 I)^-1 (z - alpha MEAN)."""

  def denoise(z, log_snr, conditioning):
    alpha, sigma = alpha_sigma(log_snr)

    def one(z, alpha, sigma):
      marginal = alpha**2 * COVARIANCE + sigma**2 * jnp.eye(3)
      return MEAN + alpha * COVARIANCE @ jnp.linalg.solve(marginal, z - alpha * MEAN)

    return convert(jax.vmap(one)(z, alpha, sigma), z, log_snr, "x0", prediction)

  return denoise


@pytest.mark.parametrize(
  "sampler,num_steps",
  [
    (DDPM(), 128),
    (DDPM(gamma=0.5), 128),
    (DDIM(), 96),
    (DDIM(eta=0.7), 96),
    (DPMSolverPlusPlus2M(), 24),
  ],
  ids=repr,
)
@pytest.mark.parametrize(
  "schedule", [CosineSchedule(), DiscreteSchedule()], ids=["cosine", "steps"]
)
def test_gaussian_data_come_out_with_their_mean_and_covariance(sampler, num_steps, schedule):
  count = 20_000
  options = dict(sampler=sampler, schedule=schedule, num_steps=num_steps, threshold=NO_THRESHOLD)
  run = jax.jit(
    lambda key, noise: sample(exact_denoiser("v"), noise, None, key, prediction="v", **options)
  )
  noise = np.random.default_rng(1).normal(size=(count, 3)).astype(np.float32)
  noise = (noise - noise.mean(0)) / noise.std(0)
  x = np.asarray(run(jax.random.key(0), jnp.asarray(noise)), np.float64)
  np.testing.assert_allclose(x.mean(0), MEAN, atol=0.02)
  np.testing.assert_allclose(np.cov(x.T), COVARIANCE, atol=0.025)


def test_the_second_order_sampler_converges_faster_than_the_first_order_one():
  noise = jax.random.normal(jax.random.key(1), (512, 3))

  def result(sampler, num_steps):
    options = dict(schedule=CosineSchedule(), prediction="x0", threshold=NO_THRESHOLD)
    run = lambda noise: sample(
      exact_denoiser("x0"),
      noise,
      None,
      jax.random.key(0),
      sampler=sampler,
      num_steps=num_steps,
      **options,
    )
    return jax.jit(run)(noise)

  exact = result(DPMSolverPlusPlus2M(), 512)
  error = lambda sampler, steps: float(jnp.sqrt(jnp.mean((result(sampler, steps) - exact) ** 2)))
  assert error(DPMSolverPlusPlus2M(), 16) < 0.5 * error(DDIM(), 16)
  # Doubling the steps: a quarter of the error for the second order, half for the first.
  assert error(DPMSolverPlusPlus2M(), 32) < 0.4 * error(DPMSolverPlusPlus2M(), 16)
  assert 0.4 < error(DDIM(), 32) / error(DDIM(), 16) < 0.6


@pytest.mark.parametrize("name", ["ddpm", "ddim", "dpm++"])
def test_the_prediction_type_changes_nothing(name):
  noise = jax.random.normal(jax.random.key(1), (16, 3))
  results = [
    sample(
      exact_denoiser(prediction),
      noise,
      None,
      jax.random.key(0),
      sampler=make_sampler(name),
      schedule=CosineSchedule(-8.0, 8.0),
      prediction=prediction,
      num_steps=8,
      threshold=NO_THRESHOLD,
    )
    for prediction in PREDICTIONS
  ]
  np.testing.assert_allclose(results[0], results[2], atol=2e-3)
  np.testing.assert_allclose(results[1], results[2], atol=2e-3)


def test_an_examples_noise_does_not_depend_on_its_batch():
  keys = jax.vmap(jax.random.fold_in, (None, 0))(jax.random.key(3), jnp.arange(4))
  noise = jax.random.normal(jax.random.key(1), (4, 3))
  options = dict(
    sampler=DDPM(), schedule=CosineSchedule(), prediction="x0", num_steps=5, threshold=NO_THRESHOLD
  )
  run = lambda noise, keys: sample(exact_denoiser("x0"), noise, None, keys, **options)
  np.testing.assert_allclose(run(noise, keys)[2:], run(noise[2:], keys[2:]), atol=1e-5)


SAMPLERS = {
  "ddpm_small": DDPM(),
  "ddpm_large": DDPM(gamma=1.0),
  "ddim": DDIM(),
  "ddim_eta": DDIM(eta=0.7),
  "dpm": DPMSolverPlusPlus2M(),
}


@pytest.mark.parametrize("schedule", ["squaredcos_cap_v2", "linear"])
def test_discrete_levels_are_those_of_diffusers(schedule):
  cumulative = GOLDEN[f"{schedule}/alphas_cumprod"].astype(np.float64)
  alpha_squared = 1 / (1 + np.exp(-DiscreteSchedule(schedule).log_snrs))
  np.testing.assert_allclose(alpha_squared, cumulative, rtol=2e-4)


@pytest.mark.parametrize("schedule", ["squaredcos_cap_v2", "linear"])
@pytest.mark.parametrize("prediction", PREDICTIONS)
@pytest.mark.parametrize("name", SAMPLERS)
def test_every_step_is_that_of_diffusers(name, schedule, prediction, monkeypatch):
  key = f"{schedule}/{prediction}/{name}"
  states, predictions, noise = (
    GOLDEN[f"{key}/{part}"] for part in ("states", "predictions", "noise")
  )
  # Only the samplers that diffusers clips clip here.
  threshold = make_threshold("none" if name == "dpm" else "static")
  sampler, process = SAMPLERS[name], DiscreteSchedule(schedule)
  log_snrs = process.sampling_log_snrs(len(predictions))
  timesteps = np.round(process.timestep(log_snrs[:-1]))
  np.testing.assert_array_equal(timesteps, GOLDEN[f"{key}/timesteps"])
  table = sampler.table(log_snrs)
  state = sampler.initialize(jnp.asarray(states[0]))
  # After its last step diffusers adds the larger variance's noise to the sample; clean data have none.
  compared = len(predictions) - (name == "ddpm_large")
  for index, predicted in enumerate(predictions[:compared]):
    row = {column: values[index] for column, values in table.items()}
    drawn = jnp.asarray(noise[index])
    monkeypatch.setattr("diffusion.samplers.draw_noise", lambda *_, drawn=drawn: drawn)
    state = denoise_step(
      lambda *_, predicted=predicted: jnp.asarray(predicted),
      state,
      row,
      None,
      jax.random.key(0),
      sampler=sampler,
      prediction=prediction,
      threshold=threshold,
    )
    scale = np.abs(states[index + 1]).max()
    np.testing.assert_allclose(state.z / scale, states[index + 1] / scale, atol=2e-4)


def test_the_last_step_gives_the_prediction_itself():
  for sampler in SAMPLERS.values():
    table = sampler.table(np.array([-5.0, 0.0, np.inf]))
    row = {name: column[-1] for name, column in table.items()}
    np.testing.assert_allclose(
      [row["x0"], row["x0_previous"], row["z"], row["noise"]], [1, 0, 0, 0], atol=1e-7
    )


@pytest.mark.parametrize(
  "make,message",
  [
    (lambda: make_sampler("euler"), "euler.*ddpm, ddim, dpm"),
    (lambda: make_sampler("ddim", eta=-0.1), "eta=-0.1"),
    (lambda: make_sampler("ddpm", gamma=2.0), "gamma=2.0"),
  ],
)
def test_bad_samplers_are_refused(make, message):
  with pytest.raises(ValueError, match=message):
    make()
