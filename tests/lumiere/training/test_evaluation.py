"""FVD and KVD while a base trains; with a cheap network in place of I3D."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from lumiere.data import frames, sources
from lumiere.evaluation.metrics import compare, i3d, i3d_weights
from lumiere.evaluation.metrics.backbone import Backbone
from lumiere.evaluation.metrics.protocol import Protocol
from lumiere.experiment import Experiment
from lumiere.sections import EvaluationConfig
from lumiere.training import loop
from lumiere.training.evaluation import Evaluator
from tests.lumiere.experiments import micro, micro_config


@jax.jit
def few_numbers_of(clips):
  return jnp.mean(clips[:, jnp.array([0, -1])], axis=(2, 3)).reshape(len(clips), 6)


def few_numbers(clips, kind):
  """The mean colour of the first and of the last frame."""
  return few_numbers_of(clips)


CHEAP = Backbone("few numbers", "0" * 64, few_numbers)


@pytest.fixture(scope="module")
def parent(tmp_path_factory):
  """A text-to-image run, and where its data lies."""
  folder = tmp_path_factory.mktemp("evaluation")
  loop.train(micro("t2i", folder / "data", num_steps=1), folder / "t2i")
  return folder


def experiment_of(parent, **changes) -> Experiment:
  config = micro_config("stunet", parent / "data", parent / "t2i", checkpoint_every=4)
  config.evaluation.update(dict(every=3, num_videos=6) | changes)
  return Experiment.from_config(config)


def test_training_reports_the_distance_to_the_held_out_clips(parent, monkeypatch, capsys):
  monkeypatch.setattr(i3d_weights, "load_backbone", lambda path: CHEAP)
  made = []
  rows_of = Evaluator._rows
  monkeypatch.setattr(
    Evaluator, "_rows", lambda self, clips: made.append(clips) or rows_of(self, clips)
  )
  experiment = experiment_of(parent)
  loop.train(experiment, parent / "run")
  printed = [line for line in capsys.readouterr().out.splitlines() if "kvd" in line]
  assert [line.split(":")[0] for line in printed] == ["step 3", "step 4"]
  assert "few numbers 0000000000000000; 6 against 6 videos" in printed[0]
  sampled, truth, later = made  # the reference is computed once
  source = sources.make_source(experiment.data, "validation")
  clips = frames.to_float(np.stack([source[index]["video"] for index in range(6)]))
  assert clips.shape[2] != truth.shape[2]  # seen at the size of the network
  protocol = Protocol(num_frames=8, crop=False)
  rows = [few_numbers(frames.to_uint8(np.asarray(x)).astype(np.float32), "") for x in made]
  for line, mine in ((printed[0], rows[0]), (printed[1], rows[2])):
    wanted = compare.compare("kvd", np.asarray(mine), np.asarray(rows[1]), protocol, CHEAP.title)
    assert str(wanted).replace("]", "; uncompressed]") in line
  assert sampled.shape == truth.shape == later.shape == (6, 8, 8, 8, 3)
  assert not np.array_equal(sampled, later)  # other weights


@pytest.mark.parametrize(
  ("changes", "message"),
  [
    (dict(num_videos=9), "num_videos=9: the held-out split has 8 clips"),
    (dict(i3d="nowhere.safetensors"), "lumiere.fetch --what=i3d"),
  ],
)
def test_what_is_missing_is_said_before_training(parent, changes, message, tmp_path):
  with pytest.raises(ValueError, match=message):
    loop.train(experiment_of(parent, **changes), tmp_path / "run")
  assert not list((tmp_path / "run").glob("checkpoints/*"))


def test_clips_that_are_too_short_are_refused_before_training(parent, monkeypatch, tmp_path):
  def compute(clips, kind):
    return i3d.I3D(rngs=nnx.Rngs(0))(jnp.zeros((1, clips.shape[1], 224, 224, 3)))

  monkeypatch.setattr(i3d_weights, "load_backbone", lambda path: Backbone("", "", compute))
  with pytest.raises(
    ValueError, match="config.evaluation.every=3 must be 0 here.*I3D needs 9 frames"
  ):
    loop.train(experiment_of(parent), tmp_path / "run")


@pytest.mark.parametrize(
  ("changes", "message"),
  [
    (dict(metrics=()), "metrics is empty"),
    (dict(metrics=("fid",)), "evaluation.metrics"),
    (dict(metrics=("fvd",), num_videos=400), "num_videos=400"),
    (dict(num_videos=1), "num_videos=1"),
    (dict(every=-1), "every=-1"),
  ],
)
def test_fields_that_cannot_be_are_refused(changes, message):
  with pytest.raises(ValueError, match=message):
    EvaluationConfig(**changes)


def test_only_a_base_is_evaluated(tmp_path):
  experiment = micro("t2i", tmp_path)
  with pytest.raises(ValueError, match="config.evaluation.every=5"):
    dataclasses.replace(experiment, evaluation=EvaluationConfig(every=5))
