"""The low-resolution condition of a super-resolution network: degradation, upsampling and noise augmentation.

In training the condition is the high-resolution target, degraded: averaged down, then blurred by a random amount, because
the output of a base network is softer than real video. It is upsampled to the target's size (bilinear), and noise is added,

    c = alpha(a) * up(low) + sigma(a) * eps,                                                                     (1)

at a noise level `a` that the network is conditioned on: noise conditioning augmentation (Ho et al., 2022; Imagen section
2.5). Training draws the level at random; sampling fixes it (`augmentation_level`, best between 0.1 and 0.3 in Imagen). The
noise of a clip is drawn once, before windows are cut, so that overlapping windows see the same condition.

All functions take images [b h w c] and videos [b t h w c].
"""

import einops
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from diffusion.schedule import alpha_sigma, expand_like


def downsample(x: Float[Array, "*b h w c"], factor: int) -> Float[Array, "*b h2 w2 c"]:
  """Averages non-overlapping `factor` x `factor` squares."""
  return einops.reduce(x, "... (h y) (w x) c -> ... h w c", "mean", y=factor, x=factor)


def upsample(
  x: Float[Array, "*b h w c"], factor: int, aligned: bool = False
) -> Float[Array, "*b h2 w2 c"]:
  """Bilinear interpolation to `factor` times the size.

  Args:
    x: images or videos.
    factor: of height and width.
    aligned: whether the centres of the corner pixels coincide (DeepFloyd IF), not the corners of the images.
  """
  *batch, height, width, channels = x.shape
  shape = (*batch, height * factor, width * factor, channels)
  if not aligned:
    return jax.image.resize(x, shape, "bilinear")
  sizes = jnp.array([height, width], jnp.float32)
  scale = (sizes * factor - 1) / jnp.maximum(sizes - 1, 1)
  axes = (x.ndim - 3, x.ndim - 2)
  return jax.image.scale_and_translate(
    x, shape, axes, scale, 0.5 - 0.5 * scale, "linear", antialias=False
  )


def blur(x: Float[Array, "b ... h w c"], amount: Float[Array, " b"]) -> Float[Array, "b ... h w c"]:
  """Interpolates between each example (`amount` 0) and its 3x3 binomial blur (`amount` 1)."""
  blurred = x
  for axis in (-3, -2):
    pad = [(0, 0)] * x.ndim
    pad[axis] = (1, 1)
    padded = jnp.pad(blurred, pad, mode="edge")
    size = x.shape[axis]
    before, middle, after = (
      jax.lax.slice_in_dim(padded, start, start + size, axis=axis % x.ndim) for start in range(3)
    )
    blurred = 0.25 * before + 0.5 * middle + 0.25 * after
  return x + expand_like(amount, x) * (blurred - x)


def degrade(
  high_res: Float[Array, "b ... h w c"], factor: int, key: PRNGKeyArray
) -> Float[Array, "b ... h2 w2 c"]:
  """The training condition: `high_res` averaged down by `factor`, then blurred by an amount drawn from U(0, 1)."""
  return blur(downsample(high_res, factor), jax.random.uniform(key, (len(high_res),)))


def augment(
  upsampled: Float[Array, "b ... c"], log_snr: Float[Array, " b"], noise: Float[Array, "b ... c"]
) -> Float[Array, "b ... c"]:
  """Equation (1), at the noise level whose log-SNR is `log_snr`; `noise` is standard normal."""
  alpha, sigma = alpha_sigma(expand_like(log_snr, upsampled))
  return alpha * upsampled + sigma * noise
