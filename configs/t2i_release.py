"""The released miniature, text-to-image: 32x32 pictures of one or two moving shapes, drawn without end.

Shape is decided while there is much noise, and across the whole thing: so levels are drawn with more weight there, and the
network works on 8x8 patches of 4x4 pixels, with attention, where a place costs little. All of scripts/train_release.py.

python train.py --config=configs/t2i_release.py --workdir=runs/release/t2i
"""

from ml_collections import ConfigDict

from configs import common


def get_config() -> ConfigDict:
  config = ConfigDict()
  config.stage = "t2i"
  config.seed = 0
  config.dtype = "auto"
  config.init_from = ""
  config.model = dict(
    channels=(96, 96),
    patch_size=4,
    num_res_blocks=1,
    attention_levels=(0, 1),
    text_dim=64,
    text_pool="attention",
    pool_heads=4,
    head_dim=32,
    embedding_dim=128,
    norm_groups=8,
  )
  config.text = common.release_text()
  config.diffusion = common.diffusion()
  config.data = common.endless_clips(num_frames=1, resolution=32)
  config.optimizer = common.tiny_optimizer(2e-3)
  config.mesh = dict(fsdp=1, frames=1)
  config.train = dict(
    num_steps=12_000,
    batch_size=32,
    num_microbatches=1,
    frozen_dtype="float32",
    log_snr_shift=-2.0,
    log_snr_spread=1.2,
    ema_decay=0.999,
    averages=(0.05, 0.1),
    log_every=100,
    eval_every=0,
    eval_batches=4,
    sample_every=0,
    num_samples=8,
    checkpoint_every=1000,
    max_checkpoints=3,
    profile_steps=0,
  )
  config.sampling = dict(
    sampler="dpm++",
    num_steps=16,
    log_snr_shift=-1.4,
    guidance_scale=3.0,
    threshold=dict(name="static"),
  )
  return config
