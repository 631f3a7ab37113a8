"""Text-to-video from DeepFloyd IF-I, inflated and frozen: 80 frames of 64x64 at 16 fps.

The size is chosen after a colon: M (0.37B weights, the default), L (0.94B) or XL (4.3B). Captions come as T5-v1.1-XXL
states. IF's weights, and models trained from them, are for non-commercial research only.

Hardware: M on one large accelerator, XL on a pod; not trained by us.

python -m lumiere.convert --source=IF-I-M-v1.0 --out=runs/if_m
python -m lumiere.convert --source=t5-v1_1-xxl --out=runs/t5_xxl
python -m lumiere.embed --config=configs/stunet_if.py:M --text_encoder=runs/t5_xxl --out=embeddings
python train.py --config=configs/stunet_if.py:M --config.init_from=runs/if_m --workdir=runs/stunet_if
"""

from ml_collections import ConfigDict

from configs import stunet_base

CHANNELS = {
  "M": (192, 384, 576, 768),
  "L": (320, 640, 960, 1280),
  "XL": (704, 1408, 2112, 2816),
}


def get_config(size: str = "M") -> ConfigDict:
  if size not in CHANNELS:
    raise ValueError(f"the size {size!r} must be one of {', '.join(CHANNELS)}")
  config = stunet_base.get_config()
  # All of this is IF's; the config in a checkpoint must say the same.
  config.model = dict(
    channels=CHANNELS[size],
    num_res_blocks=3,
    attention_levels=(1, 2, 3),
    out_channels=6,  # the predicted variance: not trained on videos, and not used
    text_dim=4096,
    cross_attention_dim=CHANNELS[size][-1],
    text_norm="group",
    text_pool="attention",
    pool_heads=64,
    attends_to_padding=True,
    head_dim=64,
    activation="gelu",
    remat_levels=(0, 1, 2, 3),  # ours
  )
  config.text = dict(encoder=None, max_length=77, drop_rate=0.1, null="empty")
  config.diffusion = ConfigDict(
    dict(
      schedule=dict(name="squaredcos_cap_v2", num_timesteps=1000, spacing="leading"),
      prediction="eps",
      weighting="uniform",
    )
  )
  config.temporal.factors = (2, 2, 2)  # ours: 80 -> 10 frames over three resamplings
  config.data.resolution = 64
  config.data.video_folder.resolution = 64
  config.sampling = dict(
    sampler="ddpm",
    num_steps=100,
    guidance_scale=7.0,
    threshold=dict(name="dynamic", percentile=0.95, maximum=1.5),
  )
  return config
