"""Miniature text-to-image: 16x16 images of moving shapes, with the text encoder. The first stage of `make demo`.

python train.py --config=configs/t2i_tiny.py --workdir=runs/t2i_tiny
"""

from ml_collections import ConfigDict

from configs import common


def get_config() -> ConfigDict:
  config = ConfigDict()
  config.stage = "t2i"
  config.seed = 0
  config.dtype = "auto"
  config.init_from = ""
  config.model = common.tiny_image_unet()
  config.text = common.tiny_text()
  config.diffusion = common.diffusion()
  config.data = common.tiny_clips(num_frames=1, resolution=16)
  config.optimizer = common.tiny_optimizer(2e-3)
  config.mesh = dict(fsdp=1, frames=1)
  config.train = dict(
    num_steps=950,
    batch_size=32,
    num_microbatches=1,
    frozen_dtype="float32",
    ema_decay=0.99,
    log_every=100,
    eval_every=0,
    eval_batches=4,
    sample_every=0,
    num_samples=8,
    checkpoint_every=475,
    max_checkpoints=2,
    profile_steps=0,
  )
  config.sampling = dict(
    sampler="dpm++", num_steps=16, guidance_scale=4.0, threshold=dict(name="static")
  )
  return config
