"""A larger miniature, video super-resolution on windows of 8 frames, around configs/ssr_image_release.py.

python train.py --config=configs/ssr_release.py --workdir=runs/release/ssr --config.init_from=runs/release/ssr_image
"""

from ml_collections import ConfigDict

from configs import common, ssr_image_release


def get_config() -> ConfigDict:
  config = ssr_image_release.get_config()
  config.stage = "ssr"
  # Convolutions only and no temporal resampling: a short reach in time, for short windows.
  config.temporal = dict(factors=(1,), attention_depth=0, conditioned=False)
  config.data = common.endless_clips(num_frames=8, resolution=128)
  config.data.moving_shapes_endless.mosaics = 0.3  # so that it does not flatten what a style draws
  config.train.update(num_steps=2000, batch_size=4, checkpoint_every=250)
  return config
