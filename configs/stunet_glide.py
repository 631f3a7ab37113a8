"""Text-to-video from GLIDE's base model (MIT), inflated and frozen: 80 frames of 64x64 at 16 fps.

Network and process are those of the converted checkpoint, so --config.init_from is always needed.

python -m lumiere.convert --source=base.pt --architecture=glide_base --out=runs/glide
python train.py --config=configs/stunet_glide.py --config.init_from=runs/glide --workdir=runs/stunet_glide
"""

from ml_collections import ConfigDict

from configs import stunet_if


def get_config() -> ConfigDict:
  config = stunet_if.get_config()
  for section in ("model", "text", "diffusion"):
    del config[section]
  config.sampling = dict(
    sampler="ddpm", num_steps=100, guidance_scale=3.0, threshold=dict(name="static")
  )  # GLIDE's own
  return config
