"""The autoencoder of latent diffusion (Rombach et al., 2022, section 3.1 and appendix G): an image <-> a latent, f times smaller.

    mean, log_variance = split(dense(encoder(x)))                         x in [-1, 1]                             (1)
    z = s (mean + exp(log_variance / 2) noise),    noise ~ N(0, 1)        s brings latents to about unit variance  (2)
    x = decoder(dense(z / s))                                                                                      (3)
    KL(z / s || N(0, 1)) = (mean^2 + exp(log_variance) - 1 - log_variance) / 2                                     (4)

`dense` acts on each place by itself. Encoder and decoder are convolutional, with attention at the coarsest level only. The
regulariser (4), with a small weight, is what keeps latents near a normal distribution in training.

Videos are encoded and decoded frame by frame.
"""

import dataclasses
import math

import einops
import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Key

from lumiere import sizes
from stunet import layout
from stunet.attention import attend, split_heads
from stunet.blocks import conv3x3, group_norm, resample

# More blocks a level are a slip of the finger: building them takes for ever.
MAX_BLOCKS = 100
# Of every norm. Residual blocks of diffusion networks have 1e-5.
EPSILON = 1e-6
LOG_VARIANCES = (-30.0, 20.0)


@dataclasses.dataclass(frozen=True)
class AutoencoderConfig:
  """Architecture of an autoencoder; the defaults are those of Stable Diffusion 1 and 2.

  Attributes:
    channels: width of each level, finest first; every level but the last halves height and width.
    num_res_blocks: residual blocks of each level of the encoder; the decoder has one more.
    in_channels: of images.
    latent_channels: of latents.
    norm_groups: groups of every GroupNorm.
    scaling_factor: what latents are multiplied by, s in (2).
  """

  channels: tuple[int, ...] = (128, 256, 512, 512)
  num_res_blocks: int = 2
  in_channels: int = 3
  latent_channels: int = 4
  norm_groups: int = 32
  scaling_factor: float = 0.18215

  def __post_init__(self):
    object.__setattr__(self, "channels", tuple(self.channels))
    if not self.channels or min(self.channels) < 1:
      raise ValueError(f"channels={self.channels} must give a width, 1 or more, for each level")
    for field in ("in_channels", "latent_channels", "norm_groups"):
      if getattr(self, field) < 1:
        raise ValueError(f"{field}={getattr(self, field)} must be 1 or more")
    if not 1 <= self.num_res_blocks <= MAX_BLOCKS:
      raise ValueError(f"num_res_blocks={self.num_res_blocks} must be between 1 and {MAX_BLOCKS}")
    if wrong := [width for width in self.channels if width % self.norm_groups]:
      raise ValueError(f"norm_groups={self.norm_groups} does not divide {wrong[0]} channels")
    if not 0 < self.scaling_factor < math.inf:
      raise ValueError(f"scaling_factor={self.scaling_factor} must be above 0 and finite")

  @property
  def factor(self) -> int:
    """How many pixels a latent is high and wide, f."""
    return 2 ** (len(self.channels) - 1)


class Block(nnx.Module):
  """y = shortcut(x) + conv2(act(norm2(conv1(act(norm1(x))))))."""

  def __init__(self, c_in: int, c_out: int, groups: int, *, dtype, rngs: nnx.Rngs):
    self.norm1 = group_norm(c_in, groups, dtype, rngs, epsilon=EPSILON)
    self.conv1 = conv3x3(c_in, c_out, dtype, rngs)
    self.norm2 = group_norm(c_out, groups, dtype, rngs, epsilon=EPSILON)
    self.conv2 = conv3x3(c_out, c_out, dtype, rngs)
    self.shortcut = None if c_in == c_out else nnx.Conv(c_in, c_out, (1, 1), dtype=dtype, rngs=rngs)

  def __call__(self, x: Float[Array, "n h w c_in"]) -> Float[Array, "n h w c_out"]:
    """Height and width stay."""
    h = self.conv1(nnx.silu(self.norm1(x)))
    h = self.conv2(nnx.silu(self.norm2(h)))
    return (x if self.shortcut is None else self.shortcut(x)) + h


class Attention(nnx.Module):
  """Every place attends to all of its image, with one head: y = x + out(attention(norm(x)))."""

  def __init__(self, channels: int, groups: int, *, dtype, rngs: nnx.Rngs):
    dense = lambda: nnx.Linear(channels, channels, dtype=dtype, rngs=rngs)
    self.norm = group_norm(channels, groups, dtype, rngs, epsilon=EPSILON)
    self.query, self.key, self.value, self.out = (dense() for _ in range(4))

  def __call__(self, x: Float[Array, "n h w c"]) -> Float[Array, "n h w c"]:
    """The softmax is taken in float32."""
    places = einops.rearrange(self.norm(x), "n h w c -> n (h w) c")
    heads = (split_heads(f(places), x.shape[-1]) for f in (self.query, self.key, self.value))
    h = self.out(einops.rearrange(attend(*heads), "n l 1 c -> n l c"))
    return x + h.reshape(x.shape)


