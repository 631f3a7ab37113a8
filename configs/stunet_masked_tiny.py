"""Miniature conditional text-to-video: also takes known pixels, for image-to-video, in- and outpainting and continuations.

Fine-tunes the temporal layers of configs/stunet_tiny.py, and a first convolution for the known pixels, which starts at zero
(paper, section 4). The kinds of masks and their shares are ours; the paper gives none.

python train.py --config=configs/stunet_masked_tiny.py --workdir=runs/stunet_masked_tiny --config.init_from=runs/stunet_tiny
"""

from ml_collections import ConfigDict

from configs import common, stunet_tiny


def get_config() -> ConfigDict:
  config = stunet_tiny.get_config()
  config.temporal.condition_channels = 4
  config.masks = dict(shares=common.mask_shares())
  config.optimizer = common.tiny_optimizer(2e-3)
  config.train.update(num_steps=1500, checkpoint_every=250)
  return config
