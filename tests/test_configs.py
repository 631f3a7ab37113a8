"""Every config builds its networks, the paper-sized ones from shapes alone."""

import dataclasses
import importlib
import pathlib

import numpy as np
import pytest

from configs import stunet_if
from lumiere import checkpoints, weights
from lumiere.experiment import Experiment
from lumiere.interop import architectures, convert
from lumiere.model import abstract_model
from lumiere.sections import SuperResolutionConfig

CONFIGS = sorted(
  path.stem
  for path in pathlib.Path("configs").glob("*.py")
  if path.stem not in ("common", "__init__")
)
GLIDE = architectures.PUBLISHED["glide_base"]
# What a converted checkpoint says, for the configs that take their network from one. IF-II's widths are not public.
IMPORTED = {
  "stunet_glide": convert.describe(
    GLIDE.model, GLIDE.diffusion, {}, 64, SuperResolutionConfig(), GLIDE.text.length
  ),
  "ssr_if": convert.describe(
    dataclasses.replace(
      Experiment.from_config(stunet_if.get_config()).model,
      channels=(96, 192, 384, 576, 768),
      num_res_blocks=(2, 2, 3, 5, 5),
      attention_levels=(3, 4),
      in_channels=6,
      augmentation_embedding=True,
      self_attention=False,
    ),
    GLIDE.diffusion,
    {},
    256,
    SuperResolutionConfig(aligned=True),
    77,
  ),
}


@pytest.mark.parametrize("name", CONFIGS)
def test_a_config_is_an_experiment_and_its_model_builds(name, capsys, tmp_path):
  config = importlib.import_module(f"configs.{name}").get_config()
  if name in IMPORTED:
    with pytest.raises(ValueError, match="config.model is missing"):
      checkpoints.read_experiment(config)
    config.init_from = str(tmp_path)
    checkpoints.save_imported(tmp_path, IMPORTED[name], {"nothing": np.zeros(1)})
  experiment = checkpoints.read_experiment(config)
  assert name.startswith((experiment.stage, "distill"))
  _, params, frozen = abstract_model(experiment)
  trainable, fixed = weights.count(params), weights.count(frozen)
  with capsys.disabled():
    print(f"\n{name}: {trainable / 1e6:.3f}M trainable, {fixed / 1e6:.3f}M frozen", end=" ")
  assert (fixed > 0) == bool(experiment.is_video or experiment.autoencoder)
  assert experiment.to_json() == Experiment.from_config(experiment.to_json()).to_json()


@pytest.mark.parametrize("size", ("tiny", "release", "base"))
@pytest.mark.parametrize(("video", "image"), (("stunet", "t2i"), ("ssr", "ssr_image")))
def test_a_video_config_inflates_the_network_of_its_image_config(video, image, size):
  build = lambda stage: abstract_model(
    Experiment.from_config(importlib.import_module(f"configs.{stage}_{size}").get_config())
  )
  _, before, _ = build(image)
  _, _, frozen = build(video)
  assert weights.count(before) == weights.count(frozen)