class Middle(nnx.Module):
  """The coarsest level of either side: a block, attention, a block."""

  def __init__(self, channels: int, groups: int, *, dtype, rngs: nnx.Rngs):
    kinds = dict(dtype=dtype, rngs=rngs)
    self.block1 = Block(channels, channels, groups, **kinds)
    self.attention = Attention(channels, groups, **kinds)
    self.block2 = Block(channels, channels, groups, **kinds)

  def __call__(self, x: Float[Array, "n h w c"]) -> Float[Array, "n h w c"]:
    """Height, width and channels stay."""
    return self.block2(self.attention(self.block1(x)))


class Down(nnx.Module):
  """A level of the encoder: blocks, then, but at the coarsest, a convolution that halves height and width."""

  def __init__(self, blocks: list[Block], width: int, resizes: bool, *, dtype, rngs: nnx.Rngs):
    self.blocks = nnx.List(blocks)
    # Zeros below and to the right only: with zeros on all sides latents would be shifted by half a place of this level.
    padding = ((0, 1), (0, 1))
    self.resize = (
      nnx.Conv(width, width, (3, 3), strides=2, padding=padding, dtype=dtype, rngs=rngs)
      if resizes
      else None
    )

  def __call__(self, x: Float[Array, "n h w c_in"]) -> Float[Array, "n h2 w2 c_out"]:
    """Height and width are even, but at the coarsest level."""
    for block in self.blocks:
      x = block(x)
    return x if self.resize is None else self.resize(x)


class Up(nnx.Module):
  """A level of the decoder: blocks, then, but at the finest, nearest neighbours twice as large and a convolution."""

  def __init__(self, blocks: list[Block], width: int, resizes: bool, *, dtype, rngs: nnx.Rngs):
    self.blocks = nnx.List(blocks)
    self.resize = conv3x3(width, width, dtype, rngs) if resizes else None

  def __call__(self, x: Float[Array, "n h w c_in"]) -> Float[Array, "n h2 w2 c_out"]:
    """Doubles height and width, but at the finest level."""
    for block in self.blocks:
      x = block(x)
    return x if self.resize is None else self.resize(resample(x, "up"))


class Encoder(nnx.Module):
  """Images -> twice as many channels as latents have."""

  def __init__(self, config: AutoencoderConfig, *, dtype=jnp.float32, rngs: nnx.Rngs):
    """Computation is in `dtype`; parameters are float32."""
    kinds, groups = dict(dtype=dtype, rngs=rngs), config.norm_groups
    width = config.channels[0]
    self.conv_in = conv3x3(config.in_channels, width, dtype, rngs)
    levels = []
    for level, c_out in enumerate(config.channels):
      widths = (width, *[c_out] * (config.num_res_blocks - 1))
      blocks = [Block(c_in, c_out, groups, **kinds) for c_in in widths]
      levels.append(Down(blocks, c_out, level < len(config.channels) - 1, **kinds))
      width = c_out
    self.down = nnx.List(levels)
    self.middle = Middle(width, groups, **kinds)
    self.norm_out = group_norm(width, groups, dtype, rngs, epsilon=EPSILON)
    self.conv_out = conv3x3(width, 2 * config.latent_channels, dtype, rngs)

  def __call__(self, x: Float[Array, "n h w c"]) -> Float[Array, "n h2 w2 c2"]:
    """`x` in [-1, 1]; height and width are divided by the config's `factor`."""
    x = self.conv_in(x)
    for level in self.down:
      x = level(x)
    return self.conv_out(nnx.silu(self.norm_out(self.middle(x))))


class Decoder(nnx.Module):
  """Channels of latents -> images."""

  def __init__(self, config: AutoencoderConfig, *, dtype=jnp.float32, rngs: nnx.Rngs):
    """Computation is in `dtype`; parameters are float32."""
    kinds, groups = dict(dtype=dtype, rngs=rngs), config.norm_groups
    width = config.channels[-1]
    self.conv_in = conv3x3(config.latent_channels, width, dtype, rngs)
    self.middle = Middle(width, groups, **kinds)
    levels = []
    for level, c_out in reversed(tuple(enumerate(config.channels))):
      widths = (width, *[c_out] * config.num_res_blocks)
      blocks = [Block(c_in, c_out, groups, **kinds) for c_in in widths]
      levels.append(Up(blocks, c_out, level > 0, **kinds))
      width = c_out
    self.up = nnx.List(levels)  # coarsest first: the order of use
    self.norm_out = group_norm(width, groups, dtype, rngs, epsilon=EPSILON)
    self.conv_out = conv3x3(width, config.in_channels, dtype, rngs)

  def __call__(self, x: Float[Array, "n h w c"]) -> Float[Array, "n h2 w2 c2"]:
    """Height and width are multiplied by the config's `factor`."""
    x = self.middle(self.conv_in(x))
    for level in self.up:
      x = level(x)
    return self.conv_out(nnx.silu(self.norm_out(x)))


