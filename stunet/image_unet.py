"""The text-to-image U-Net, one image at a time: the ADM / Imagen / DeepFloyd IF family, and Stable Diffusion 1 and 2.

    conv in -> levels down -> middle -> levels up -> norm, activation, conv out

A level is a run of *stages* (a residual block, then text attention or a transformer at the chosen levels) and, but for the
coarsest, a resampling block. Every stage and every downsampler on the way down leaves a skip; every stage on the way up
takes one. The middle is two stages, or a transformer (Hoogeboom et al., 2023). All choices are fields of `ImageUNetConfig`, so
that public weights and the miniature use the same code.
"""

import dataclasses
from typing import Literal

import einops
import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float

from stunet import layout
from stunet.attention import TextAttention
from stunet.blocks import (
  ACTIVATIONS,
  FeedForward,
  PlainResample,
  ResBlock,
  conv3x3,
  group_norm,
)
from stunet.embeddings import ClipContext, TimestepEmbedding, make_text_pool
from stunet.transformer import Transformer

# More blocks a level are a slip of the finger: building them takes for ever.
MAX_BLOCKS = 100


@dataclasses.dataclass(frozen=True)
class ImageUNetConfig:
  """Architecture of an image U-Net. A field that does not exist is an error at construction.

  Attributes:
    channels: width of each level, finest first.
    num_res_blocks: stages per level on the way down (one more on the way up): one number, or one per level.
    attention_levels: levels (0 = finest) whose stages end in attention. The middle has it if any level has.
    middle_transformers: transformer blocks that are the middle in place of its two stages; 0 for those stages.
    up_narrows: whether upsampling goes to the width of the finer level in the same block, which costs less; in the ADM family
      the level's first stage does that.
    in_channels: 3, 6 with a low-resolution condition, or 4 for the latents of Stable Diffusion.
    out_channels: 3, 6 where the public weights also predict a variance, or 4 for latents.
    patch_size: side of the squares of pixels that become one place of the finest level, their values as channels (Hoogeboom
      et al., 2023, section 3.4): 2 quarters what the finest level costs. 1 leaves pixels as they are.
    text_dim: width of the text encoder's states; 0 for a network without text.
    cross_attention_dim: the states are projected to this width before attention; None attends to them as they are.
    text_norm: norm of the states inside attention: "layer" (Imagen), "group" (DeepFloyd IF, 32 groups) or "none" (GLIDE).
    text_pool: how one vector of the caption is added to the timestep embedding: "none", "attention" (Imagen, DeepFloyd
      IF), "last", the last state (GLIDE, whose encoder puts no token there), or "clip", where the first two states are
      CLIP's embeddings of an image and of the caption (Karlo; see `ClipContext`).
    image_tokens: states that "clip" makes of the image's embedding.
    pool_heads: heads of the attention pooling.
    attends_to_padding: whether states of padding are attended to like any other, as public models were trained.
    self_attention: whether the image attends to itself; False attends to the text only.
    head_dim: width of an attention head.
    num_heads: heads of every attention, whatever its width, in place of `head_dim`; 0 goes by `head_dim`.
    transformer_depth: blocks of the transformer (`stunet.transformer`) that stages end in at the attention levels, as in
      Stable Diffusion; 0 for attention to the text and the image at once, as in the ADM family.
    scale_shift: whether the embedding scales and shifts a norm of the residual blocks; False adds it before that norm.
    plain_resampling: whether levels are left by one convolution in place of a resampling residual block.
    embedding_dim: width of the timestep embedding; None is 4 * channels[0].
    augmentation_embedding: whether the network embeds the noise level of its low-resolution condition.
    norm_groups: groups of every GroupNorm.
    activation: "silu" or "gelu".
    residual_scale: a residual block's output is multiplied by this (1 / sqrt(2) in efficient U-Nets).
    remat_levels: levels whose stages are recomputed in the backward pass instead of stored.
  """

  channels: tuple[int, ...]
  num_res_blocks: int | tuple[int, ...] = 2
  attention_levels: tuple[int, ...] = ()
  middle_transformers: int = 0
  up_narrows: bool = False
  in_channels: int = 3
  out_channels: int = 3
  patch_size: int = 1
  text_dim: int = 0
  cross_attention_dim: int | None = None
  text_norm: Literal["layer", "group", "none"] = "layer"
  text_pool: Literal["none", "attention", "last", "clip"] = "none"
  image_tokens: int = 0
  pool_heads: int = 1
  attends_to_padding: bool = False
  self_attention: bool = True
  head_dim: int = 64
  num_heads: int = 0
  transformer_depth: int = 0
  scale_shift: bool = True
  plain_resampling: bool = False
  embedding_dim: int | None = None
  augmentation_embedding: bool = False
  norm_groups: int = 32
  activation: Literal["silu", "gelu"] = "silu"
  residual_scale: float = 1.0
  remat_levels: tuple[int, ...] = dataclasses.field(default=(), compare=False)

  def __post_init__(self):
    for field in ("channels", "attention_levels", "remat_levels"):
      object.__setattr__(self, field, tuple(getattr(self, field)))
    blocks = self.num_res_blocks
    blocks = (blocks,) * len(self.channels) if isinstance(blocks, int) else tuple(blocks)
    object.__setattr__(self, "num_res_blocks", blocks)
    if not self.channels or min(self.channels) < 1:
      raise ValueError(f"channels={self.channels} must give a width, 1 or more, for each level")
    for field in (
      "in_channels",
      "out_channels",
      "patch_size",
      "pool_heads",
      "head_dim",
      "norm_groups",
    ):
      if getattr(self, field) < 1:
        raise ValueError(f"{field}={getattr(self, field)} must be 1 or more")
    if self.embedding_dim is None:
      object.__setattr__(self, "embedding_dim", 4 * self.channels[0])
    if len(blocks) != len(self.channels) or not 1 <= min(blocks) <= max(blocks) <= MAX_BLOCKS:
      raise ValueError(
        f"num_res_blocks={blocks} must give a number between 1 and {MAX_BLOCKS} for each of {len(self.channels)} levels"
      )
    for field in ("middle_transformers", "transformer_depth"):
      if not 0 <= getattr(self, field) <= MAX_BLOCKS:
        raise ValueError(f"{field}={getattr(self, field)} must be between 0 and {MAX_BLOCKS}")
    if self.num_heads < 0:
      raise ValueError(f"num_heads={self.num_heads} must be 0 or more")
    for field in ("attention_levels", "remat_levels"):
      if any(not 0 <= level < len(self.channels) for level in getattr(self, field)):
        raise ValueError(f"{field}={getattr(self, field)} must lie in 0..{len(self.channels) - 1}")
    for field, accepted in (
      ("activation", tuple(ACTIVATIONS)),
      ("text_norm", ("layer", "group", "none")),
      ("text_pool", ("none", "attention", "last", "clip")),
    ):
      if getattr(self, field) not in accepted:
        raise ValueError(f"{field}={getattr(self, field)!r} must be one of {', '.join(accepted)}")
    if wrong := [width for width in self.channels if width % self.norm_groups]:
      raise ValueError(f"norm_groups={self.norm_groups} does not divide {wrong[0]} channels")
    attending = {*self.attention_levels}
    if self.attention_levels or self.middle_transformers:
      attending.add(self.coarsest)  # the middle's
    divisor = "num_heads" if self.num_heads else "head_dim"
    size = getattr(self, divisor)
    if wrong := [self.channels[i] for i in sorted(attending) if self.channels[i] % size]:
      raise ValueError(f"{divisor}={size} does not divide {wrong[0]} channels")
    if self.text_pool != "none" and not self.text_dim:
      raise ValueError(f"text_pool={self.text_pool!r} needs text to pool: set text_dim")
    if (self.text_pool == "clip") != (self.image_tokens > 0):
      raise ValueError(
        f"image_tokens={self.image_tokens} must be 1 or more with text_pool='clip', else 0"
      )
    if self.text_pool == "clip" and not self.cross_attention_dim:
      raise ValueError("text_pool='clip' projects its states: set cross_attention_dim")
    if not self.self_attention and not self.text_dim:
      raise ValueError("self_attention=False needs text to attend to: set text_dim")
    if self.transformer_depth:
      self._check_transformer()

  def _check_transformer(self):
    for field, fits, wanted in (
      ("text_dim", self.text_dim > 0, "the width of the states that it attends to"),
      ("self_attention", self.self_attention, "True"),
      ("text_norm", self.text_norm == "none", "'none': it takes the states as they are"),
      ("middle_transformers", not self.middle_transformers, "0: those attend otherwise"),
    ):
      if not fits:
        raise ValueError(
          f"transformer_depth={self.transformer_depth} needs another {field} than {getattr(self, field)!r}: {wanted}"
        )

  @property
  def coarsest(self) -> int:
    """Index of the coarsest level."""
    return len(self.channels) - 1

  @property
  def multiple(self) -> int:
    """What height and width of its images are multiples of, in pixels."""
    return self.patch_size * 2**self.coarsest

  def head_width(self, channels: int) -> int:
    """Width of a head of an attention of so many channels."""
    return channels // self.num_heads if self.num_heads else self.head_dim

  def upsampled_width(self, level: int) -> int:
    """Width of what leaves `level` on the way up."""
    return self.channels[level - 1] if level and self.up_narrows else self.channels[level]


