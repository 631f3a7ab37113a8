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
  channels=(8, 16),
  num_res_blocks=1,
  attention_levels=(1,),
  text_dim=12,
  text_pool="attention",
  pool_heads=2,
  head_dim=8,
  norm_groups=4,
)


def random_weights(abstract, seed: int):
  """Values for every weight, none at zero: layers that start at zero would hide mistakes."""
  rng = np.random.default_rng(seed)

  def draw(path, leaf):
    if path[-1].key == "kernel":
      scale = np.prod(leaf.shape[:-1]) ** -0.5
    else:
      scale = 0.1
    value = scale * rng.normal(size=leaf.shape) + (path[-1].key == "scale")
    return value.astype(leaf.dtype)

  return jax.tree_util.tree_map_with_path(draw, abstract)


def built(make, seed: int | None = None) -> nnx.Module:
  """`make()` as it starts; with a seed, with random weights everywhere."""
  rebuild, params, frozen = weights.split(nnx.eval_shape(make))
  if seed is None:
    return rebuild(*jax.jit(lambda: weights.split(make())[1:])())
  return rebuild(random_weights(params, seed), frozen)


def levels(count: int) -> dict:
  """What makes of CONFIG a network of so many levels, of which the coarsest attends."""
  return dict(channels=(8,) + (16,) * (count - 1), attention_levels=(count - 1,))


def image_unet(**changes) -> ImageUNet:
  """A miniature image network with random weights everywhere."""
  return _image_unet(tuple(sorted(changes.items())), nnx.set_graph_mode.current_value())()


@functools.cache
def _image_unet(changes, graph_mode):  # what Flax takes apart in one mode is put together in it
  config = ImageUNetConfig(**CONFIG | dict(changes))
  abstract = nnx.eval_shape(lambda: ImageUNet(config, rngs=weights.Seeds(0)))
  rebuild, params, frozen = weights.split(abstract)
  values = random_weights(params, seed=0)
  return lambda: rebuild(values, frozen)  # a fresh module each time: inflation freezes it in place


def video_unet(*factors: int, seed: int | None = None, **temporal) -> STUNet:
  """An inflated miniature with a level more than factors; with a seed, its added weights have left their starting point."""
  mode = nnx.set_graph_mode.current_value()
  rebuild, params, frozen = _inflated(factors, seed, tuple(sorted(temporal.items())), mode)
  return rebuild(params, frozen)


@functools.cache
def _inflated(factors, seed, temporal, graph_mode):
  config = TemporalConfig(factors, **dict(head_dim=8) | dict(temporal))
  sizes = levels(len(factors) + 1)
  image = ImageUNetConfig(**CONFIG | sizes)
  make = lambda: inflate(ImageUNet(image, rngs=weights.Seeds(0)), config, rngs=weights.Seeds(1))
  rebuild, params, frozen = weights.split(nnx.eval_shape(make))
  if seed is None:
    params = jax.jit(lambda: weights.split(make())[1])()
  else:
    params = random_weights(params, seed)
  return rebuild, params, weights.merge(frozen, weights.split(image_unet(**sizes))[1], ("image",))


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
