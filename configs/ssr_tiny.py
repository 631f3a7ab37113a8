"""Miniature video super-resolution on windows of 8 frames, inflated from configs/ssr_image_tiny.py, which stays frozen.

python train.py --config=configs/ssr_tiny.py --workdir=runs/ssr_tiny --config.init_from=runs/ssr_image_tiny
"""

from ml_collections import ConfigDict

from configs import common, ssr_image_tiny


def get_config() -> ConfigDict:
  config = ssr_image_tiny.get_config()
  config.stage = "ssr"
  # Convolutions only and no temporal resampling: a short reach in time, for short windows.
  config.temporal = dict(factors=(1, 1), attention_depth=0, conditioned=False)
  config.data = common.tiny_clips(num_frames=8, resolution=64)
  config.train.update(num_steps=150, batch_size=2, checkpoint_every=75)
  return config
