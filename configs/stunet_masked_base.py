"""Conditional text-to-video at the paper's size: `stunet_base` with known pixels as input (paper, section 4).

The 7-channel input is the paper's. It does not say which weights are fine-tuned, on which masks and how long: these are ours.

Hardware: a TPU pod; not trained by us.

python train.py --config=configs/stunet_masked_base.py --workdir=gs://BUCKET/stunet_masked_base --config.init_from=gs://BUCKET/stunet_base --config.data.folder=FOLDER
"""

from ml_collections import ConfigDict

from configs import common, stunet_base


def get_config() -> ConfigDict:
  config = stunet_base.get_config()
  config.temporal.condition_channels = 4  # paper: masked video and mask
  config.masks = dict(shares=common.mask_shares())
  config.train.update(num_steps=50_000)  # ours
  return config
