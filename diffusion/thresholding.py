"""Keeps predictions of x0 in the range of the data, [-1, 1] (Imagen, section 2.3 and appendix A.2)."""

from collections.abc import Callable

import jax.numpy as jnp
from jaxtyping import Array, Float

from diffusion.schedule import expand_like

Threshold = Callable[[Array], Array]


def static(x0: Float[Array, "b ..."]) -> Float[Array, "b ..."]:
  """Clips to [-1, 1]."""
  return jnp.clip(x0, -1, 1)


def dynamic(
  x0: Float[Array, "b ..."], percentile: float = 0.995, maximum: float | None = None
) -> Float[Array, "b ..."]:
  """Clips each example to its own percentile of |x0|, at least 1 and at most `maximum`, and divides by it."""
  limit = jnp.quantile(jnp.abs(x0).reshape(len(x0), -1), percentile, axis=1)
  limit = expand_like(jnp.clip(limit, 1.0, maximum), x0)
  return jnp.clip(x0, -limit, limit) / limit


def make_threshold(name: str, **options) -> Threshold:
  """The threshold named "none", "static", or "dynamic" with `percentile` and `maximum`.

  Raises:
    ValueError: for another name or a value out of range.
    TypeError: for an option that does not exist.
  """
  if name == "dynamic":
    return _dynamic(**options)
  if name not in ("none", "static"):
    raise ValueError(f"threshold name={name!r} must be one of none, static, dynamic")
  if options:
    raise TypeError(f"threshold {name!r} takes no options; {', '.join(options)} was given")
  return static if name == "static" else lambda x0: x0


def _dynamic(percentile: float = 0.995, maximum: float | None = None) -> Threshold:
  if not 0 < percentile <= 1:
    raise ValueError(f"percentile={percentile} must be above 0 and at most 1")
  if maximum is not None and maximum < 1:
    raise ValueError(f"maximum={maximum} must be 1 or more, or None")
  return lambda x0: dynamic(x0, percentile, maximum)
