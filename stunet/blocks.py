"""The spatial residual block of the ADM family, and the small parts that every block is made of.

    h = conv1(resample(act(norm1(x))))
    h = conv2(act(norm2(h) * (1 + scale) + shift)),   scale, shift = dense(embedding)
    y = (shortcut(resample(x)) + h) * residual_scale

Resampling happens *inside* the block, on both branches: 2x2 mean on the way down, nearest neighbour on the way up
(BigGAN's form; Dhariwal and Nichol, 2021). Without scale and shift the embedding is added instead, conv1(...) + dense(embedding)
before norm2, and a `PlainResample` takes the place of a resampling block (DDPM; latent diffusion). Embeddings are per clip: a
block that sees the frames of b clips as one batch of n = b * t images repeats each clip's embedding over its t frames.
"""

from typing import Literal

import einops
import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Shaped

ACTIVATIONS = {"gelu": lambda x: nnx.gelu(x, approximate=False), "silu": nnx.silu}


ScaleShift = tuple[Float[Array, "n c"], Float[Array, "n c"]]


class GroupNorm(nnx.GroupNorm):
  """GroupNorm, then x * (1 + scale) + shift where they are given; statistics in float32, output in `dtype`.

  All of it is one multiplication and one addition, whose factors are a number per image and channel. Flax's own norm sees its
  groups as an axis: on a CPU that takes two to six times as long, without the scale and shift.
  """

  def __call__(
    self, x: Float[Array, "n *places c"], scale_shift: ScaleShift | None = None
  ) -> Float[Array, "n *places c"]:
    """Normalises each of n images."""
    wide, places = x.astype(jnp.float32), tuple(range(1, x.ndim - 1))
    mean = self._over_groups(jnp.mean(wide, places))
    variance = self._over_groups(jnp.mean(jnp.square(wide), places)) - jnp.square(mean)
    weight, bias = (each[...].astype(jnp.float32)[None] for each in (self.scale, self.bias))
    factor = weight * jax.lax.rsqrt(jnp.maximum(variance, 0.0) + self.epsilon)
    offset = bias - mean * factor
    if scale_shift is not None:
      scale, shift = (each.astype(jnp.float32) for each in scale_shift)
      factor, offset = factor * (1 + scale), offset * (1 + scale) + shift
    factor, offset = (jnp.expand_dims(each, places) for each in (factor, offset))
    return (wide * factor + offset).astype(self.dtype)

  def _over_groups(self, x: Float[Array, "n c"]) -> Float[Array, "n c"]:
    """The mean of each channel's group."""
    means = einops.reduce(x, "n (g c) -> n g", "mean", g=self.num_groups)
    return einops.repeat(means, "n g -> n (g c)", c=self.group_size)


def group_norm(
  channels: int, groups: int, dtype, rngs: nnx.Rngs, *, epsilon: float = 1e-5
) -> GroupNorm:
  """GroupNorm, by default with torch's epsilon."""
  if channels % groups:
    raise ValueError(f"norm_groups={groups} does not divide {channels} channels")
  return GroupNorm(channels, groups, epsilon=epsilon, dtype=dtype, rngs=rngs)


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
  dense: nnx.Linear | None, embedding: Float[Array, "b e"] | None, num_images: int
) -> ScaleShift | None:
  """What `dense` makes of each clip's embedding, for each of its images; None without a `dense`."""
  if dense is None:
    return None
  scale, shift = jnp.split(over_frames(dense(embedding), num_images), 2, axis=-1)
  return scale, shift


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
    scale_shift: bool,
    dtype,
    rngs: nnx.Rngs,
  ):
    self.how, self.activation, self.residual_scale = how, activation, residual_scale
    self.scale_shift = scale_shift
    self.norm1 = group_norm(c_in, groups, dtype, rngs)
    self.conv1 = conv3x3(c_in, c_out, dtype, rngs)
    embedded = 2 * c_out if scale_shift else c_out
    self.embedding = nnx.Linear(embedding_dim, embedded, dtype=dtype, rngs=rngs)
    self.norm2 = group_norm(c_out, groups, dtype, rngs)
    self.conv2 = conv3x3(c_out, c_out, dtype, rngs, zero=True)
    self.shortcut = None if c_in == c_out else nnx.Conv(c_in, c_out, (1, 1), dtype=dtype, rngs=rngs)

  def __call__(
    self, x: Float[Array, "n h w c_in"], embedding: Float[Array, "b e"]
  ) -> Float[Array, "n h2 w2 c_out"]:
    """`embedding` has already passed the activation."""
    act = ACTIVATIONS[self.activation]
    h = self.conv1(resample(act(self.norm1(x)), self.how))
    if self.scale_shift:
      h = self.norm2(h, scale_shift(self.embedding, embedding, len(h)))
    else:
      h = self.norm2(h + over_frames(self.embedding(embedding), len(h))[:, None, None])
    h = self.conv2(act(h))
    x = resample(x, self.how)
    if self.shortcut is not None:
      x = self.shortcut(x)
    return (x + h) * self.residual_scale


class PlainResample(nnx.Module):
  """One 3x3 convolution that halves height and width, or doubles them after nearest-neighbour upsampling."""

  def __init__(self, c_in: int, c_out: int, how: Literal["down", "up"], *, dtype, rngs: nnx.Rngs):
    self.how = how
    if how == "up":
      self.conv = conv3x3(c_in, c_out, dtype, rngs)
    else:
      # Zeros on all four sides, as torch has it: "SAME" would put them below and to the right only, and move the picture.
      self.conv = nnx.Conv(c_in, c_out, (3, 3), 2, padding=((1, 1), (1, 1)), dtype=dtype, rngs=rngs)

  def __call__(
    self, x: Float[Array, "n h w c_in"], embedding=None
  ) -> Float[Array, "n h2 w2 c_out"]:
    """`embedding` is ignored: `ResBlock` takes one."""
    return self.conv(resample(x, "up") if self.how == "up" else x)


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
    h = self.norm(x, scale_shift(self.embedding, embedding, len(x)))
    # One long axis of places: on a CPU the gradient of dense layers with several takes twice as long.
    h = einops.rearrange(h, "n h w c -> (n h w) c")
    h = self.proj(ACTIVATIONS[self.activation](self.dense(h)))
    return x + h.reshape(x.shape)