class Stage(nnx.Module):
  """A residual block, then attention where the level has it: the unit that inflation extends."""

  def __init__(
    self, c_in: int, c_out: int, attention: bool, config: ImageUNetConfig, *, dtype, rngs
  ):
    self.res = _res_block(c_in, c_out, None, config, dtype, rngs)
    self.attention = _attention(c_out, config, dtype, rngs) if attention else None

  def __call__(self, x, embedding, text, mask):
    """x: [n h w c_in] -> [n h w c_out]."""
    x = self.res(x, embedding)
    return x if self.attention is None else self.attention(x, text, mask)


class TransformerStage(nnx.Module):
  """Attention to the image and the caption, then two dense layers: a stage without convolutions."""

  def __init__(self, channels: int, config: ImageUNetConfig, *, dtype, rngs: nnx.Rngs):
    self.attention = _attention(channels, config, dtype, rngs)
    self.feed_forward = FeedForward(
      channels,
      4,
      config.embedding_dim,
      groups=config.norm_groups,
      activation=config.activation,
      dtype=dtype,
      rngs=rngs,
    )

  def __call__(self, x, embedding, text, mask):
    """x: [n h w c] -> [n h w c]."""
    return self.feed_forward(self.attention(x, text, mask), embedding)


class Level(nnx.Module):
  """The stages of one resolution and the resampling that leaves it (None where none does)."""

  def __init__(
    self, stages: list[Stage | TransformerStage], resample: ResBlock | PlainResample | None
  ):
    self.stages = nnx.List(stages)
    self.resample = resample


