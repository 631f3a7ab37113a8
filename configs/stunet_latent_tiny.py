"""Miniature text-to-video in latents: 16 frames of 32x32 at 8 fps, around configs/t2i_latent_tiny.py, which stays frozen.

With known pixels from the first step on, as configs/stunet_release.py.

python train.py --config=configs/stunet_latent_tiny.py --workdir=runs/stunet_latent_tiny --config.init_from=runs/t2i_latent_tiny
"""

from ml_collections import ConfigDict

from configs import stunet_release, t2i_latent_tiny


def get_config() -> ConfigDict:
  config = stunet_release.get_config()
  latent = t2i_latent_tiny.get_config()
  for section in ("model", "autoencoder", "diffusion"):
    config[section] = latent[section]
  config.sampling.threshold = latent.sampling.threshold
  config.temporal.condition_channels = config.model.in_channels + 1
  return config
