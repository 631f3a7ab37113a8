"""Miniature image super-resolution, 16x16 -> 64x64, trained on 32x32 crops.

python train.py --config=configs/ssr_image_tiny.py --workdir=runs/ssr_image_tiny
"""

from ml_collections import ConfigDict

from configs import common


def get_config() -> ConfigDict:
  config = ConfigDict()
  config.stage = "ssr_image"
  config.seed = 0
  config.dtype = "auto"
  config.init_from = ""
  config.model = common.tiny_ssr_unet()
  config.super_resolution = dict(factor=4, crop=32)
  config.diffusion = common.diffusion(prediction="x0")  # clean from few steps on
  config.data = common.tiny_clips(num_frames=1, resolution=64)
  config.optimizer = common.tiny_optimizer(1e-3)
  config.mesh = dict(fsdp=1, frames=1)
  config.train = dict(
    num_steps=350,
    batch_size=16,
    num_microbatches=1,
    frozen_dtype="float32",
    ema_decay=0.98,
    log_every=100,
    eval_every=0,
    eval_batches=4,
    sample_every=0,
    num_samples=4,
    checkpoint_every=350,
    max_checkpoints=2,
    profile_steps=0,
  )
  # Windows as the paper's: consecutive ones share 2 frames.
  config.sampling = dict(
    sampler="ddim",
    num_steps=4,
    threshold=dict(name="static"),
    window=8,
    stride=6,
    windows_per_batch=1,
    augmentation_level=0.1,
  )
  return config
