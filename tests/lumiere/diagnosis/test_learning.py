"""Stages of a few channels: what keeps them from learning is named; sound ones pass."""

import dataclasses
import time

import jax
import numpy as np
import pytest

from lumiere import checkpoints
from lumiere import mesh as meshes
from lumiere.diagnosis import costs, examine, inflation, learning, page
from lumiere.experiment import Experiment
from lumiere.training import loop, start
from lumiere.training.stages import Stage
from tests import command_line
from tests.lumiere.experiments import micro_config

STEPS = 60


def on_endless(stage, init_from="", **train):
  config = micro_config(stage, "nowhere", init_from, **train)
  frames = config.data.num_frames
  config.data.update(
    dataset="moving_shapes_endless", moving_shapes_endless=dict(num_frames=8), num_frames=frames
  )
  config.optimizer.learning_rate = 0.01
  return config


def fitted(experiment, num_steps=STEPS):
  mesh = meshes.make_mesh(experiment.mesh)
  batch = next(iter(loop.make_loader(experiment, "train")))
  with jax.set_mesh(mesh):
    stage = Stage(experiment)
    rebuild, params, frozen = start.initial_weights(stage, start.load_warm_start(stage, mesh), mesh)
    return learning.fit(experiment, rebuild, params, frozen, batch, num_steps, mesh)


def verdicts(experiment, fit):
  found = learning.look(experiment, fit)
  return {finding.name: finding.verdict for finding in found}, " ".join(
    " ".join(map(str, found)).split()
  )


@pytest.fixture(scope="module")
def experiment():
  return Experiment.from_config(on_endless("t2i"))


@pytest.fixture(scope="module")
def sound(experiment):
  return fitted(experiment)


def test_a_sound_stage_learns_a_few_clips_and_reads_their_captions(experiment, sound):
  found, said = verdicts(experiment, sound)
  assert set(found.values()) == {"fine"}, said
  assert len(sound.batch["image"]) == learning.CLIPS
  assert len({tokens.tobytes() for tokens in sound.batch["tokens"]}) == learning.CLIPS


def test_a_learning_rate_of_zero():
  config = on_endless("ssr_image")
  config.optimizer.learning_rate = 0.0
  still = Experiment.from_config(config)
  found, said = verdicts(still, fitted(still, 10))
  assert found["optimizer"] == found["learning a few clips by heart"] == "wrong"
  assert "no weight moves: set optimizer.learning_rate above 0" in said


def test_captions_that_are_always_dropped(experiment):
  deaf = dataclasses.replace(experiment, text=dataclasses.replace(experiment.text, drop_rate=1.0))
  found, said = verdicts(deaf, fitted(deaf, 10))
  assert found["dropped captions"] == "wrong"
  assert "no caption reaches the loss: text.drop_rate" in said


def test_a_loader_that_is_slower_than_the_step(experiment, sound):
  def slow():
    while True:
      time.sleep(3 * sound.seconds)
      yield {}

  _, seconds = costs.time_of_batches(slow())
  found = {finding.name: finding for finding in costs.look(experiment, sound, seconds)}
  assert found["loader"].verdict == "wrong" and "data.num_workers=0" in found["loader"].advice
  assert found["memory"].verdict == "fine" and "GiB a device" in found["memory"].measured
  assert costs.loading(experiment, sound, sound.seconds / 10).verdict == "fine"


@pytest.fixture(scope="module")
def video(tmp_path_factory):
  """(experiment of an inflated stage, its warm start, rebuild, params, frozen, a batch)."""
  folder = tmp_path_factory.mktemp("image")
  loop.train(Experiment.from_config(on_endless("t2i", num_steps=2)), folder)
  experiment = Experiment.from_config(on_endless("stunet", folder))
  stage, mesh = Stage(experiment), meshes.one_device()
  warm_start = start.load_warm_start(stage, mesh)
  batch = next(iter(loop.make_loader(experiment, "train")))
  return experiment, warm_start, *start.initial_weights(stage, warm_start, mesh), batch


def test_inflation_is_an_identity_and_trains_what_it_adds(video):
  found = inflation.look(*video)
  assert [finding.verdict for finding in found] == ["fine"] * 4, "\n".join(map(str, found))


def test_temporal_layers_that_do_not_start_at_zero(video):
  experiment, warm_start, rebuild, params, frozen, batch = video
  moved = jax.tree.map(lambda x: x + 0.05, params)
  found = inflation.identity(experiment, warm_start, rebuild, moved, frozen, batch)
  assert found.verdict == "wrong" and "temporal layers must begin as an identity" in found.advice


def test_image_weights_that_are_trained_or_not_those_of_the_image_run(video):
  experiment, warm_start, _, params, frozen, _ = video
  unfrozen = dict(params) | {
    "network": dict(params["network"]) | {"image": frozen["network"]["image"]}
  }
  found = inflation.trained(experiment, unfrozen)
  assert found.verdict == "wrong" and "must stay frozen" in found.advice
  other = jax.tree.map(lambda x: x + 1e-3, frozen)
  assert inflation.source(experiment, warm_start, other).verdict == "wrong"
  nan = jax.tree.map(lambda x: x * np.nan, frozen)
  assert "some not finite" in inflation.source(experiment, warm_start, nan).measured


def test_the_command_says_it_all_and_ends_with_1_if_something_is_wrong(
  runs, monkeypatch, capsys, tmp_path
):
  code, stdout, stderr = command_line.run(
    monkeypatch,
    capsys,
    "lumiere/doctor.py",
    f"--workdir={runs['stunet']}",
    f"--html={tmp_path / 'page.html'}",
  )
  assert code == 0, stdout + stderr
  for name in ("clips", "captions and clips", "held-out error", "average", "use of time"):
    assert f" {name}: " in stdout
  text = (tmp_path / "page.html").read_text()
  assert text.count("<section") == stdout.count("\n") - stdout.count("\n  ") - 2 and "<svg" in text
  assert "http" not in text
  command_line.assert_one_line(
    command_line.run(monkeypatch, capsys, "lumiere/doctor.py"), "one of --config and --workdir"
  )
  command_line.assert_one_line(
    command_line.run(monkeypatch, capsys, "lumiere/doctor.py", "--workdir=nowhere"),
    "nowhere",
    "does not exist",
  )


def test_the_whole_of_a_new_run(tmp_path):
  experiment = Experiment.from_config(on_endless("ssr_image"))
  found = list(examine.new_run(experiment, 20))
  names = [finding.name for finding in found]
  assert names[0] == "clips" and names[-1] == "memory" and len(set(names)) == len(names)
  assert "scratch" in next(f for f in found if f.name == "image network").measured
  assert examine.summary(found).count("fine")
  page.write(tmp_path / "page.html", "a & b", found)
  assert "a &amp; b" in (tmp_path / "page.html").read_text()
  with pytest.raises(checkpoints.CheckpointError):
    list(examine.run_under_way(experiment, tmp_path / "nowhere"))
