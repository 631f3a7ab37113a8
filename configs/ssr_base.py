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
  config.data.num_frames = 8  # the window; T' is not in the paper
  # For v5p:4x4x4; docs/scaling.md has what was tried, and the flags for other slices.
  config.mesh = dict(fsdp=1, frames=1)  # ours: weights fit whole; windows are many and short
  config.model.remat_levels = ()  # ours: nothing is computed twice, and microbatches make room for that
  config.train.update(
    num_steps=200_000,  # ours
    batch_size=256,  # ours
    num_microbatches=2,  # ours: two windows a chip at a time
    frozen_dtype="bfloat16",  # ours: what they are computed in anyway, in half the memory
  )
  return config
