"""Classifier-free guidance (Ho & Salimans, 2021): turns a denoiser into a guided one.

    guided   = unconditional + w (conditional - unconditional)                                                      (1)
    rescaled = guided std(conditional) / std(guided)                                                                (2)

w = 1 is no guidance (Imagen's w). Guidance increases the standard deviation of predictions. (2), from Lin et al. (2023),
restores it; `rescale` interpolates between (1) and (2).
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from diffusion.objective import Denoiser
from diffusion.schedule import expand_like


def classifier_free(
  denoiser: Denoiser,
  unconditional: Callable[[Any], Any],
  guidance_scale: float | Float[Array, " b"],
  rescale: float = 0.0,
) -> Denoiser:
  """Guides a denoiser. It is called once, on both halves, so a step costs one call with twice the batch.

  Args:
    denoiser: predicts eps, v or x0; they are linear in each other, so (1) is the same for all. Further channels, a
      predicted variance, are those of the conditional prediction.
    unconditional: removes the condition from a conditioning and keeps its structure.
    guidance_scale: w >= 0, or an array with a w for each example. The number 1 calls the denoiser only with the condition, 0 only
      without it.
    rescale: weight of (2), in [0, 1].

  Raises:
    ValueError: for a value out of range.
  """
  if not 0 <= rescale <= 1:
    raise ValueError(f"rescale={rescale} must be between 0 and 1")
  if isinstance(guidance_scale, (int, float)):
    if guidance_scale < 0:
      raise ValueError(f"guidance_scale={guidance_scale} must be 0 or more; 1 is no guidance")
    if guidance_scale == 1:
      return denoiser
    if guidance_scale == 0:
      return lambda z, log_snr, conditioning: denoiser(z, log_snr, unconditional(conditioning))

  def guided(z, log_snr, conditioning):
    pairs = (z, log_snr, conditioning), (z, log_snr, unconditional(conditioning))
    both = jax.tree.map(lambda *halves: jnp.concatenate(halves), *pairs)
    with_condition, without = jnp.split(denoiser(*both), 2)
    channels = z.shape[-1]
    variance = with_condition[..., channels:]
    with_condition, without = with_condition[..., :channels], without[..., :channels]
    weight = guidance_scale if jnp.ndim(guidance_scale) == 0 else expand_like(guidance_scale, z)
    out = without + weight * (with_condition - without)
    if rescale:
      ratio = expand_like(_spread(with_condition) / _spread(out), out)
      out = out * (1 + rescale * (ratio - 1))
    return jnp.concatenate([out, variance], axis=-1)

  return guided


def _spread(x):
  return jnp.std(x.astype(jnp.float32).reshape(len(x), -1), axis=1)
