"""A student that predicts what it is to learn goes where its teacher goes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffusion.distillation import two_steps_in_one
from diffusion.levels import StartsOfSteps
from diffusion.objective import PREDICTIONS, Objective, convert
from diffusion.samplers import DDIM, sample
from diffusion.schedule import CosineSchedule, alpha_sigma, expand_like
from diffusion.thresholding import make_threshold, static

SCHEDULE = CosineSchedule()
NO_THRESHOLD = make_threshold("none")


def teacher(prediction):
  """A denoiser that bends, so that steps of another length end elsewhere."""

  def denoise(z, log_snr, conditioning):
    alpha, sigma = alpha_sigma(expand_like(log_snr, z))
    x0 = jnp.tanh(2 * (alpha * z + 0.3 * conditioning[:, None])) + 0.2 * sigma * jnp.sin(5 * z)
    return convert(x0, z, log_snr, "x0", prediction)

  return denoise


@pytest.mark.parametrize("prediction", PREDICTIONS)
@pytest.mark.parametrize("threshold", [NO_THRESHOLD, static], ids=["free", "static"])
def test_half_of_the_steps_end_where_the_teacher_ends(prediction, threshold):
  """The student's own clean data may lie outside the range, as (3) asks for them: they are not kept in it."""
  z = jnp.asarray(np.random.default_rng(0).normal(size=(5, 3)), jnp.float32)
  condition, key = jnp.arange(5.0), jax.random.key(0)
  options = dict(sampler=DDIM(), schedule=SCHEDULE, prediction=prediction)
  expected = sample(
    teacher(prediction), z, condition, key, num_steps=8, threshold=threshold, **options
  )
  student = two_steps_in_one(
    teacher(prediction), SCHEDULE.sampling_log_snrs(8), prediction, threshold
  )
  found = sample(student, z, condition, key, num_steps=4, threshold=NO_THRESHOLD, **options)
  np.testing.assert_allclose(found, expected, rtol=2e-3, atol=2e-4)
  # Which is not where its own steps of that length end.
  alone = sample(
    teacher(prediction), z, condition, key, num_steps=4, threshold=threshold, **options
  )
  assert np.abs(alone - expected).max() > 0.02


def test_an_odd_number_of_steps_has_no_half():
  with pytest.raises(ValueError, match="7 steps of the teacher"):
    two_steps_in_one(teacher("v"), SCHEDULE.sampling_log_snrs(7), "v", static)


def test_levels_are_those_from_which_steps_start_each_as_often():
  passed = SCHEDULE.sampling_log_snrs(8)
  levels = StartsOfSteps(passed)
  times = SCHEDULE.sample_time(jax.random.key(1), 40)
  found, counts = np.unique(np.asarray(levels.log_snr(SCHEDULE, times)), return_counts=True)
  np.testing.assert_allclose(found, np.sort(passed[:-1:2]), rtol=1e-6)
  assert set(counts) == {10}
  ends = levels.log_snr(SCHEDULE, jnp.array([0.0, 1.0]))
  np.testing.assert_allclose(ends, passed[[0, 6]], rtol=1e-6)


@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_the_loss_is_zero_for_the_teacher_alone_and_teaches_nothing_to_it(prediction):
  objective, x = Objective(prediction), jnp.full((8, 3), 0.5)
  options = dict(schedule=SCHEDULE, x=x, key=jax.random.key(0), conditioning=jnp.arange(8.0))

  def mean_loss(scale, told):
    student = lambda *given: scale * teacher(prediction)(*given)
    teaching = lambda *given: told * teacher(prediction)(*given)
    return jnp.mean(objective.losses(student, teacher=teaching, **options)[0])

  loss, (to_student, to_teacher) = jax.value_and_grad(mean_loss, (0, 1))(1.5, 1.0)
  assert mean_loss(1.0, 1.0) == 0 < loss
  assert to_student > 0 == to_teacher
