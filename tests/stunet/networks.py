"""Small networks whose every weight matters."""

import functools

import jax
import numpy as np
from flax import nnx

from lumiere import weights
from stunet.image_unet import ImageUNet, ImageUNetConfig
from stunet.inflation import inflate
from stunet.stunet import STUNet, TemporalConfig

CONFIG = dict(
  channels=(8, 16, 16),
  num_res_blocks=1,
  attention_levels=(1, 2),
  text_dim=12,
  pool_heads=2,
  head_dim=8,
  norm_groups=4,
)


def built(make, seed: int | None = None) -> nnx.Module:
  """`make()` compiled as one program; with a seed, noise on every weight: layers that start at zero would hide mistakes."""
  rebuild, *_ = weights.split(nnx.eval_shape(make))
  values = jax.jit(lambda: weights.split(make())[1:])()
  if seed is not None:
    noise = np.random.default_rng(seed)
    values = jax.tree.map(
      lambda leaf: leaf + 0.1 * noise.normal(size=leaf.shape).astype(np.float32), values
    )
  return rebuild(*values)


def image_unet(**changes) -> ImageUNet:
  """A miniature image network with random weights everywhere."""
  return _image_unet(tuple(sorted(changes.items())))()


@functools.cache
def _image_unet(changes):
  model = built(
    lambda: ImageUNet(ImageUNetConfig(**CONFIG | dict(changes)), rngs=nnx.Rngs(0)), seed=0
  )
  rebuild, params, frozen = weights.split(model)
  return lambda: rebuild(params, frozen)  # a fresh module each time: inflation freezes it in place


def video_unet(*factors: int, seed: int | None = None, **temporal) -> STUNet:
  """An inflated miniature; with a seed, its added weights have left their starting point."""
  image = image_unet()
  config = TemporalConfig(factors, **dict(head_dim=8) | temporal)
  video = built(
    lambda: inflate(ImageUNet(image.config, rngs=nnx.Rngs(0)), config, rngs=nnx.Rngs(1)), seed
  )
  rebuild, params, frozen = weights.split(video)
  return rebuild(params, weights.merge(frozen, weights.split(image)[1], ("image",)))


def run(model: nnx.Module, *args):
  """`model(*args)` as one compiled program."""
  rebuild, params, frozen = weights.split(model)
  return jax.jit(lambda params, frozen, *args: rebuild(params, frozen)(*args))(
    params, frozen, *args
  )


def inputs(batch: int, *shape: int, text_dim: int = 12):
  """Random (x, timesteps, text, mask)."""
  keys = jax.random.split(jax.random.key(7), 3)
  x = jax.random.normal(keys[0], (batch, *shape, 3))
  text = jax.random.normal(keys[1], (batch, 5, text_dim))
  mask = jax.numpy.arange(5)[None] < jax.numpy.array([3, 5, 1, 4])[:batch, None]
  return x, jax.random.uniform(keys[2], (batch,), maxval=1000.0), text, mask