class Autoencoder(nnx.Module):
  """See the head of this file."""

  def __init__(self, config: AutoencoderConfig, *, dtype=jnp.float32, rngs: nnx.Rngs):
    """Computation is in `dtype`; parameters are float32, and so is what the methods return."""
    kinds = dict(dtype=dtype, rngs=rngs)
    dense = lambda channels: nnx.Conv(channels, channels, (1, 1), **kinds)
    self.config = config
    self.encoder, self.decoder = Encoder(config, **kinds), Decoder(config, **kinds)
    self.dense_moments = dense(2 * config.latent_channels)
    self.dense_latents = dense(config.latent_channels)

  def moments(
    self, images: Float[Array, "n h w c"]
  ) -> tuple[Float[Array, "n h2 w2 z"], Float[Array, "n h2 w2 z"]]:
    """Equation (1): (mean, logarithm of the variance) of the latents before they are scaled.

    Args:
      images: in [-1, 1]; height and width are multiples of the config's `factor`.

    Raises:
      ValueError: if height or width are not; names the nearest sizes.
    """
    sizes.check_multiple("images", images.shape[1:3], self.config.factor)
    both = self.dense_moments(self.encoder(images)).astype(jnp.float32)
    mean, log_variance = jnp.split(both, 2, axis=-1)
    return mean, jnp.clip(log_variance, *LOG_VARIANCES)

  def latents(
    self,
    mean: Float[Array, "*n h w z"],
    log_variance: Float[Array, "*n h w z"],
    key: Key[Array, ""] | None = None,
  ) -> Float[Array, "*n h w z"]:
    """Equation (2), without noise if there is no `key`."""
    if key is not None:
      noise = jax.random.normal(key, mean.shape, mean.dtype)
      mean = mean + jnp.exp(log_variance / 2) * noise
    return self.config.scaling_factor * mean

  def encode(
    self, images: Float[Array, "n h w c"], key: Key[Array, ""] | None = None
  ) -> Float[Array, "n h2 w2 z"]:
    """Latents of images in [-1, 1]: a sample with a `key`, else the mean. Raises ValueError as `moments` does."""
    return self.latents(*self.moments(images), key)

  def decode(self, latents: Float[Array, "n h w z"]) -> Float[Array, "n h2 w2 c"]:
    """Equation (3). Images are about in [-1, 1]: they are not clipped."""
    x = self.dense_latents(latents / self.config.scaling_factor)
    return self.decoder(x).astype(jnp.float32)


def encode_frames(
  autoencoder: Autoencoder,
  video: Float[Array, "b t h w c"],
  key: Key[Array, ""] | None = None,
  frames_at_a_time: int = 8,
) -> Float[Array, "b t h2 w2 z"]:
  """`Autoencoder.encode` of every frame. All frames draw from the one `key`, in any number at a time the same noise.

  Args:
    autoencoder: the network.
    video: clips in [-1, 1]; height and width are multiples of the config's `factor`.
    key: of the samples; without one the latents are means.
    frames_at_a_time: frames of each clip whose activations are in memory together. Devices that share a clip take all of theirs.

  Raises:
    ValueError: if height or width are no multiples, or if `frames_at_a_time` is below 1.
  """
  moments = _map_frames(autoencoder.moments, video, frames_at_a_time)
  return autoencoder.latents(*moments, key)


def decode_frames(
  autoencoder: Autoencoder, latents: Float[Array, "b t h w z"], frames_at_a_time: int = 8
) -> Float[Array, "b t h2 w2 c"]:
  """`Autoencoder.decode` of every frame; arguments and errors as for `encode_frames`."""
  return _map_frames(autoencoder.decode, latents, frames_at_a_time)


def _map_frames(function, clips: Float[Array, "b t h w c"], frames_at_a_time: int):
  """`function` of the frames of all clips, some at a time, so that memory does not grow with the number of frames."""
  if frames_at_a_time < 1:
    raise ValueError(f"frames_at_a_time={frames_at_a_time} must be 1 or more")
  if layout.axis_size(layout.FRAMES) > 1:  # a loop over frames would leave all but one device idle
    return layout.over_frames_axis(lambda own: _frame_by_frame(function, own))(clips)
  # Clips stay the leading axis of what is computed, as devices share them.
  count = min(frames_at_a_time, clips.shape[1])
  whole = clips.shape[1] // count * count
  parts = jnp.moveaxis(clips[:, :whole].reshape(len(clips), -1, count, *clips.shape[2:]), 1, 0)
  done = jax.lax.map(lambda part: _frame_by_frame(function, part), parts)
  done = jax.tree.map(
    lambda x: jnp.moveaxis(x, 0, 1).reshape(len(clips), whole, *x.shape[3:]), done
  )
  if whole == clips.shape[1]:
    return done
  rest = _frame_by_frame(function, clips[:, whole:])
  return jax.tree.map(lambda *both: jnp.concatenate(both, axis=1), done, rest)


def _frame_by_frame(function, clips: Float[Array, "b t h w c"]):
  """`function` of all frames at once."""
  frames = einops.rearrange(clips, "b t h w c -> (b t) h w c")
  return jax.tree.map(lambda x: x.reshape(*clips.shape[:2], *x.shape[1:]), function(frames))
