"""What the doctor does not know it says before anything is read."""

import pytest

from lumiere.diagnosis import examine
from lumiere.experiment import Experiment
from tests.lumiere.experiments import micro_config


def told():
  config = micro_config("stunet", "nowhere", "nowhere")
  config.temporal.guidance_embedding = True
  config.distillation = dict(guidance_scales=(1.0, 6.0))
  return config


def of_latents():
  config = micro_config("t2i", "nowhere")
  config.autoencoder = dict(channels=(8, 8), latent_channels=2, norm_groups=4)
  config.model.update(in_channels=2, out_channels=2)
  config.sampling.threshold = dict(name="none")
  return config


@pytest.mark.parametrize(
  ("config", "message"),
  [(told, "config.distillation: only networks"), (of_latents, "config.autoencoder: only models")],
)
def test_networks_that_are_measured_otherwise_are_refused(config, message):
  experiment = Experiment.from_config(config())
  for looked in (examine.new_run(experiment, 10), examine.run_under_way(experiment, "nowhere")):
    with pytest.raises(ValueError, match=message):
      next(iter(looked))
