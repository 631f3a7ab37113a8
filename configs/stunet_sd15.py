"""Text-to-video from Stable Diffusion 1.5, inflated and frozen: 80 frames of 512x512 at 16 fps, in latents of 64x64.

Frozen are the U-Net and the autoencoder of a converted folder, or of any fine-tune of it. Captions come as states of its CLIP text
encoder, which `lumiere.embed` writes.

python -m lumiere.convert --source=stable-diffusion-v1-5 --out=runs/sd15
python -m lumiere.convert --source=stable-diffusion-v1-5/text_encoder --out=runs/clip
python train.py --config=configs/stunet_sd15.py --config.init_from=runs/sd15 --workdir=runs/stunet_sd15
"""

from ml_collections import ConfigDict

from configs import common, stunet_base


def get_config() -> ConfigDict:
  config = stunet_base.get_config()
  # All of this is Stable Diffusion's; the config in a checkpoint must say the same.
  config.model = dict(
    channels=(320, 640, 1280, 1280),
    num_res_blocks=2,
    attention_levels=(0, 1, 2),
    in_channels=4,
    out_channels=4,
    text_dim=768,
    text_norm="none",
    attends_to_padding=True,
    num_heads=8,
    transformer_depth=1,
    scale_shift=False,
    plain_resampling=True,
    remat_levels=(0, 1),  # ours
  )
  config.autoencoder = dict(
    channels=(128, 256, 512, 512), num_res_blocks=2, latent_channels=4, scaling_factor=0.18215
  )
  config.text = dict(encoder=None, max_length=77, drop_rate=0.1, null="empty")
  config.diffusion = ConfigDict(
    dict(
      schedule=dict(name="scaled_linear", beta_start=0.00085, beta_end=0.012, spacing="leading"),
      prediction="eps",
      weighting="uniform",
    )
  )
  config.temporal.factors = (2, 2, 2)  # ours: 80 -> 10 frames over three resamplings
  config.data.resolution = common.size(512)
  config.data.video_folder.resolution = common.size(512)
  config.sampling = dict(
    sampler="ddim", num_steps=50, guidance_scale=7.5, threshold=dict(name="none")
  )
  return config
