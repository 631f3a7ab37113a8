"""Video super-resolution 64x64 -> 256x256 from DeepFloyd IF-II, inflated and frozen, on windows of 8 frames.

Network, process and text settings are those of the converted checkpoint, so --config.init_from is always needed: IF-II's widths
are in its own config.json. IF's weights, and models trained from them, are for non-commercial research only.

Hardware: one large accelerator or more; not trained by us.

python -m lumiere.convert --source=IF-II-M-v1.0 --out=runs/if_ii
python train.py --config=configs/ssr_if.py --config.init_from=runs/if_ii --workdir=runs/ssr_if
"""

from ml_collections import ConfigDict

from configs import ssr_base


def get_config() -> ConfigDict:
  config = ssr_base.get_config()
  for section in ("model", "text", "diffusion", "super_resolution"):
    del config[section]
  config.temporal.factors = (1, 1, 1, 1)  # IF-II has five levels
  config.data.resolution = 256
  config.data.video_folder.resolution = 256
  config.sampling = dict(
    sampler="ddpm",
    num_steps=50,
    guidance_scale=4.0,
    threshold=dict(name="dynamic", percentile=0.95, maximum=1.0),
    window=8,
    stride=6,
    windows_per_batch=1,
    augmentation_level=0.25,
  )
  return config