def _res_block(c_in, c_out, how, config: ImageUNetConfig, dtype, rngs) -> ResBlock:
  return ResBlock(
    c_in,
    c_out,
    config.embedding_dim,
    how=how,
    groups=config.norm_groups,
    activation=config.activation,
    residual_scale=config.residual_scale,
    scale_shift=config.scale_shift,
    dtype=dtype,
    rngs=rngs,
  )


def _resample(c_in, c_out, how, config: ImageUNetConfig, dtype, rngs) -> ResBlock | PlainResample:
  if config.plain_resampling:
    return PlainResample(c_in, c_out, how, dtype=dtype, rngs=rngs)
  return _res_block(c_in, c_out, how, config, dtype, rngs)


def _attention(channels, config: ImageUNetConfig, dtype, rngs) -> TextAttention | Transformer:
  states_dim = config.cross_attention_dim or config.text_dim
  kinds = dict(
    head_dim=config.head_width(channels), groups=config.norm_groups, dtype=dtype, rngs=rngs
  )
  if config.transformer_depth:
    return Transformer(channels, states_dim, config.transformer_depth, **kinds)
  return TextAttention(
    channels,
    states_dim,
    self_attention=config.self_attention,
    text_norm=config.text_norm,
    **kinds,
  )


class ImageUNet(nnx.Module):
  """See the module docstring."""

  def __init__(self, config: ImageUNetConfig, *, dtype=jnp.float32, rngs: nnx.Rngs):
    """Computation is in `dtype`; parameters are float32."""
    self.config, self.dtype = config, dtype
    widths, kinds = config.channels, dict(dtype=dtype, rngs=rngs)
    attends = lambda level: level in config.attention_levels
    embedding = lambda: TimestepEmbedding(
      widths[0], config.embedding_dim, config.activation, **kinds
    )

    self.time_embedding = embedding()
    self.augmentation_embedding = embedding() if config.augmentation_embedding else None
    sizes = (config.text_dim, config.cross_attention_dim)
    clip = config.text_pool == "clip"
    self.clip = (
      ClipContext(*sizes, config.embedding_dim, config.image_tokens, **kinds) if clip else None
    )
    self.text_pool = (
      None if clip else make_text_pool(config, config.text_dim, config.embedding_dim, **kinds)
    )
    self.text_projection = nnx.Linear(*sizes, **kinds) if all(sizes) and not clip else None

    area = config.patch_size**2
    self.conv_in = conv3x3(config.in_channels * area, widths[0], dtype, rngs)
    skips, c = [widths[0]], widths[0]
    down = []
    for level, width in enumerate(widths):
      stages = []
      for _ in range(config.num_res_blocks[level]):
        stages.append(Stage(c, width, attends(level), config, **kinds))
        c = width
        skips.append(c)
      last = level == config.coarsest
      down.append(Level(stages, None if last else _resample(c, c, "down", config, dtype, rngs)))
      if not last:
        skips.append(c)
    self.down = nnx.List(down)

    middle = [TransformerStage(c, config, **kinds) for _ in range(config.middle_transformers)] or [
      Stage(c, c, bool(config.attention_levels), config, **kinds),
      Stage(c, c, False, config, **kinds),
    ]
    self.middle = Level(middle, None)

    up = []
    for level, width in reversed(tuple(enumerate(widths))):
      stages = []
      for _ in range(config.num_res_blocks[level] + 1):
        stages.append(Stage(c + skips.pop(), width, attends(level), config, **kinds))
        c = width
      finer = config.upsampled_width(level)
      up.append(Level(stages, _resample(c, finer, "up", config, dtype, rngs) if level else None))
      c = finer
    self.up = nnx.List(up)  # coarsest first: the order of use

    self.norm_out = group_norm(c, config.norm_groups, dtype, rngs)
    self.conv_out = conv3x3(c, config.out_channels * area, dtype, rngs, zero=True)

  def condition(self, timesteps, text, mask, augmentation_timesteps):
    """Everything that is not the image -> (embedding [b e], caption states for attention [b l d] or None, their mask)."""
    gathered = lambda module: layout.gathered(module, self.dtype)
    embedding = gathered(self.time_embedding)(timesteps)
    if self.augmentation_embedding is not None:
      if augmentation_timesteps is None:
        raise ValueError(
          "augmentation_timesteps is missing: this network embeds the noise level of its condition"
        )
      embedding += gathered(self.augmentation_embedding)(augmentation_timesteps)
    if self.config.text_dim:
      if text is None:
        raise ValueError("text is missing: this network was built with text_dim > 0")
      if self.config.attends_to_padding:
        mask = None
      if self.clip is not None:
        vector, text, mask = gathered(self.clip)(text, mask)
        embedding += vector
      if self.text_pool is not None:
        embedding += gathered(self.text_pool)(text, mask)
      if self.text_projection is not None:
        text = gathered(self.text_projection)(text)
    # Every block begins with the same activation of the embedding, so it is taken once.
    return ACTIVATIONS[self.config.activation](embedding), text, mask

  def head(self, x: Float[Array, "n h w c"]) -> Float[Array, "n h2 w2 out"]:
    """Features of the finest level -> prediction in float32, in pixels."""
    norm, conv = layout.gathered((self.norm_out, self.conv_out), self.dtype)
    h = conv(ACTIVATIONS[self.config.activation](norm(x))).astype(jnp.float32)
    return to_pixels(h, self.config.patch_size)

  def __call__(
    self,
    x: Float[Array, "b h w c"],
    timesteps: Float[Array, " b"],
    text: Float[Array, "b l d"] | None = None,
    mask: Bool[Array, "b l"] | None = None,
    augmentation_timesteps: Float[Array, " b"] | None = None,
  ) -> Float[Array, "b h w out"]:
    """Predicts from noisy images.

    Args:
      x: noisy images, height and width divisible by patch_size * 2 ** (levels - 1).
      timesteps: noise level of each image, in [0, 1000].
      text: states of the text encoder; needed if `text_dim` > 0.
      mask: True where `text` is a real token; None attends to all.
      augmentation_timesteps: noise level of the low-resolution condition, in [0, 1000].

    Returns:
      The prediction (eps, v or x0: whatever the network is trained to give), float32.
    """
    check_size(x.shape, self.config)
    embedding, text, mask = self.condition(timesteps, text, mask, augmentation_timesteps)

    def run(layer, level: int, *given):
      remat = level in self.config.remat_levels
      return call(lambda layer, *given: layer(*given), layer, *given, dtype=self.dtype, remat=remat)

    x = to_patches(x.astype(self.dtype), self.config.patch_size)
    h = layout.gathered(self.conv_in, self.dtype)(x)
    skips = [h]
    for index, level in enumerate(self.down):
      for stage in level.stages:
        h = run(stage, index, h, embedding, text, mask)
        skips.append(h)
      if level.resample is not None:
        h = run(level.resample, index, h, embedding)
        skips.append(h)

    for stage in self.middle.stages:
      h = run(stage, self.config.coarsest, h, embedding, text, mask)

    for index, level in zip(range(self.config.coarsest, -1, -1), self.up, strict=True):
      for stage in level.stages:
        h = jnp.concatenate([h, skips.pop()], axis=-1)
        h = run(stage, index, h, embedding, text, mask)
      if level.resample is not None:
        h = run(level.resample, index, h, embedding)
    return self.head(h)


