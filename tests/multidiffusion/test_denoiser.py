"""Windows of a denoiser, reconciled: against a numerical least-squares solve, and what must not change."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffusion.guidance import classifier_free
from diffusion.samplers import make_sampler, sample
from diffusion.schedule import CosineSchedule
from multidiffusion.denoiser import windowed
from multidiffusion.reconcile import cut, reconcile
from multidiffusion.windows import WindowPlan, plan_windows

LOG_SNR = jnp.array([0.5, -1.0])
PLANS = [plan_windows(*case) for case in [(11, 4, 3), (12, 8, 6), (9, 4, 1), (3, 8, 6), (1, 2, 1)]]


def clip(num_frames, seed=0):
  return jnp.asarray(np.random.default_rng(seed).normal(size=(2, num_frames, 2, 2, 3)), jnp.float32)


def restless(z, log_snr, conditioning):
  """Depends on a frame's place in its window, on its neighbours, on the level and on what it is given."""
  place = jnp.sin(jnp.arange(z.shape[1]) * 1.7)[None, :, None, None, None]
  out = z * (1 + place) + 0.3 * jnp.cumsum(z, axis=1) + log_snr[:, None, None, None, None]
  if conditioning and "low_res" in conditioning:
    out = out + conditioning["low_res"]
  if conditioning and "prompt" in conditioning:
    out = out * conditioning["prompt"][:, None, None, None, None]
  return out


def predictions(z, plan):
  return jnp.stack([restless(window, LOG_SNR, None) for window in cut(z, plan)])


@pytest.mark.parametrize("weights", ["uniform", "tapered"])
@pytest.mark.parametrize("plan", PLANS, ids=str)
def test_it_is_the_least_squares_solution(plan, weights):
  z = clip(plan.num_frames)
  windows = predictions(z, plan)
  # One row for each frame of each window: sqrt(w) J[frame] = sqrt(w) y.
  rows = np.sqrt(plan.weights(weights).ravel())
  system = rows[:, None] * np.eye(plan.num_frames)[plan.indices().ravel()]
  wanted = np.moveaxis(np.asarray(windows, np.float64), 2, 1).reshape(len(rows), -1)
  solution = np.linalg.lstsq(system, rows[:, None] * wanted, rcond=None)[0]
  expected = np.moveaxis(solution.reshape(plan.num_frames, *z.shape[:1], *z.shape[2:]), 0, 1)
  np.testing.assert_allclose(reconcile(windows, plan, weights), expected, atol=1e-5)
  for group in (1, 2, 3, 100):
    joint = windowed(restless, plan, weights=weights, windows_per_batch=group)
    np.testing.assert_allclose(joint(z, LOG_SNR, None), expected, atol=1e-5)


def test_one_window_over_everything_is_the_plain_denoiser():
  z = clip(6)
  joint = windowed(restless, plan_windows(6, 8, 6))
  np.testing.assert_array_equal(joint(z, LOG_SNR, None), restless(z, LOG_SNR, None))


@pytest.mark.parametrize("weights", ["uniform", "tapered"])
def test_constant_predictions_stay_exact(weights):
  constant = lambda z, log_snr, conditioning: jnp.full_like(z, 0.1234567)
  joint = windowed(constant, plan_windows(20, 7, 3), weights=weights)
  np.testing.assert_allclose(joint(clip(20), LOG_SNR, None), np.float32(0.1234567), rtol=2e-7)


def test_the_order_of_windows_does_not_matter():
  z, plan = clip(15), plan_windows(15, 6, 3)
  shuffled = WindowPlan(15, 6, (9, 0, 6, 3))
  np.testing.assert_allclose(
    windowed(restless, shuffled)(z, LOG_SNR, None),
    windowed(restless, plan)(z, LOG_SNR, None),
    atol=1e-6,
  )


@pytest.mark.parametrize("weights", ["uniform", "tapered"])
def test_frames_covered_once_are_that_windows_bit_for_bit(weights):
  z, plan = clip(14), plan_windows(14, 8, 6)
  joint = windowed(restless, plan, weights=weights)(z, LOG_SNR, None)
  first = restless(z[:, :8], LOG_SNR, None)
  np.testing.assert_array_equal(joint[:, :6], first[:, :6])
  assert not np.array_equal(joint[:, 6:8], first[:, 6:8])


