"""Configs become dataclasses; what does not fit a field is refused by the field's name."""

import math

import pytest

from configs import ssr_tiny, stunet_masked_tiny, t2i_tiny
from lumiere.experiment import Experiment


def changed(module, path: str, value) -> dict:
  """The config of a file with one field set."""
  config = section = module.get_config().to_dict()
  *sections, name = path.split(".")
  for each in sections:
    section = section[each]
  section[name] = value
  return config


@pytest.mark.parametrize(
  ("path", "value", "words"),
  [
    ("train", 3, "config.train=3 must be a section with fields"),
    ("data", "folder", "config.data='folder' must be a section with fields"),
    ("data.moving_shapes", [], "config.data.moving_shapes=[] must be a section with fields"),
    ("text", 1, "config.text=1 must be a section with fields or None"),
    ("train.batch_size", 8.0, "config.train.batch_size=8.0 must be a whole number"),
    ("train.batch_size", True, "config.train.batch_size=True must be a whole number"),
    ("train.ema_decay", math.nan, "config.train.ema_decay=nan must be a finite number"),
    ("optimizer.learning_rate", "fast", "learning_rate='fast' must be a finite number"),
    ("model.channels", 16, "config.model.channels=16 must be a list"),
    ("model.channels", (16, 48.5, 64), "config.model.channels[1]=48.5 must be a whole number"),
    ("model.num_res_blocks", "2", "num_res_blocks='2' must be a whole number or a list"),
    ("model.text_pool", "mean", "config.model.text_pool='mean' must be one of none, attention"),
    ("model.attends_to_padding", 1, "attends_to_padding=1 must be True or False"),
    ("model.norm_groups", 7, "norm_groups=7 does not divide 16 channels"),
    ("model.head_dim", 7, "head_dim=7 does not divide 64 channels"),
    ("temporal.head_dim", 7, "temporal.head_dim=7 does not divide 64 channels"),
    ("temporal.attention_depth", 10**12, "attention_depth=1000000000000 must be between 0 and 100"),
    ("model.num_res_blocks", 10**12, "must give a number between 1 and 100"),
    ("text.encoder.num_layers", 10**12, "num_layers=1000000000000 must be between 1 and 100"),
    ("temporal.factors", (2,), "temporal.factors=(2,) must have 2 entries"),
  ],
)
def test_a_value_of_another_type_is_refused(path, value, words):
  with pytest.raises(ValueError) as raised:
    Experiment.from_config(changed(stunet_masked_tiny, path, value))
  assert words in str(raised.value)


def test_a_super_resolution_network_takes_six_channels():
  with pytest.raises(ValueError, match="in_channels=3 must be 6 in a super-resolution network"):
    Experiment.from_config(changed(ssr_tiny, "model.in_channels", 3))


def test_whole_numbers_are_numbers_and_lists_become_tuples():
  experiment = Experiment.from_config(changed(t2i_tiny, "optimizer.learning_rate", 1))
  assert experiment.optimizer.learning_rate == 1
  again = Experiment.from_config(experiment.to_json())
  assert again == experiment and isinstance(again.model.channels, tuple)
