"""Bilinear resizing in the four ways that metrics of videos use; they differ, and so do the figures.

tf1           source = target * scale, without half a pixel of shift: TensorFlow 1, in which FVD was defined
aligned       source = target * (before - 1) / (after - 1): corners stay corners, as in C3D's code
half_pixel    source = (target + 1/2) * scale - 1/2: TensorFlow 2, PyTorch
antialiased   as half_pixel, averaged over what a target pixel covers: PIL, torchvision for pictures
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

KINDS = ("tf1", "aligned", "half_pixel", "antialiased")


def resize(
  frames: Float[Array, "*b h w c"], height: int, width: int, kind: str
) -> Float[Array, "*b height width c"]:
  """Frames of another size.

  Args:
    frames: of any size.
    height: of the new frames.
    width: of the new frames.
    kind: one of `KINDS`, see the module docstring.
  """
  if frames.shape[-3:-1] == (height, width):
    return frames
  if kind in ("tf1", "aligned"):
    rows = jnp.asarray(_weights(frames.shape[-3], height, kind))
    columns = jnp.asarray(_weights(frames.shape[-2], width, kind))
    return jnp.einsum(
      "yh,...hwc,xw->...yxc", rows, frames, columns, precision=jax.lax.Precision.HIGHEST
    )
  shape = (*frames.shape[:-3], height, width, frames.shape[-1])
  return jax.image.resize(
    frames, shape, "linear", antialias=kind == "antialiased", precision=jax.lax.Precision.HIGHEST
  )


def _weights(before: int, after: int, kind: str) -> Float[np.ndarray, "after before"]:
  """Share of source pixel j in target pixel i."""
  scale = before / after if kind == "tf1" else (before - 1) / max(after - 1, 1)
  source = np.minimum(np.arange(after) * scale, before - 1)
  low = np.floor(source).astype(int)
  high = np.minimum(low + 1, before - 1)
  weights = np.zeros((after, before), np.float32)
  np.add.at(weights, (np.arange(after), low), 1 - (source - low))
  np.add.at(weights, (np.arange(after), high), source - low)
  return weights
