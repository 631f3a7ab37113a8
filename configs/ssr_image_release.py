"""A larger miniature, image super-resolution: 32x32 -> 128x128, trained on crops of 64x64, in patches of 4x4 pixels.

python train.py --config=configs/ssr_image_release.py --workdir=runs/release/ssr_image
"""

from ml_collections import ConfigDict

from configs import common, ssr_image_tiny


def get_config() -> ConfigDict:
  config = ssr_image_tiny.get_config()
  config.model = common.tiny_ssr_unet()
  config.model.update(channels=(48, 48), patch_size=4, embedding_dim=96)
  config.diffusion = common.release_diffusion()
  config.super_resolution = dict(factor=4, crop=64)
  config.data = common.endless_clips(num_frames=1, resolution=128)
  config.data.moving_shapes_endless.mosaics = 0.3  # so that it does not flatten what a style draws
  config.optimizer = common.tiny_optimizer(1e-3)
  config.train.update(
    num_steps=6000, batch_size=16, ema_decay=0.999, checkpoint_every=500, num_samples=8
  )
  return config
