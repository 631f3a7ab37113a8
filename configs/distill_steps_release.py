"""The release's base in half as many steps: each learns to do what two steps of the network before do.

It learns from a run of configs/distill_guidance_release.py; from its own result it goes on to a quarter, with half of
`sampling.num_steps`.

python train.py --config=configs/distill_steps_release.py --workdir=runs/release/four --config.init_from=runs/release/told
"""

from ml_collections import ConfigDict

from configs import distill_guidance_release


def get_config() -> ConfigDict:
  config = distill_guidance_release.get_config()
  config.init_from = ""
  config.distillation.halves_steps = True
  config.sampling.update(sampler="ddim", num_steps=4)
  return config