def to_patches(x: Float[Array, "n h w c"], size: int) -> Float[Array, "n h2 w2 c2"]:
  """Squares of `size` x `size` pixels become the channels of one place."""
  if size == 1:
    return x
  return einops.rearrange(x, "n (h y) (w x) c -> n h w (y x c)", y=size, x=size)


def to_pixels(x: Float[Array, "n h w c"], size: int) -> Float[Array, "n h2 w2 c2"]:
  """The inverse of `to_patches`."""
  if size == 1:
    return x
  return einops.rearrange(x, "n h w (y x c) -> n (h y) (w x) c", y=size, x=size)


def call(function, modules, *args, dtype, remat: bool):
  """`function(modules, *args)`, recomputed in the backward pass if `remat`; sharded weights are gathered inside."""
  run = lambda *args: function(layout.gathered(modules, dtype), *args)
  return jax.checkpoint(run)(*args) if remat else run(*args)


def check_size(shape: tuple[int, ...], config: ImageUNetConfig, more_channels: int = 0):
  """Raises ValueError unless height, width and channels of [..., h, w, c] fit the network, or what is built around it."""
  *_, height, width, channels = shape
  if height % config.multiple or width % config.multiple:
    raise ValueError(
      f"size {height}x{width}: height and width must be multiples of {config.multiple}"
    )
  if channels != config.in_channels + more_channels:
    more = f" and {more_channels} more" if more_channels else ""
    raise ValueError(f"{channels} channels given, in_channels={config.in_channels}{more} expected")
