"""The spatial residual block of the ADM family, and the small parts that every block is made of.

    h = conv1(resample(act(norm1(x))))
    h = conv2(act(norm2(h) * (1 + scale) + shift)),   scale, shift = dense(embedding)
    y = (shortcut(resample(x)) + h) * residual_scale

Resampling happens *inside* the block, on both branches: 2x2 mean on the way down, nearest neighbour on the way up
(BigGAN's form; Dhariwal and Nichol, 2021). Embeddings are per clip: a block that sees the frames of b clips as one batch
of n = b * t images repeats each clip's embedding over its t frames.
"""

from typing import Literal

import einops
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Shaped

ACTIVATIONS = {"gelu": lambda x: nnx.gelu(x, approximate=False), "silu": nnx.silu}


def group_norm(channels: int, groups: int, dtype, rngs: nnx.Rngs) -> nnx.GroupNorm:
  """GroupNorm with at most `groups` groups; statistics in float32, output in `dtype`."""
  if channels % groups:
    raise ValueError(f"norm_groups={groups} does not divide {channels} channels")
  return nnx.GroupNorm(channels, groups, epsilon=1e-5, dtype=dtype, rngs=rngs)


def layer_norm(channels: int, dtype, rngs: nnx.Rngs) -> nnx.LayerNorm:
  """LayerNorm with torch's epsilon; statistics in float32, output in `dtype`."""
  return nnx.LayerNorm(channels, epsilon=1e-5, dtype=dtype, rngs=rngs)


class Conv3x3(nnx.Conv):
  """A 3x3 convolution that keeps the size.

  Where every pixel sees every other one, on 2x2 pixels or fewer, it is a dense layer from all pixels to all of them: 4/9 of the
  operations, as nothing is multiplied with padding, and on a CPU a tenth of the time.
  """

  def __call__(self, x: Float[Array, "n h w c_in"]) -> Float[Array, "n h w c_out"]:
    """Convolves."""
    height, width = x.shape[1:3]
    if max(height, width) > 2:
      return super().__call__(x)
    x, kernel, bias = self.promote_dtype((x, self.kernel[...], self.bias[...]), dtype=self.dtype)
    # Of pixel (y, x): what the kernel has for each of the pixels, which are y - 1, y and y + 1 to it.
    taps = [
      [
        kernel[1 - row : 1 - row + height, 1 - column : 1 - column + width]
        for column in range(width)
      ]
      for row in range(height)
    ]
    dense = jnp.stack([jnp.stack(row) for row in taps])
    return jnp.einsum("nhwi,yxhwio->nyxo", x, dense) + bias[None, None, None]


def conv3x3(c_in: int, c_out: int, dtype, rngs: nnx.Rngs, *, zero: bool = False) -> Conv3x3:
  """A 3x3 convolution that keeps the size; `zero` initialises it to zero, so that it adds nothing at first."""
  init = {"kernel_init": nnx.initializers.zeros} if zero else {}
  return Conv3x3(c_in, c_out, (3, 3), dtype=dtype, rngs=rngs, **init)


def over_frames(per_clip: Shaped[Array, "b ..."], num_images: int) -> Shaped[Array, "n ..."]:
  """Repeats each clip's row over its frames: [b ...] -> [(b t) ...] with b * t = `num_images`."""
  frames, rest = divmod(num_images, per_clip.shape[0])
  if rest:
    raise ValueError(f"{num_images} images do not divide into {per_clip.shape[0]} clips")
  return einops.repeat(per_clip, "b ... -> (b t) ...", t=frames)


def resample(
  x: Float[Array, "n h w c"], how: Literal["down", "up"] | None
) -> Float[Array, "n h2 w2 c"]:
  """Halves (2x2 mean) or doubles (nearest neighbour) height and width."""
  if how == "down":
    return einops.reduce(x, "n (h 2) (w 2) c -> n h w c", "mean")
  if how == "up":
    return einops.repeat(x, "n h w c -> n (h 2) (w 2) c")
  return x


def scale_shift(
  x: Float[Array, "n h w c"], dense: nnx.Linear | None, embedding: Float[Array, "b e"] | None
) -> Float[Array, "n h w c"]:
  """x * (1 + scale) + shift, which `dense` makes of each clip's embedding; x without a `dense`."""
  if dense is None:
    return x
  scale, shift = jnp.split(over_frames(dense(embedding), len(x))[:, None, None], 2, axis=-1)
  return x * (1 + scale) + shift


class ResBlock(nnx.Module):
  """See the module docstring."""

  def __init__(
    self,
    c_in: int,
    c_out: int,
    embedding_dim: int,
    *,
    how: Literal["down", "up"] | None = None,
    groups: int,
    activation: str,
    residual_scale: float,
    dtype,
    rngs: nnx.Rngs,
  ):
    self.how, self.activation, self.residual_scale = how, activation, residual_scale
    self.norm1 = group_norm(c_in, groups, dtype, rngs)
    self.conv1 = conv3x3(c_in, c_out, dtype, rngs)
    self.embedding = nnx.Linear(embedding_dim, 2 * c_out, dtype=dtype, rngs=rngs)
    self.norm2 = group_norm(c_out, groups, dtype, rngs)
    self.conv2 = conv3x3(c_out, c_out, dtype, rngs, zero=True)
    self.shortcut = None if c_in == c_out else nnx.Conv(c_in, c_out, (1, 1), dtype=dtype, rngs=rngs)

  def __call__(
    self, x: Float[Array, "n h w c_in"], embedding: Float[Array, "b e"]
  ) -> Float[Array, "n h2 w2 c_out"]:
    """`embedding` has already passed the activation."""
    act = ACTIVATIONS[self.activation]
    h = self.conv1(resample(act(self.norm1(x)), self.how))
    h = self.conv2(act(scale_shift(self.norm2(h), self.embedding, embedding)))
    x = resample(x, self.how)
    if self.shortcut is not None:
      x = self.shortcut(x)
    return (x + h) * self.residual_scale


class FeedForward(nnx.Module):
  """Two dense layers for each place, as in a transformer; residual, zero at initialisation.

  y = x + proj(act(dense(norm(x) * (1 + scale) + shift))),   scale, shift = dense(embedding)
  """

  def __init__(
    self,
    channels: int,
    factor: int,
    embedding_dim: int,
    *,
    groups: int,
    activation: str,
    dtype,
    rngs: nnx.Rngs,
  ):
    """The hidden layer is `factor` times as wide; `embedding_dim=0` is a block without scale and shift."""
    dense = lambda c_in, c_out, **kw: nnx.Linear(c_in, c_out, dtype=dtype, rngs=rngs, **kw)
    self.activation = activation
    self.norm = group_norm(channels, groups, dtype, rngs)
    self.embedding = dense(embedding_dim, 2 * channels) if embedding_dim else None
    self.dense = dense(channels, factor * channels)
    self.proj = dense(factor * channels, channels, kernel_init=nnx.initializers.zeros)

  def __call__(
    self, x: Float[Array, "n h w c"], embedding: Float[Array, "b e"] | None = None
  ) -> Float[Array, "n h w c"]:
    """`embedding` has one row per clip and has already passed the activation."""
    h = scale_shift(self.norm(x), self.embedding, embedding)
    # One long axis of places: on a CPU the gradient of dense layers with several takes twice as long.
    h = einops.rearrange(h, "n h w c -> (n h w) c")
    h = self.proj(ACTIVATIONS[self.activation](self.dense(h)))
    return x + h.reshape(x.shape)
