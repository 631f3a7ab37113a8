"""Text-to-video at the paper's size: 80 frames at 16 fps, 128x128, in one pass (Lumiere, section 3.1).

The image network of `t2i_base` is inflated and frozen; only what inflation adds is trained. Time is halved wherever space
is: 80 -> 5 frames over four resamplings (the paper's figure draws two; the true number is not given).

Hardware: a TPU pod; not trained by us.

python train.py --config=configs/stunet_base.py --workdir=gs://BUCKET/stunet_base --config.init_from=gs://BUCKET/t2i_base --config.data.folder=FOLDER
"""

from ml_collections import ConfigDict

from configs import t2i_base


def get_config() -> ConfigDict:
  config = t2i_base.get_config()
  config.stage = "stunet"
  config.temporal = dict(
    factors=(2, 2, 2, 2),  # paper: time is halved with space; how often is ours
    attention_depth=1,  # after each of the coarsest level's nine stages; the paper says "several", no number
    head_dim=64,  # ours
    conditioned=False,  # paper, Fig. 4: inflation blocks see nothing but features
  )
  config.data.update(num_frames=80)  # paper
  # For v5p:4x4x4, one clip a chip; docs/scaling.md has what was tried, and the flags for other slices.
  config.mesh = dict(fsdp=1, frames=1)  # ours: weights fit whole, and whole clips cost no exchange
  config.model.remat_levels = ()  # ours: with nothing computed twice the compiled step takes 76 of 95 GiB
  config.train.update(
    num_steps=200_000,  # ours
    batch_size=64,  # ours
    frozen_dtype="bfloat16",  # ours: what they are computed in anyway, in half the memory
  )
  # ours: FVD of 2,048 held-out captions; --config.evaluation.every=10000 turns it on
  config.evaluation = dict(every=0, metrics=("fvd",), num_videos=2048, i3d="")
  return config
