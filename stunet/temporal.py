"""The layers that turn an image network into a video network (Lumiere, section 3.1 and Fig. 4).

Both inflation blocks add to the pretrained layers' output, and add nothing at initialisation:

    y = S(x) + proj(temporal(S(x))),   proj = 0 at the start                                                    (1)

    convolution-based (Fig. 4b): temporal = 1x3x3 conv, norm, act, 3x1x1 conv, norm, act
    attention-based   (Fig. 4c): temporal = attention over the frames of one place (pixel); several blocks in a row

Time is halved and doubled with identity-initialised convolutions (Appendix B), so that at initialisation

    down(x)[i] = x[2 i],   up(x)[i] = x[i // 2]: nearest neighbour.                                              (2)

A 1x3x3 convolution runs as a 2-D one over (b t) images, and a 3x1x1 convolution as a 1-D one over (b h w) series: 5-D
convolutions are slow on every backend. All norms see one frame at a time. `axis` is the mesh axis that the frames are split
over; None if every device has all frames.

In the paper attention sees the frames of one place, and these blocks have no other input. With `over="clip"` it sees all places
of all frames, which at the coarsest level are few: a thing that moves does not stay in its place. There a learned bias says how
much each head attends to what is so many frames and places away. With `conditioned` the blocks also take the noise level and the
caption, as the image network's own blocks do: the embedding scales and shifts a norm, and text keys precede the frames' keys.
"""

import einops
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Bool, Float

from stunet.attention import attend, split_heads
from stunet.blocks import (
  ACTIVATIONS,
  FeedForward,
  conv3x3,
  group_norm,
  layer_norm,
  over_frames,
  scale_shift,
)
from stunet.embeddings import sinusoids
from stunet.layout import own_frames, to_frames, to_places, whole, with_neighbours

Features = Float[Array, "b t h w c"]


