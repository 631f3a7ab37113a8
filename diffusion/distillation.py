"""Distillation: a teacher's prediction takes the place of the data, so that a student needs fewer calls for the same.

    guidance    the student, told the weight w, learns the guided prediction of the teacher, which is two calls      (1)
    steps       one step of the student learns to do what two steps of the teacher do                                 (2)

(1) is the first stage of Meng et al. (2023), (2) is progressive distillation (Salimans and Ho, 2022). With x1 and x2 the clean
data that the teacher predicts at the levels t and m, DDIM goes from z_t over z_m to z_s. The student goes there in one step if it
predicts

    x = (z_s - r z_t) / (alpha_s - r alpha_t),   r = sigma_s / sigma_t                                                (3)

A teacher is a denoiser, and so is what the student learns from.
"""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float64

from diffusion.objective import Denoiser, convert
from diffusion.schedule import alpha_sigma, expand_like
from diffusion.thresholding import Threshold


def two_steps_in_one(
  teacher: Denoiser, log_snrs: Float64[np.ndarray, " n"], prediction: str, threshold: Threshold
) -> Denoiser:
  """Equation (3) as a denoiser, at the levels of `StartsOfSteps` only.

  Args:
    teacher: predicts `prediction`.
    log_snrs: as in `diffusion.levels.StartsOfSteps`.
    prediction: "eps", "v" or "x0".
    threshold: keeps the teacher's predictions of x0 in range, as its sampler does.

  Raises:
    ValueError: if the number of the teacher's steps is odd.
  """
  if len(log_snrs) % 2 == 0:
    raise ValueError(f"{len(log_snrs) - 1} steps of the teacher must be an even number")
  starts, middles, ends = (
    jnp.asarray(levels, jnp.float32) for levels in (log_snrs[:-1:2], log_snrs[1::2], log_snrs[2::2])
  )

  def denoise(z, log_snr, conditioning):
    index = jnp.argmin(jnp.abs(starts[None] - log_snr[:, None]), axis=1)
    middle, end = middles[index], ends[index]

    def step(z, now, then):
      x0 = threshold(convert(teacher(z, now, conditioning), z, now, prediction, "x0"))
      alpha, sigma = alpha_sigma(expand_like(now, z))
      alpha_then, sigma_then = alpha_sigma(expand_like(then, z))
      return alpha_then * x0 + sigma_then / sigma * (z - alpha * x0)

    arrived = step(step(z, log_snr, middle), middle, end)
    alpha, sigma = alpha_sigma(expand_like(log_snr, z))
    alpha_end, sigma_end = alpha_sigma(expand_like(end, z))
    ratio = sigma_end / sigma
    x0 = (arrived - ratio * z) / (alpha_end - ratio * alpha)
    return convert(x0, z, log_snr, "x0", prediction)

  return denoise
