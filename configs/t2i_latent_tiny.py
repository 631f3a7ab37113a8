"""Miniature text-to-image in latents: 32x32 pictures of the endless world, as 4 channels of 8x8 places.

The network is that of configs/t2i_tiny.py at half of its sizes' resolution; scripts/train_autoencoder.py makes the autoencoder.

python scripts/train_autoencoder.py --out=runs/autoencoder
python train.py --config=configs/t2i_latent_tiny.py --workdir=runs/t2i_latent_tiny
"""

from ml_collections import ConfigDict

from configs import common, t2i_release


def get_config() -> ConfigDict:
  config = t2i_release.get_config()
  config.autoencoder = dict(
    channels=(16, 32, 64),
    num_res_blocks=1,
    in_channels=3,
    latent_channels=4,
    norm_groups=8,
    scaling_factor=1.0,
  )
  config.autoencoder_from = "runs/autoencoder"
  config.model.update(patch_size=1, in_channels=4, out_channels=4)
  config.diffusion = common.diffusion("v")
  config.sampling.threshold = dict(name="none")
  return config
