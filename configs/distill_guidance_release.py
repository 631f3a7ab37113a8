"""The release's base, told the guidance weight: one call of the network in place of two, for any weight between 1 and 6.

It learns from the base that ships, or from another run of configs/stunet_release.py; every weight that was trained there is
trained on.

python train.py --config=configs/distill_guidance_release.py --workdir=runs/release/told
"""

from ml_collections import ConfigDict

from configs import stunet_release


def get_config() -> ConfigDict:
  config = stunet_release.get_config()
  config.init_from = "lumiere/pretrained/base"
  config.temporal.guidance_embedding = True
  config.distillation = dict(guidance_scales=(1.0, 6.0), halves_steps=False)
  config.optimizer.learning_rate = 5e-4
  config.train.update(num_steps=1000, batch_size=16, checkpoint_every=250)
  return config
