"""Every config builds its networks, the paper-sized ones from shapes alone."""

import importlib
import pathlib

import pytest
from flax import nnx

from lumiere import weights
from lumiere.experiment import Experiment
from lumiere.training.stages import Stage

CONFIGS = sorted(
  path.stem
  for path in pathlib.Path("configs").glob("*.py")
  if path.stem not in ("common", "__init__")
)


@pytest.mark.parametrize("name", CONFIGS)
def test_a_config_is_an_experiment_and_its_model_builds(name, capsys):
  config = importlib.import_module(f"configs.{name}").get_config()
  experiment = Experiment.from_config(config)
  assert name.startswith(experiment.stage)
  _, params, frozen = weights.split(nnx.eval_shape(Stage(experiment).build))
  trainable, fixed = weights.count(params), weights.count(frozen)
  with capsys.disabled():
    print(f"\n{name}: {trainable / 1e6:.3f}M trainable, {fixed / 1e6:.3f}M frozen", end=" ")
  assert (fixed > 0) == experiment.is_video
  assert experiment.to_json() == Experiment.from_config(experiment.to_json()).to_json()


@pytest.mark.parametrize("size", ("tiny", "base"))
@pytest.mark.parametrize(("video", "image"), (("stunet", "t2i"), ("ssr", "ssr_image")))
def test_a_video_config_inflates_the_network_of_its_image_config(video, image, size):
  build = lambda stage: weights.split(
    nnx.eval_shape(
      Stage(
        Experiment.from_config(importlib.import_module(f"configs.{stage}_{size}").get_config())
      ).build
    )
  )
  _, before, _ = build(image)
  _, _, frozen = build(video)
  assert weights.count(before) == weights.count(frozen)
