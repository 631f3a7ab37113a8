"""A larger miniature, text-to-video with known pixels: 16 frames of 32x32 at 8 fps, around configs/t2i_release.py.

Conditional from the first step on; nearly half of the clips come without known pixels. A clip's frames say the same over and
over, so that its motion is decided at more noise than a picture's layout: levels are shifted further.

python train.py --config=configs/stunet_release.py --workdir=runs/release/stunet --config.init_from=runs/release/t2i
"""

from ml_collections import ConfigDict

from configs import common, t2i_release


def get_config() -> ConfigDict:
  config = t2i_release.get_config()
  config.stage = "stunet"
  # About one over the error at each noise level, so that each counts alike: motion is read where there is little noise first.
  config.diffusion.update(weighting="power", snr_power=0.25)
  config.temporal = dict(
    factors=(2,),
    attention_depth=1,
    attention_over="clip",  # 4x4 places of 8 frames: things move from one to another
    feed_forward=4,
    head_dim=32,
    conditioned=True,
    condition_channels=4,
  )
  config.masks = dict(shares=common.mask_shares())
  config.masks.shares.none = 0.7  # nearly half
  config.data = common.endless_clips(num_frames=16, resolution=32)
  config.optimizer = common.release_optimizer()
  config.train.update(
    num_steps=20_000, batch_size=32, log_snr_shift=-4.0, log_snr_spread=0.7, checkpoint_every=500
  )
  config.sampling.log_snr_shift = -2.0
  return config
