"""A larger miniature, text-to-image: 32x32 pictures of one or two moving shapes, drawn without end.

Shape is decided while there is much noise, and across the whole thing: so levels are drawn with more weight there, and most of
the network is a transformer in the middle, on 4x4 places of 8x8 pixels, between light levels that take patches of 4x4 pixels
(Hoogeboom et al., 2023). It predicts x0: noise has all 48 values of a patch, which v and eps would have to carry through the
network, a picture of flat colours has few (Li and He, 2025).
All of scripts/train_release.py.

python train.py --config=configs/t2i_release.py --workdir=runs/release/t2i
"""

from ml_collections import ConfigDict

from configs import common, t2i_tiny


def get_config() -> ConfigDict:
  config = t2i_tiny.get_config()
  config.model = dict(
    channels=(32, 128),
    patch_size=4,
    num_res_blocks=1,
    attention_levels=(1,),
    middle_transformers=3,
    up_narrows=True,
    text_dim=64,
    text_pool="attention",
    pool_heads=4,
    head_dim=32,
    embedding_dim=128,
    norm_groups=8,
  )
  config.diffusion = common.release_diffusion()
  config.text = common.release_text()
  config.data = common.endless_clips(num_frames=1, resolution=32)
  config.optimizer = common.release_optimizer()
  config.train.update(
    num_steps=12_000,
    log_snr_shift=-2.0,
    log_snr_spread=1.2,
    ema_decay=0.999,
    averages=(0.05, 0.1),
    checkpoint_every=1000,
    max_checkpoints=3,
  )
  config.sampling.update(log_snr_shift=-1.4, guidance_scale=3.0)
  return config
