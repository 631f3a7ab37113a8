"""From an image network to a space-time network: the image network is frozen, temporal layers are added."""

from flax import nnx

from stunet.image_unet import ImageUNet
from stunet.stunet import STUNet, TemporalConfig


class Frozen(nnx.Variable):
  """A pretrained weight. As it is not an `nnx.Param`, it is not trained, averaged or decayed."""


def freeze(module: nnx.Module) -> nnx.Module:
  """Turns every parameter in `module` into a `Frozen`, in place; returns the module."""
  for _, part in nnx.iter_modules(module):
    for name, value in vars(part).items():
      if isinstance(value, nnx.Param):
        setattr(part, name, Frozen(value.get_value(), **value.get_metadata()))
  return module


def inflate(image: ImageUNet, temporal: TemporalConfig, *, rngs: nnx.Rngs) -> STUNet:
  """A Space-Time U-Net around `image`, whose weights are frozen in place.

  At initialisation its output on frames 0, N, 2N, ... equals the image network's, where N = temporal.total_factor.

  Args:
    image: the image network, with its pretrained weights or before they are loaded.
    temporal: what to add.
    rngs: for the added weights.
  """
  return STUNet(freeze(image), temporal, rngs=rngs)