def identity_init(key, shape, dtype=jnp.float32):
  """Kernel [k, c, c] of an odd-sized 1-D convolution that copies its input."""
  size, c_in, c_out = shape
  if size % 2 == 0 or c_in != c_out:
    raise ValueError(
      f"no identity of kernel shape {shape}: the size must be odd and the widths equal"
    )
  return jnp.zeros(shape, dtype).at[size // 2].set(jnp.eye(c_in, dtype=dtype))


class TemporalConv(nnx.Module):
  """A convolution along time, kernel 3."""

  def __init__(
    self, channels: int, *, stride: int = 1, identity: bool = False, dtype, rngs: nnx.Rngs
  ):
    init = {"kernel_init": identity_init} if identity else {}
    self.conv = nnx.Conv(
      channels, channels, (3,), stride, padding="VALID", dtype=dtype, rngs=rngs, **init
    )

  def __call__(self, x: Features, axis: str | None = None) -> Float[Array, "b t2 h w c"]:
    """Convolves along time; t2 = ceil(t / stride)."""
    b, _, h, w, _ = x.shape
    x = self.conv(einops.rearrange(with_neighbours(x, axis), "b t h w c -> (b h w) t c"))
    return einops.rearrange(x, "(b h w) t c -> b t h w c", b=b, h=h, w=w)


class TemporalDown(nnx.Module):
  """A convolution along time that keeps every second frame; at initialisation frames 0, 2, 4, ... as they are (2)."""

  def __init__(self, channels: int, *, dtype, rngs: nnx.Rngs):
    self.conv = TemporalConv(channels, stride=2, identity=True, dtype=dtype, rngs=rngs)

  def __call__(self, x: Features, axis: str | None = None) -> Float[Array, "b t2 h w c"]:
    """Halves the frames."""
    return self.conv(x, axis)


class TemporalUp(nnx.Module):
  """Repeats every frame, then a convolution along time; at initialisation plain repetition (2)."""

  def __init__(self, channels: int, *, dtype, rngs: nnx.Rngs):
    self.conv = TemporalConv(channels, identity=True, dtype=dtype, rngs=rngs)

  def __call__(self, x: Features, axis: str | None = None) -> Float[Array, "b t2 h w c"]:
    """Doubles the frames."""
    return self.conv(einops.repeat(x, "b t h w c -> b (t 2) h w c"), axis)


class ConvInflation(nnx.Module):
  """Convolution-based inflation block (Fig. 4b): the residual form (1) with a factorised space-time convolution."""

  def __init__(
    self, channels: int, embedding_dim: int, *, groups: int, activation: str, dtype, rngs: nnx.Rngs
  ):
    """`embedding_dim=0` is the paper's block; above 0 the block is conditioned (see the module docstring)."""
    self.activation = activation
    self.spatial = conv3x3(channels, channels, dtype, rngs)
    self.norm1 = group_norm(channels, groups, dtype, rngs)
    self.temporal = TemporalConv(channels, dtype=dtype, rngs=rngs)
    self.norm2 = group_norm(channels, groups, dtype, rngs)
    self.embedding = (
      nnx.Linear(embedding_dim, 2 * channels, dtype=dtype, rngs=rngs) if embedding_dim else None
    )
    self.proj = nnx.Linear(
      channels, channels, kernel_init=nnx.initializers.zeros, dtype=dtype, rngs=rngs
    )

  def __call__(
    self,
    x: Features,
    embedding: Float[Array, "b e"] | None = None,
    text=None,
    mask=None,
    axis: str | None = None,
  ) -> Features:
    """`embedding` is used if the block is conditioned; `text` and `mask` are ignored."""
    b, act = len(x), ACTIVATIONS[self.activation]
    h = einops.rearrange(x, "b t h w c -> (b t) h w c")
    h = act(self.norm1(self.spatial(h)))
    h = self.temporal(einops.rearrange(h, "(b t) h w c -> b t h w c", b=b), axis)
    h = einops.rearrange(h, "b t h w c -> (b t) h w c")
    h = self.norm2(h, scale_shift(self.embedding, embedding, len(h)))
    return x + einops.rearrange(self.proj(act(h)), "(b t) h w c -> b t h w c", b=b)


class TemporalAttention(nnx.Module):
  """Attention over the frames of each place, or over all places of all frames; residual, zero at initialisation.

  Positions are sinusoids: of the frame, and over a whole clip of the row and the column too, where an
  `OffsetBias` is added to the logits.
  """

  def __init__(
    self,
    channels: int,
    embedding_dim: int,
    text_dim: int,
    *,
    over: str,
    reach: tuple[int, int],
    head_dim: int,
    groups: int,
    dtype,
    rngs: nnx.Rngs,
  ):
    dense = lambda c_in, **kw: nnx.Linear(c_in, channels, dtype=dtype, rngs=rngs, **kw)
    self.over, self.head_dim, self.has_text = over, head_dim, text_dim > 0
    self.norm = group_norm(channels, groups, dtype, rngs)
    self.embedding = (
      nnx.Linear(embedding_dim, 2 * channels, dtype=dtype, rngs=rngs) if embedding_dim else None
    )
    self.bias = OffsetBias(channels // head_dim, *reach) if over == "clip" else None
    self.query, self.key, self.value = dense(channels), dense(channels), dense(channels)
    if self.has_text:
      self.text_norm = layer_norm(text_dim, dtype, rngs)
      self.text_key, self.text_value = dense(text_dim), dense(text_dim)
    self.proj = dense(channels, kernel_init=nnx.initializers.zeros)

  def __call__(
    self,
    x: Features,
    embedding: Float[Array, "b e"] | None = None,
    text: Float[Array, "b l d"] | None = None,
    mask: Bool[Array, "b l"] | None = None,
    axis: str | None = None,
  ) -> Features:
    """`embedding`, `text` and its `mask` are used if the block is conditioned."""
    b, _, height, width, _ = x.shape
    images = einops.rearrange(x, "b t h w c -> (b t) h w c")
    normed = self.norm(images, scale_shift(self.embedding, embedding, len(images)))
    normed = einops.rearrange(normed, "(b t) h w c -> b t h w c", b=b)
    if self.over == "clip":
      seen = normed if axis is None else whole(normed)
      seen += clip_positions(*seen.shape[1:]).astype(seen.dtype)[None]
      bias = self.bias(*seen.shape[1:4])
      own = seen if axis is None else own_frames(seen)
      bias = bias if axis is None else own_frames(bias)
      own, seen = (einops.rearrange(a, "b t h w c -> b (t h w) c") for a in (own, seen))
      bias = einops.rearrange(bias, "n t q k -> n (t q) k")
      h = self._attend(own, seen, text, mask, bias)
      h = einops.rearrange(h, "b (t h w) c -> b t h w c", h=height, w=width)
    else:
      series = to_places(einops.rearrange(normed, "b t h w c -> b t (h w) c"), axis)
      series = einops.rearrange(series, "b t p c -> (b p) t c")
      series += sinusoids(jnp.arange(series.shape[1]), series.shape[2]).astype(series.dtype)[None]
      h = self._attend(series, series, text, mask)
      h = to_frames(einops.rearrange(h, "(b p) t c -> b t p c", b=b), axis)
      h = einops.rearrange(h, "b t (h w) c -> b t h w c", h=height, w=width)
    return x + h

  def _attend(
    self, own: Float[Array, "n q c"], seen: Float[Array, "n k c"], text, mask, bias=None
  ) -> Float[Array, "n q c"]:
    """From `own` to the caption, which has a row per clip, and to `seen`."""
    n, length, _ = seen.shape
    key, value = self.key(seen), self.value(seen)
    if self.has_text:
      states = self.text_norm(text)
      key = jnp.concatenate([over_frames(self.text_key(states), n), key], axis=1)
      value = jnp.concatenate([over_frames(self.text_value(states), n), value], axis=1)
      text_mask = jnp.ones((n, text.shape[1]), bool) if mask is None else over_frames(mask, n)
      mask = jnp.pad(text_mask, ((0, 0), (0, length)), constant_values=True)
      if bias is not None:
        bias = jnp.pad(bias, ((0, 0), (0, 0), (text.shape[1], 0)))
    h = attend(
      *(split_heads(a, self.head_dim) for a in (self.query(own), key, value)),
      mask if self.has_text else None,
      bias,
    )
    return self.proj(einops.rearrange(h, "n q heads d -> n q (heads d)"))


class OffsetBias(nnx.Module):
  """A learned bias of attention over a clip, for each head and each offset in frames, rows and columns.

  Offsets of more than `frames` frames or `places` rows or columns share the bias of the last. The heads begin with
  neighbourhoods of different shapes: one place, one frame, a cone around the place, the places nearby.
  """

  # Per head, in turn: what the bias falls by a place and a frame away.
  SLOPES = ((3.0, 0.0), (0.0, 3.0), (1.0, 0.5), (2.0, 1.0))

  def __init__(self, num_heads: int, frames: int, places: int):
    self.frames, self.places = frames, places
    t, y, x = np.meshgrid(
      *(np.arange(-n, n + 1) for n in (frames, places, places)), indexing="ij", sparse=True
    )
    slopes = (self.SLOPES[head % len(self.SLOPES)] for head in range(num_heads))
    table = [-per_place * np.hypot(y, x) - per_frame * np.abs(t) for per_place, per_frame in slopes]
    self.table = nnx.Param(jnp.asarray(np.stack(table), jnp.float32))

  def __call__(self, num_frames: int, height: int, width: int) -> Float[Array, "n t q k"]:
    """The bias of each head at each place of each frame (q: the places of a frame) for all places of the clip."""

    def offsets(count, reach):
      where = np.arange(count)
      return np.clip(where - where[:, None], -reach, reach) + reach

    t = offsets(num_frames, self.frames)[:, None, None, :, None, None]
    y = offsets(height, self.places)[None, :, None, None, :, None]
    x = offsets(width, self.places)[None, None, :, None, None, :]
    bias = self.table[...][:, t, y, x]
    return einops.rearrange(bias, "n t h w t2 h2 w2 -> n t (h w) (t2 h2 w2)")


def clip_positions(num_frames: int, height: int, width: int, channels: int):
  """Sinusoids [t h w c] of frame, row and column, each in a third of the channels; what is left over is zero."""
  each = 2 * (channels // 6)
  axes = jnp.meshgrid(*(jnp.arange(n) for n in (num_frames, height, width)), indexing="ij")
  positions = jnp.concatenate([sinusoids(axis, each) for axis in axes], axis=-1)
  return jnp.pad(positions, ((0, 0), (0, 0), (0, 0), (0, channels - 3 * each)))


class AttentionInflation(nnx.Module):
  """Attention-based inflation (Fig. 4c): `depth` temporal attention blocks in a row.

  With `feed_forward` above 0 each is followed by a `FeedForward` whose hidden layer is so many times as wide, as in a transformer.
  """

  def __init__(
    self,
    channels: int,
    embedding_dim: int,
    text_dim: int,
    depth: int,
    *,
    over: str,
    reach: tuple[int, int],
    feed_forward: int,
    head_dim: int,
    groups: int,
    activation: str,
    dtype,
    rngs: nnx.Rngs,
  ):
    """`embedding_dim=0` and `text_dim=0` make the paper's block; above 0 it is conditioned (see the module docstring)."""
    kinds = dict(groups=groups, dtype=dtype, rngs=rngs)
    attention = lambda: TemporalAttention(
      channels, embedding_dim, text_dim, over=over, reach=reach, head_dim=head_dim, **kinds
    )
    dense = lambda: FeedForward(
      channels, feed_forward, embedding_dim, activation=activation, **kinds
    )
    self.blocks = nnx.List([attention() for _ in range(depth)])
    self.feed_forwards = nnx.List([dense() if feed_forward else None for _ in range(depth)])

  def __call__(
    self, x: Features, embedding=None, text=None, mask=None, axis: str | None = None
  ) -> Features:
    """All blocks in a row."""
    b = len(x)
    for block, feed_forward in zip(self.blocks, self.feed_forwards, strict=True):
      x = block(x, embedding, text, mask, axis)
      if feed_forward is not None:
        h = feed_forward(einops.rearrange(x, "b t h w c -> (b t) h w c"), embedding)
        x = einops.rearrange(h, "(b t) h w c -> b t h w c", b=b)
    return x
