"""The Space-Time U-Net: an image U-Net that also down- and upsamples time, and processes the whole clip at once.

    every stage but the coarsest level's:   image stage -> convolution-based inflation
    every stage of the coarsest level:      image stage -> attention-based inflation
    every resampling:                       image resampling in space -> resampling in time

The image network runs frame by frame over (b t) images, with frozen weights; only what is added here is trained
(`inflation.py` builds one from the other). At initialisation, for a total temporal factor N, frames 0, N, 2N, ... of the
output are the image network's output on those frames. Further input channels, such as a masked video and its mask (section 4
of the paper), have a convolution of their own beside the frozen first one. Together they are one convolution of the wider
input; as the new one starts at zero, nothing changes at first. With a `frames` axis in the mesh several devices share each
clip (`layout.py`).
"""

import dataclasses
import functools

import einops
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float

from stunet import layout
from stunet.blocks import ACTIVATIONS, conv3x3
from stunet.embeddings import TimestepEmbedding, make_text_pool
from stunet.image_unet import MAX_BLOCKS, ImageUNet, ImageUNetConfig, call, check_size, to_patches
from stunet.temporal import AttentionInflation, ConvInflation, TemporalDown, TemporalUp

# Of the guidance weight as it is embedded: the fastest sinusoids tell hundredths apart, the slowest see 1 to 10 as nearly straight.
GUIDANCE_UNIT = 100.0


@dataclasses.dataclass(frozen=True)
class TemporalConfig:
  """What inflation adds to an image network.

  Attributes:
    factors: temporal factor of each resampling, finest first: 2 halves time there, 1 keeps it. One fewer than levels.
    attention_depth: temporal attention blocks after every stage of the coarsest level; 0 inflates it with convolutions
      too, as in a super-resolution network that sees short windows.
    attention_over: what a temporal attention block sees: the frames of one "place", as in the paper, or the whole "clip".
    attention_reach: over a clip, how many frames and how many places away an offset has a learned bias of its own.
    feed_forward: after each temporal attention block, a dense block whose hidden layer is so many times as wide; 0 for none,
      as in the paper's figure.
    head_dim: width of a temporal attention head.
    conditioned: whether the added blocks also take noise level and caption (see temporal.py; in the paper they do not).
    condition_channels: further input channels, after the image network's: 4 for known pixels and their mask.
    guidance_embedding: whether the network is told the guidance weight, so that one call gives the guided prediction; such a network
      is distilled from one that is not told (configs/distill_guidance_release.py).
  """

  factors: tuple[int, ...]
  attention_depth: int = 1
  attention_over: str = "place"
  attention_reach: tuple[int, int] = (7, 3)
  feed_forward: int = 0
  head_dim: int = 64
  conditioned: bool = False
  condition_channels: int = 0
  guidance_embedding: bool = False

  def __post_init__(self):
    for field in ("factors", "attention_reach"):
      object.__setattr__(self, field, tuple(getattr(self, field)))
    if any(factor not in (1, 2) for factor in self.factors):
      raise ValueError(f"factors={self.factors}: each temporal factor must be 1 or 2")
    if self.head_dim < 1:
      raise ValueError(f"head_dim={self.head_dim} must be 1 or more")
    if not 0 <= self.attention_depth <= MAX_BLOCKS:
      raise ValueError(f"attention_depth={self.attention_depth} must be between 0 and {MAX_BLOCKS}")
    if self.attention_over not in ("place", "clip"):
      raise ValueError(f'attention_over={self.attention_over!r} must be "place" or "clip"')
    if len(self.attention_reach) != 2 or min(self.attention_reach) < 0:
      raise ValueError(
        f"attention_reach={self.attention_reach} must be two numbers, frames and places, 0 or more"
      )
    if not 0 <= self.feed_forward <= MAX_BLOCKS:
      raise ValueError(f"feed_forward={self.feed_forward} must be between 0 and {MAX_BLOCKS}")
    if self.condition_channels < 0:
      raise ValueError(f"condition_channels={self.condition_channels} must be 0 or more")

  @property
  def total_factor(self) -> int:
    """N: the number of frames must be a multiple of it."""
    return 2 ** self.factors.count(2)


class TemporalLevel(nnx.Module):
  """The inflation blocks of one level's stages and the resampling in time that leaves it (None where none does)."""

  def __init__(self, inflations: list, resample: TemporalDown | TemporalUp | None):
    self.inflations = nnx.List(inflations)
    self.resample = resample