def test_each_window_gets_its_own_frames_and_its_own_prompt():
  plan = plan_windows(10, 4, 3)
  z, low_res = clip(10), clip(10, seed=1)
  prompts = jnp.array([[1.0, 2.0], [0.5, -1.0], [3.0, 0.0]])
  conditioning = {"low_res": low_res, "prompt": prompts}
  joint = windowed(
    restless, plan, windows_per_batch=2, per_frame=["low_res"], per_window=["prompt"]
  )(z, LOG_SNR, conditioning)
  windows = jnp.stack(
    [
      restless(z[:, s : s + 4], LOG_SNR, {"low_res": low_res[:, s : s + 4], "prompt": prompts[i]})
      for i, s in enumerate(plan.starts)
    ]
  )
  np.testing.assert_allclose(joint, reconcile(windows, plan), atol=1e-5)


def test_guidance_inside_the_windows_equals_guidance_around_them():
  z, plan = clip(9), plan_windows(9, 4, 2)
  conditioning = {"prompt": jnp.array([2.0, 3.0])}
  nothing = lambda given: {"prompt": jnp.ones_like(given["prompt"])}
  inside = windowed(classifier_free(restless, nothing, 3.0), plan)
  around = classifier_free(windowed(restless, plan), nothing, 3.0)
  np.testing.assert_allclose(
    inside(z, LOG_SNR, conditioning), around(z, LOG_SNR, conditioning), rtol=1e-4, atol=1e-4
  )


@pytest.mark.parametrize("name", ["ddpm", "ddim", "dpm++"])
def test_sampling_a_frame_wise_model_in_windows_changes_nothing(name):
  """Noise is drawn for the clip and thresholding follows reconciling, so windows leave no trace."""
  framewise = lambda z, log_snr, conditioning: jnp.tanh(2 * z + 0.3)
  noise = clip(11)
  options = dict(
    sampler=make_sampler(name), schedule=CosineSchedule(), prediction="x0", num_steps=5
  )
  key = jax.random.key(0)
  plain = sample(framewise, noise, None, key, **options)
  joint = sample(windowed(framewise, plan_windows(11, 4, 3)), noise, None, key, **options)
  np.testing.assert_allclose(joint, plain, atol=1e-5)


def test_peak_memory_beside_the_video_does_not_grow_with_its_length():
  def temporary(num_frames):
    wide = lambda z, log_snr, conditioning: jnp.repeat(z, 64, axis=-1).cumsum(-1)[..., :3]
    joint = windowed(wide, plan_windows(num_frames, 8, 6))
    video = jax.ShapeDtypeStruct((1, num_frames, 16, 16, 3), jnp.float32)
    level = jax.ShapeDtypeStruct((1,), jnp.float32)
    compiled = jax.jit(lambda z, s: joint(z, s, None)).lower(video, level).compile()
    return compiled.memory_analysis().temp_size_in_bytes, 4 * num_frames * 16 * 16 * 3

  (short, small), (long, large) = temporary(20), temporary(320)
  # The sum and a few copies of the video may grow; the windows, 64 times as wide, must not.
  assert long - short <= 4 * (large - small)
  assert short > 8 * 16 * 16 * 3 * 64


@pytest.mark.parametrize(
  "call,message",
  [
    (lambda plan: windowed(restless, plan, windows_per_batch=0), "windows_per_batch=0"),
    (lambda plan: windowed(restless, plan)(clip(9), LOG_SNR, None), "9 frames.*planned for 10"),
    (
      lambda plan: windowed(restless, plan, per_frame=["low_res"])(clip(10), LOG_SNR, {}),
      "'low_res'.*nothing",
    ),
    (
      lambda plan: windowed(restless, plan, per_window=["prompt"])(
        clip(10), LOG_SNR, {"prompt": jnp.ones((2, 2))}
      ),
      "holds 2 values, but there are 3 windows",
    ),
  ],
)
def test_misuse_is_explained(call, message):
  with pytest.raises(ValueError, match=message):
    call(plan_windows(10, 4, 3))
