"""The super-resolution network: a U-Net of the same family whose input is the noisy and the low-resolution image.

    prediction = unet(concat(z, c), timestep, augmentation timestep [, text])

`c` is the condition at the target's size (`augmentation.py`). The U-Net is an `ImageUNet` for images, or an `STUNet`
inflated from one. With temporal factors of 1 and convolutional inflation throughout, its temporal receptive field is short,
and it runs on short windows of any length.
"""

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float

from stunet.image_unet import ImageUNet, ImageUNetConfig
from stunet.stunet import STUNet


class SSRUNet(nnx.Module):
  """See the module docstring."""

  def __init__(self, unet: ImageUNet | STUNet):
    config = unet.image.config if isinstance(unet, STUNet) else unet.config
    check_channels(config)
    self.unet = unet

  def __call__(
    self,
    z: Float[Array, "b ... h w c"],
    timesteps: Float[Array, " b"],
    low_res: Float[Array, "b ... h w c"],
    augmentation_timesteps: Float[Array, " b"],
    text: Float[Array, "b l d"] | None = None,
    mask: Bool[Array, "b l"] | None = None,
  ) -> Float[Array, "b ... h w out"]:
    """Predicts from noisy images or videos.

    Args:
      z: noisy input.
      timesteps: its noise level, in [0, 1000].
      low_res: the condition, already upsampled to z's size and augmented.
      augmentation_timesteps: the condition's noise level, in [0, 1000].
      text: caption states, if the network takes text.
      mask: True where `text` is a real token.
    """
    x = jnp.concatenate([z, low_res], axis=-1)
    return self.unet(x, timesteps, text, mask, augmentation_timesteps)


def check_channels(config: ImageUNetConfig):
  """Raises ValueError unless the network takes a noisy and a low-resolution image."""
  if config.in_channels != 6:
    raise ValueError(
      f"in_channels={config.in_channels} must be 6 in a super-resolution network: noisy and low-resolution channels"
    )
