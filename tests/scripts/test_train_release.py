"""The recipe of the release, with networks of a few weights: it trains, judges on the way, goes on, leaves a candidate."""

import json
import pathlib
import subprocess
import sys

import numpy as np
import pytest
from absl import flags

from lumiere import checkpoints
from lumiere.experiment import Experiment
from lumiere.sampling.cascade import load_generator
from scripts import train_release
from tests.lumiere.experiments import micro_config

ROOT = pathlib.Path(__file__).parents[2]


def experiment(num_steps: int) -> Experiment:
  config = micro_config("t2i", "unused", num_steps=num_steps, sample_every=2, checkpoint_every=2)
  config.train.averages = (0.05, 0.1)
  config.data.update(dataset="moving_shapes_endless", moving_shapes_endless=dict(num_frames=8))
  return Experiment.from_config(config)


def test_a_stage_is_trained_judged_and_left_as_a_candidate(tmp_path, capsys):
  for steps in (2, 4):  # the second time it goes on
    train_release.train("t2i", experiment(steps), tmp_path, num_judged=2)
  points = json.loads((tmp_path / "curve.json").read_text())["t2i"]
  assert list(points) == ["2", "4"]
  assert set(points["4"]) == {"test", "unseen"}
  assert set(points["4"]["test"]) == {"background", "colour", "shape"}
  assert (tmp_path / "t2i.png").stat().st_size > 1000
  assert capsys.readouterr().out.count("t2i 4: test: background") == 1
  candidate = checkpoints.load_trained(tmp_path / "candidates" / "t2i", ("t2i",))
  card = (tmp_path / "candidates" / "t2i" / "README.md").read_text()
  assert f"| shape | {points['4']['test']['shape']:.4g} |" in card
  trained = checkpoints.load_trained(tmp_path / "t2i", ("t2i",))
  assert (
    candidate.step == trained.step == 4 and candidate.experiment.model == trained.experiment.model
  )
  # What the two averages have become is what a reader finds again.
  for length in (0.05, 0.1):
    generator = load_generator(tmp_path / "t2i", "t2i", ema=length)
    found = generator._weights[0]["network"]["conv_in"]["kernel"]
    with np.load(tmp_path / "t2i" / "averages" / "4.npz") as left:
      index = list(left["lengths"]).index(length)
      np.testing.assert_allclose(found, left[f"{index}/network/conv_in/kernel"], atol=2e-3)
  with pytest.raises(ValueError, match="the length of an average, 0.9, must be between"):
    load_generator(tmp_path / "t2i", "t2i", ema=0.9)
  own, given = (
    np.asarray(each.params["network"]["conv_in"]["kernel"]) for each in (candidate, trained)
  )
  np.testing.assert_allclose(own, given, rtol=2**-8)


WITHOUT_TENSORFLOW = """
import importlib.machinery, pathlib, sys
find = importlib.machinery.PathFinder.find_spec
hidden = ("tensorflow", "tensorflow_datasets")
hide = lambda cls, name, *rest: None if name.split(".")[0] in hidden else find(name, *rest)
importlib.machinery.PathFinder.find_spec = classmethod(hide)
from scripts import train_release
from tests.scripts.test_train_release import experiment
train_release.train("t2i", experiment(2), pathlib.Path(sys.argv[1]), num_judged=2)
assert not set(hidden) & set(sys.modules)
"""


def test_a_machine_without_tensorflow_will_do(tmp_path):
  """A bare GPU machine has none."""
  command = [sys.executable, "-c", WITHOUT_TENSORFLOW, str(tmp_path)]
  done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
  assert done.returncode == 0, done.stderr
  assert list((tmp_path / "t2i").glob("events.out.tfevents*"))
  assert list(json.loads((tmp_path / "curve.json").read_text())["t2i"]) == ["2"]


def test_lines_of_a_curve_are_in_the_order_of_steps():
  points = {"10": {"test": {"shape": 0.5}}, "2": {"test": {"shape": 0.25}}}
  assert train_release.lines(points) == {"shape, test": [(2, 0.25), (10, 0.5)]}
  assert train_release.text(points["10"]) == "test: shape 50.0%"


@pytest.fixture
def override():
  """The script's flag, which it defines when it is run."""
  values = ["t2i:config.train.num_steps=3", "*:config.seed=5"]
  flags.DEFINE_multi_string("override", values, "As the script's.")
  flags.FLAGS.mark_as_parsed()
  yield
  delattr(flags.FLAGS, "override")


def test_overrides_go_to_their_stage(override):
  assert train_release.overrides("t2i") == ["config.train.num_steps=3", "config.seed=5"]
  assert train_release.overrides("ssr") == ["config.seed=5"]
  flags.FLAGS.override = ["t3i:config.seed=5"]
  with pytest.raises(ValueError, match="--override='t3i:config.seed=5' must be STAGE:config.field"):
    train_release.overrides("t2i")
