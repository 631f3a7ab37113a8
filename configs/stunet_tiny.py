"""Miniature text-to-video: 16 frames of 16x16 at 8 fps, inflated from the network of configs/t2i_tiny.py, which stays frozen.

python train.py --config=configs/stunet_tiny.py --workdir=runs/stunet_tiny --config.init_from=runs/t2i_tiny
"""

from ml_collections import ConfigDict

from configs import common, t2i_tiny


def get_config() -> ConfigDict:
  config = t2i_tiny.get_config()
  config.stage = "stunet"
  # Time is halved wherever space is (paper, Fig. 4): 16 -> 8 -> 4 frames. `conditioned` is ours: the miniature text
  # encoder was trained on single images, so the added blocks read the caption themselves.
  config.temporal = dict(factors=(2, 2), attention_depth=1, head_dim=16, conditioned=True)
  config.data = common.tiny_clips(num_frames=16, resolution=16)
  config.optimizer = common.tiny_optimizer(2e-3)
  config.train.update(num_steps=500, batch_size=8, checkpoint_every=250)
  config.sampling.guidance_scale = 4.0
  config.evaluation = dict(every=0, metrics=("kvd",), num_videos=64, i3d="")
  return config
