import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffusion.schedule import (
  CosineSchedule,
  DiscreteSchedule,
  alpha_sigma,
  make_schedule,
  resolution_shift,
)

SCHEDULES = [CosineSchedule(), CosineSchedule(log_snr_shift=-2.0), DiscreteSchedule()]


def test_variance_is_preserved_and_the_ends_are_exact():
  alpha, sigma = alpha_sigma(jnp.array([-jnp.inf, -20.0, 0.0, 3.0, jnp.inf]))
  np.testing.assert_allclose(alpha**2 + sigma**2, 1, rtol=1e-6)
  np.testing.assert_array_equal(alpha[jnp.array([0, -1])], [0, 1])
  np.testing.assert_array_equal(sigma[jnp.array([0, -1])], [1, 0])
  np.testing.assert_allclose(2 * np.log(alpha[1:4] / sigma[1:4]), [-20, 0, 3], atol=1e-5)


@pytest.mark.parametrize("schedule", SCHEDULES, ids=repr)
def test_time_inverts_log_snr(schedule):
  time = np.linspace(0, 0.99, 34)
  log_snr = schedule.log_snr(time)
  assert (np.diff(log_snr) < 0).all()
  np.testing.assert_allclose(schedule.time(log_snr), time, atol=1e-9)
  inside_jit = jax.jit(schedule.timestep)(jnp.asarray(log_snr, jnp.float32))
  np.testing.assert_allclose(inside_jit, 1000 * time, atol=0.5)


def test_cosine_is_a_cosine():
  time = np.linspace(0.05, 0.95, 19)
  alpha, _ = alpha_sigma(jnp.asarray(CosineSchedule().log_snr(time)))
  # Its ends are cut where alpha is 0.9999997 and 0.00055, which moves the middle a little.
  np.testing.assert_allclose(alpha, np.cos(time * np.pi / 2), atol=2e-3)


def test_cosine_ends_at_its_bounds_plus_the_shift():
  schedule = CosineSchedule(-12.0, 9.0, log_snr_shift=1.5)
  np.testing.assert_allclose(schedule.log_snr(np.array([0.0, 1.0])), [10.5, -10.5], rtol=1e-9)


def test_resolution_shift_keeps_the_snr_of_averaged_pixels():
  # Averaging 4x4 pixels divides the noise variance by 16: 256 pixels with the shift are as noisy as 64 without.
  assert resolution_shift(256) + np.log(16) == pytest.approx(0)
  assert resolution_shift(64) == 0


@pytest.mark.parametrize("schedule", SCHEDULES, ids=repr)
@pytest.mark.parametrize("num_steps", [1, 2, 7, 50])
def test_sampling_goes_from_noise_to_clean_data(schedule, num_steps):
  levels = schedule.sampling_log_snrs(num_steps)
  assert len(levels) == num_steps + 1
  assert (np.diff(levels) > 0).all()
  assert levels[-1] == np.inf
  assert levels[0] == pytest.approx(schedule.log_snr(np.float64(1.0)))


def test_training_times_are_spread_evenly():
  times = CosineSchedule().sample_time(jax.random.key(0), 64)
  gaps = np.diff(np.sort(times))
  np.testing.assert_allclose(gaps, 1 / 64, atol=1e-5)
  assert (np.diff(times) < 0).any()  # in no particular order
  steps = 1000 * DiscreteSchedule().sample_time(jax.random.key(0), 20_000)
  np.testing.assert_allclose(steps, np.round(steps), atol=1e-3)
  assert abs(float(steps.mean()) - 499.5) < 10


@pytest.mark.parametrize(
  "make,message",
  [
    (lambda: make_schedule("sigmoid"), "sigmoid.*cosine, squaredcos_cap_v2"),
    (lambda: CosineSchedule(3.0, 2.0), "log_snr_min=3.0"),
    (lambda: CosineSchedule(num_timesteps=0), "num_timesteps=0"),
    (lambda: CosineSchedule(log_snr_shift=float("inf")), "log_snr_shift=inf"),
    (lambda: DiscreteSchedule(spacing="even"), "spacing='even'"),
    (lambda: CosineSchedule().sampling_log_snrs(0), "num_steps=0"),
    (lambda: DiscreteSchedule(num_timesteps=10).sampling_log_snrs(11), "num_steps=11"),
  ],
)
def test_bad_settings_are_refused(make, message):
  with pytest.raises(ValueError, match=message):
    make()


def test_the_schedule_of_latent_diffusion_has_betas_whose_roots_are_evenly_spaced():
  """Against the product of 1 - beta, step by step; the last level of Stable Diffusion is known: alpha^2 = 0.00466."""
  schedule = make_schedule("scaled_linear", beta_start=0.00085, beta_end=0.012)
  alpha_squared, found = 1.0, []
  for step in range(1000):
    root = 0.00085**0.5 + (0.012**0.5 - 0.00085**0.5) * step / 999
    alpha_squared *= 1 - root**2
    found.append(np.log(alpha_squared / (1 - alpha_squared)))
  np.testing.assert_allclose(schedule.log_snrs, found, rtol=1e-9, atol=1e-9)
  assert alpha_squared == pytest.approx(0.00466, abs=5e-6)