class STUNet(nnx.Module):
  """See the module docstring. `image` keeps its variable types: `inflation.inflate` freezes it first."""

  def __init__(self, image: ImageUNet, temporal: TemporalConfig, *, rngs: nnx.Rngs):
    config = image.config
    check_fits(config, temporal)
    self.image, self.temporal = image, temporal
    kinds = dict(dtype=image.dtype, rngs=rngs)
    embedding_dim = config.embedding_dim if temporal.conditioned else 0
    text_dim = config.text_dim if temporal.conditioned else 0
    # The image network's pooling was trained on single images: the added blocks have one of their own.
    self.text_pool = make_text_pool(config, text_dim, embedding_dim, **kinds)
    self.guidance_embedding = (
      TimestepEmbedding(
        config.channels[0], config.embedding_dim, config.activation, zero=True, **kinds
      )
      if temporal.guidance_embedding
      else None
    )
    channels = temporal.condition_channels * config.patch_size**2
    self.condition_in = (
      conv3x3(channels, config.channels[0], image.dtype, rngs, zero=True) if channels else None
    )

    def inflations(level_index: int, count: int) -> list:
      width = config.channels[level_index]
      if level_index == config.coarsest and temporal.attention_depth:
        make = lambda: AttentionInflation(
          width,
          embedding_dim,
          text_dim,
          temporal.attention_depth,
          over=temporal.attention_over,
          reach=temporal.attention_reach,
          feed_forward=temporal.feed_forward,
          head_dim=temporal.head_dim,
          groups=config.norm_groups,
          activation=config.activation,
          **kinds,
        )
      else:
        make = lambda: ConvInflation(
          width, embedding_dim, groups=config.norm_groups, activation=config.activation, **kinds
        )
      return [make() for _ in range(count)]

    def resampling(make, boundary: int):
      """Time's share of the resampling between levels `boundary` and `boundary + 1`, at the width it happens in."""
      if not 0 <= boundary < config.coarsest or temporal.factors[boundary] == 1:
        return None
      up = make is TemporalUp
      return make(
        config.upsampled_width(boundary + 1) if up else config.channels[boundary], **kinds
      )

    levels = range(len(config.channels))
    blocks = config.num_res_blocks
    self.down = nnx.List(
      [TemporalLevel(inflations(i, blocks[i]), resampling(TemporalDown, i)) for i in levels]
    )
    self.middle = TemporalLevel(inflations(config.coarsest, len(image.middle.stages)), None)
    self.up = nnx.List(
      [
        TemporalLevel(inflations(i, blocks[i] + 1), resampling(TemporalUp, i - 1))
        for i in reversed(levels)
      ]
    )

  def __call__(
    self,
    x: Float[Array, "b t h w c"],
    timesteps: Float[Array, " b"],
    text: Float[Array, "b l d"] | None = None,
    mask: Bool[Array, "b l"] | None = None,
    augmentation_timesteps: Float[Array, " b"] | None = None,
    guidance_scale: Float[Array, " b"] | None = None,
  ) -> Float[Array, "b t h w out"]:
    """Predicts from noisy clips. Arguments as for `ImageUNet`, one row per clip; x has `condition_channels` more channels.

    Args:
      guidance_scale: of each clip, for a network with `guidance_embedding`.

    Raises:
      ValueError: if the number of frames is not a multiple of the total temporal factor, the size does not fit, or
        `guidance_scale` is missing.
    """
    if self.guidance_embedding is not None and guidance_scale is None:
      raise ValueError("guidance_scale is missing: this network is told the guidance weight")
    check_size(x.shape, self.image.config, self.temporal.condition_channels)
    check_num_frames(x.shape[1], self.temporal.total_factor)
    axes = self.frame_axes(*x.shape[1:4])
    forward = layout.over_frames_axis(functools.partial(self._forward, axes))
    return forward(x, timesteps, text, mask, augmentation_timesteps, guidance_scale)

  def frame_axes(self, num_frames: int, height: int, width: int) -> list[str | None]:
    """For each level, the mesh axis that its frames are split over; None where every device has all of them.

    Raises:
      ValueError: if the clip's frames do not divide evenly over the mesh axis.
    """
    devices, last = layout.axis_size(layout.FRAMES), self.image.config.coarsest
    if num_frames % devices:
      raise ValueError(
        f"{num_frames} frames do not divide over the {devices} devices that share a clip"
      )
    axes = []
    height, width = (side // self.image.config.patch_size for side in (height, width))
    for level, factor in enumerate((1, *self.temporal.factors)):
      num_frames //= factor
      places = (height >> level) * (width >> level)
      over_places = self.temporal.attention_depth and self.temporal.attention_over == "place"
      swapped = places if level == last and over_places else 0  # for frames, in attention
      divides = num_frames % devices == 0 and swapped % devices == 0
      axes.append(layout.FRAMES if devices > 1 and divides else None)
    return axes

  def _forward(self, axes, x, timesteps, text, mask, augmentation_timesteps, guidance_scale):
    """`axes` are those of `frame_axes`; x holds this device's own frames."""
    image, config = self.image, self.image.config
    b = len(x)
    embedding, *states = image.condition(timesteps, text, mask, augmentation_timesteps)
    if self.guidance_embedding is not None:
      told = layout.gathered(self.guidance_embedding, image.dtype)(GUIDANCE_UNIT * guidance_scale)
      embedding = embedding + ACTIVATIONS[config.activation](told)
    mask = None if config.attends_to_padding else mask
    added = embedding
    if self.text_pool is not None:
      pooled = layout.gathered(self.text_pool, image.dtype)(text, mask)
      added = embedding + ACTIVATIONS[config.activation](pooled)

    def spatial(layer, h, *conditioning):
      h = layer(einops.rearrange(h, "b t h w c -> (b t) h w c"), *conditioning)
      return einops.rearrange(h, "(b t) h w c -> b t h w c", b=b)

    def stage_and_inflation(stage, inflation, level: int, h):
      def run(modules, h, embedding, added, text, states, mask):
        stage, inflation = modules
        h = spatial(stage, h, embedding, *states)
        return inflation(h, added, text, mask, axes[level])

      given = (h, embedding, added, text, states, mask)
      remat = level in config.remat_levels
      return call(run, (stage, inflation), *given, dtype=image.dtype, remat=remat)

    def resample(level, added_level, before: int, after: int, h):
      """From level `before` to level `after`; time is resampled where the coarser one has its frames."""

      def run(modules, h, embedding):
        in_space, in_time = modules
        h = spatial(in_space, h, embedding)
        if axes[before] and not axes[after]:
          h = layout.whole(h)
        if in_time is not None:
          h = in_time(h, axes[max(before, after)])
        if axes[after] and not axes[before]:
          h = layout.own_frames(h)
        return h

      modules, remat = (level.resample, added_level.resample), before in config.remat_levels
      return call(run, modules, h, embedding, dtype=image.dtype, remat=remat)

    def first(convolution, x):
      convolution = layout.gathered(convolution, image.dtype)
      return spatial(lambda x: convolution(to_patches(x, config.patch_size)), x)

    x, condition = jnp.split(x.astype(image.dtype), [config.in_channels], axis=-1)
    h = first(image.conv_in, x)
    if self.condition_in is not None:
      h += first(self.condition_in, condition)
    skips = [h]
    for index, (level, added_level) in enumerate(zip(image.down, self.down, strict=True)):
      for stage, inflation in zip(level.stages, added_level.inflations, strict=True):
        h = stage_and_inflation(stage, inflation, index, h)
        skips.append(h)
      if level.resample is not None:
        h = resample(level, added_level, index, index + 1, h)
        skips.append(h)

    for stage, inflation in zip(image.middle.stages, self.middle.inflations, strict=True):
      h = stage_and_inflation(stage, inflation, config.coarsest, h)

    indices = range(config.coarsest, -1, -1)
    for index, level, added_level in zip(indices, image.up, self.up, strict=True):
      for stage, inflation in zip(level.stages, added_level.inflations, strict=True):
        h = stage_and_inflation(stage, inflation, index, jnp.concatenate([h, skips.pop()], axis=-1))
      if level.resample is not None:
        h = resample(level, added_level, index, index - 1, h)
    return spatial(image.head, h)


def check_fits(image: ImageUNetConfig, temporal: TemporalConfig):
  """Raises ValueError unless what inflation adds goes with the image network."""
  if len(temporal.factors) != image.coarsest:
    raise ValueError(
      f"temporal.factors={temporal.factors} must have {image.coarsest} entries: one per resampling of "
      f"{len(image.channels)} levels"
    )
  width = image.channels[image.coarsest]
  if temporal.attention_depth and width % temporal.head_dim:
    raise ValueError(f"temporal.head_dim={temporal.head_dim} does not divide {width} channels")


def check_num_frames(num_frames: int, total_factor: int, name: str = "num_frames"):
  """Raises ValueError, naming the nearest numbers that work, unless `num_frames` is a positive multiple."""
  if num_frames < 1 or num_frames % total_factor:
    below = max(num_frames // total_factor, 1) * total_factor
    raise ValueError(
      f"{name}={num_frames} must be a multiple of {total_factor}, the network's total temporal factor: "
      f"{below} or {below + total_factor} would do"
    )
