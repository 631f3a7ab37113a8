"""TransNet V2 (Soucek and Lokoc, 2020), a network that sees cuts and gradual transitions in 100 small frames at a time.

    frames [t 27 48 3]  ->  3 blocks of dilated convolutions, each half as high and wide as the one before
    similarity          ->  of the blocks' means, and of colour histograms: frame i with frames i - 50 .. i + 50
    dense layers        ->  a logit a frame: how sure it is that the frame is the last one of its shot, or in a transition

A convolution in space and four ones in time, with dilations 1, 2, 4, 8, make up a layer. The batch norm after them is part of the
weights here: y = x * scale + bias.
"""

import einops
import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Int, UInt8

HEIGHT, WIDTH = 27, 48
WINDOW, STEP = 100, 50
DILATIONS = (1, 2, 4, 8)
FILTERS = (16, 32, 64)
# Frames before and after that a frame is compared with.
_REACH = 50


class Layer(nnx.Module):
  """Convolutions in space, then in time with several dilations side by side."""

  def __init__(self, c_in: int, filters: int, *, rngs: nnx.Rngs):
    count, init = len(DILATIONS), nnx.initializers.lecun_normal()
    # Each dilation has its own two filters' width of it.
    self.spatial = nnx.Conv(c_in, count * 2 * filters, (3, 3), use_bias=False, rngs=rngs)
    self.temporal = nnx.Param(init(rngs.params(), (count, 3 * 2 * filters, filters)))
    self.scale = nnx.Param(jnp.ones(count * filters))
    self.bias = nnx.Param(jnp.zeros(count * filters))

  def __call__(self, x: Float[Array, "b t h w c"]) -> Float[Array, "b t h w d"]:
    """The same size; no activation."""
    t = x.shape[1]
    y = self.spatial(einops.rearrange(x, "b t h w c -> (b t) h w c"))
    parts = jnp.split(einops.rearrange(y, "(b t) h w c -> b t h w c", t=t), len(DILATIONS), axis=-1)
    outputs = []
    for part, kernel, dilation in zip(parts, self.temporal[...], DILATIONS, strict=True):
      padded = jnp.pad(part, [(0, 0), (dilation, dilation), (0, 0), (0, 0), (0, 0)])
      seen = [padded[:, i * dilation : i * dilation + t] for i in range(3)]
      outputs.append(jnp.concatenate(seen, axis=-1) @ kernel)
    y = jnp.concatenate(outputs, axis=-1)
    scale, bias = (jnp.broadcast_to(x[...], y.shape) for x in (self.scale, self.bias))
    return y * scale + bias


class Block(nnx.Module):
  """Two layers, around which the first one's output goes, and a mean over 2x2 pixels."""

  def __init__(self, c_in: int, filters: int, *, rngs: nnx.Rngs):
    width = len(DILATIONS) * filters
    self.first = Layer(c_in, filters, rngs=rngs)
    self.second = Layer(width, filters, rngs=rngs)

  def __call__(self, x: Float[Array, "b t h w c"]) -> Float[Array, "b t h2 w2 d"]:
    """Half the size, rounded down."""
    first = nnx.relu(self.first(x))
    x = nnx.relu(self.second(first)) + first
    return nnx.avg_pool(x, (1, 2, 2), (1, 2, 2), "VALID")


class TransNet(nnx.Module):
  """See the head of this file."""

  def __init__(self, *, rngs: nnx.Rngs):
    width, blocks = 3, []
    for filters in FILTERS:
      blocks.append(Block(width, filters, rngs=rngs))
      width = len(DILATIONS) * filters
    self.blocks = nnx.List(blocks)
    self.projection = nnx.Linear(sum(len(DILATIONS) * f for f in FILTERS), 128, rngs=rngs)
    self.similarity = nnx.Linear(2 * _REACH + 1, 128, rngs=rngs)
    self.histogram = nnx.Linear(2 * _REACH + 1, 128, rngs=rngs)
    self.dense = nnx.Linear(128 + 128 + (HEIGHT // 8) * (WIDTH // 8) * width, 1024, rngs=rngs)
    self.last_frame = nnx.Linear(1024, 1, rngs=rngs)
    self.all_frames = nnx.Linear(1024, 1, rngs=rngs)

  def __call__(
    self, frames: UInt8[Array, "b t 27 48 3"]
  ) -> tuple[Float[Array, "b t"], Float[Array, "b t"]]:
    """(logits of the one frame that stands for a transition, logits of all frames in one)."""
    x, means = frames / jnp.float32(255), []
    for block in self.blocks:
      x = block(x)
      means.append(x.mean(axis=(2, 3)))
    projected = normalised(self.projection(jnp.concatenate(means, axis=-1)))
    parts = [
      nnx.relu(self.histogram(neighbours(colour_histograms(frames)))),
      nnx.relu(self.similarity(neighbours(projected))),
      einops.rearrange(x, "b t h w c -> b t (h w c)"),
    ]
    x = nnx.relu(self.dense(jnp.concatenate(parts, axis=-1)))
    return self.last_frame(x)[..., 0], self.all_frames(x)[..., 0]


def colour_histograms(frames: UInt8[Array, "b t h w 3"]) -> Float[Array, "b t 512"]:
  """Of 8x8x8 colours, with length 1."""
  coarse = (frames >> 5).astype(jnp.int32)
  bins = einops.rearrange(coarse @ jnp.array([64, 8, 1]), "b t h w -> b t (h w)")
  count = lambda values: jnp.bincount(values, length=512)
  return normalised(jax.vmap(jax.vmap(count))(bins).astype(jnp.float32))


def normalised(x: Float[Array, "*b c"]) -> Float[Array, "*b c"]:
  """With length 1; zeros stay."""
  return x / jnp.maximum(jnp.linalg.norm(x, axis=-1, keepdims=True), 1e-12)


def neighbours(x: Float[Array, "b t c"]) -> Float[Array, "b t 101"]:
  """The product of each frame with those before and after it; 0 where there are none."""
  products = jnp.einsum("btc,bsc->bts", x, x)
  padded = jnp.pad(products, [(0, 0), (0, 0), (_REACH, _REACH)])
  places: Int[np.ndarray, "t 101"] = np.arange(x.shape[1])[:, None] + np.arange(2 * _REACH + 1)
  return jnp.take_along_axis(padded, jnp.asarray(places)[None], axis=2)
