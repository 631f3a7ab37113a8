"""Image super-resolution 128x128 -> 1024x1024: the network that `ssr_base` inflates and freezes.

The paper says only that its text-to-image model's own super-resolution is inflated. Sizes follow Imagen's 256 -> 1024
network (2205.11487, appendix F): no self-attention, caption attention at the coarsest level, trained on crops.

Hardware: a TPU pod; not trained by us.

python train.py --config=configs/ssr_image_base.py --workdir=gs://BUCKET/ssr_image_base --config.data.folder=FOLDER
"""

from ml_collections import ConfigDict

from configs import common, t2i_base


def get_config() -> ConfigDict:
  config = t2i_base.get_config()
  config.stage = "ssr_image"
  config.model = dict(
    channels=(128, 256, 512, 1024),  # Imagen
    num_res_blocks=(2, 4, 8, 8),  # Imagen
    attention_levels=(3,),  # Imagen: the 1024 block only
    self_attention=False,  # Imagen
    in_channels=6,
    augmentation_embedding=True,  # Imagen
    text_dim=4096,
    cross_attention_dim=1024,  # ours
    text_pool="attention",
    pool_heads=64,
    head_dim=128,  # Imagen: 8 heads of 1024
    residual_scale=2**-0.5,  # DeepFloyd IF's; Imagen scales the skips
    remat_levels=(0, 1),  # ours
  )
  config.super_resolution = dict(
    factor=8, crop=256
  )  # paper: 128 -> 1024; Imagen trains on 256 crops
  # Ours: the schedule of the base, shifted for 1024 pixels, 2 log(64 / 1024).
  config.diffusion = dict(
    schedule=dict(name="cosine", log_snr_shift=-5.545), prediction="v", weighting="uniform"
  )
  config.data.resolution = 1024  # paper
  config.data.video_folder = dict(num_frames=80, resolution=common.size(1024))
  config.optimizer.name = "adam"  # Imagen's super-resolution
  config.sampling = dict(
    sampler="ddim",
    num_steps=32,  # ours
    guidance_scale=4.0,  # DeepFloyd IF-II's default
    threshold=dict(name="dynamic", percentile=0.995),
    window=8,  # ours: 8-frame windows that share 2 frames tile 80 frames exactly
    stride=6,  # paper: overlap of 2 frames
    windows_per_batch=1,
    augmentation_level=0.2,  # Imagen: 0.1 to 0.3
  )
  return config
