"""Video super-resolution 128x128 -> 1024x1024 on windows of 8 frames, joined by MultiDiffusion (Lumiere, section 3.2).

The image network of `ssr_image_base` is inflated with temporal convolutions and frozen.

Hardware: a TPU pod; not trained by us.

python train.py --config=configs/ssr_base.py --workdir=gs://BUCKET/ssr_base --config.init_from=gs://BUCKET/ssr_image_base --config.data.folder=FOLDER
"""

from ml_collections import ConfigDict

from configs import ssr_image_base


def get_config() -> ConfigDict:
  config = ssr_image_base.get_config()
  config.stage = "ssr"
  config.temporal = dict(
    factors=(1, 1, 1),  # windows are short: ours
    attention_depth=0,  # Imagen Video: convolutions only in its super-resolution
    head_dim=64,
    conditioned=False,
  )
  config.model.remat_levels = (0, 1, 2, 3)
  config.data.num_frames = 8  # the window; T' is not in the paper
  config.train.update(num_steps=200_000, batch_size=256)  # ours
  return config
