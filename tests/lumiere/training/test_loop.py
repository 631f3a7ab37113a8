"""Training as a whole: resuming, stopping, failing; of the stage that compiles fastest, in one folder of prepared data."""

import os
import signal

import jax
import numpy as np
import pytest

from lumiere import checkpoints, weights
from lumiere.data import sources
from lumiere.experiment import Experiment
from lumiere.training import loop
from tests.lumiere.experiments import micro, micro_config
from tests.lumiere.training import apart


@pytest.fixture(scope="session")
def data_dir(tmp_path_factory):
  """Prepared once."""
  folder = tmp_path_factory.mktemp("data")
  sources.make_source(micro("ssr_image", folder).data, "train")
  return folder


def saved(workdir, step):
  """Everything in a checkpoint, as numpy, and the loader's place."""
  manager = checkpoints.Checkpoints(workdir)
  with manager:
    folder = workdir / "checkpoints" / str(step)
    place = sorted(path.read_bytes() for path in (folder / "data").rglob("*.json"))
  trees = {}
  import orbax.checkpoint as ocp

  for part in ("params", "ema", "opt_state"):
    with ocp.StandardCheckpointer() as checkpointer:
      trees[part] = checkpointer.restore(folder / part)
  return jax.tree.map(np.asarray, trees), place


def assert_same(first, second):
  jax.tree.map(np.testing.assert_array_equal, first[0], second[0])
  assert first[1] == second[1]


@pytest.fixture(scope="session")
def uninterrupted(data_dir, tmp_path_factory):
  """A finished run of four steps."""
  workdir = tmp_path_factory.mktemp("runs") / "ssr_image"
  loop.train(micro("ssr_image", data_dir, eval_every=4, sample_every=4), workdir)
  return workdir


def test_a_run_leaves_checkpoints_scalars_and_samples(uninterrupted):
  samples = uninterrupted / "samples" / "4"
  assert (samples / "sheet.png").stat().st_size > 100 and not list(samples.glob("*.mp4"))
  assert list(uninterrupted.glob("events.out.tfevents*"))
  assert sorted(path.name for path in (uninterrupted / "checkpoints").iterdir()) == ["2", "4"]
  trained = checkpoints.load_trained(uninterrupted, ("ssr_image",))
  assert trained.step == 4
  assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(trained.params))


def test_sigterm_saves_and_the_same_command_goes_on_bit_for_bit(
  data_dir, uninterrupted, tmp_path, monkeypatch
):
  make = loop.make_train_step

  def interrupting(*args):
    step, calls = make(*args), []

    def once(*step_args):
      calls.append(1)
      if len(calls) == 3:
        os.kill(os.getpid(), signal.SIGTERM)
      return step(*step_args)

    return once

  experiment = micro("ssr_image", data_dir)
  with monkeypatch.context() as patch:
    patch.setattr(loop, "make_train_step", interrupting)
    loop.train(experiment, tmp_path)
  with checkpoints.Checkpoints(tmp_path) as manager:
    assert manager.latest_step == 3
  loop.train(experiment, tmp_path)
  assert_same(saved(tmp_path, 4), saved(uninterrupted, 4))


def test_kill_9_and_resume_equals_one_run_bit_for_bit(data_dir, uninterrupted, tmp_path):
  """Two steps in a process that a SIGKILL ends, two more in this one, against four steps here."""
  config = micro_config("ssr_image", data_dir)
  run = tmp_path / "run"
  # Slow steps leave time to be killed after the first checkpoint and before the last step.
  victim = apart.start(config, run, tmp_path / "log", pause=3)
  apart.wait_for(run / "checkpoints" / "2", [victim])
  victim.kill()
  assert apart.finished([victim]) == [-signal.SIGKILL]
  assert not (run / "checkpoints" / "4").exists()
  loop.train(Experiment.from_config(config), run)
  assert_same(saved(run, 4), saved(uninterrupted, 4))


def test_a_loss_that_is_not_finite_stops_the_run_and_keeps_the_last_good_checkpoint(
  data_dir, tmp_path, monkeypatch
):
  make = loop.make_train_step

  def poisoned(*args):
    step = make(*args)

    def train_step(state, frozen, batch):
      before = int(state.step)
      state, metrics = step(state, frozen, batch)
      bad = metrics.loss.replace(total=metrics.loss.total * np.float32(np.nan))
      return state, metrics.replace(loss=bad) if before == 2 else metrics

    return train_step

  monkeypatch.setattr(loop, "make_train_step", poisoned)
  with pytest.raises(loop.TrainingError, match="not finite at step 3.*step 2: loss 0|1"):
    loop.train(micro("ssr_image", data_dir), tmp_path)
  assert np.load(tmp_path / "not_finite" / "batch_3_0.npz")["image"].shape == (8, 32, 32, 3)
  with checkpoints.Checkpoints(tmp_path) as manager:
    assert manager.latest_step == 2


def test_a_run_on_two_shapes_goes_on_bit_for_bit_and_compiles_each_once(tmp_path, monkeypatch):
  config = micro_config("ssr_image", tmp_path, num_steps=8, checkpoint_every=3, log_every=1)
  config.data.update(dataset="moving_shapes_endless", moving_shapes_endless=dict(num_frames=8))
  config.data.buckets = ((16, 24), (24, 16))
  experiment = Experiment.from_config(config)
  shapes, programs = [], []
  make = loop.make_train_step

  def recording(*args):
    step = make(*args)
    programs.append(step)

    def train_step(state, frozen, batch):
      shapes.append(batch["image"].shape)
      return step(state, frozen, batch)

    return train_step

  monkeypatch.setattr(loop, "make_train_step", recording)
  loop.train(experiment, tmp_path / "whole")
  assert set(shapes) == {(8, 16, 24, 3), (8, 24, 16, 3)} and programs[0]._cache_size() == 2
  order = list(shapes)
  config.train.num_steps = 3
  loop.train(Experiment.from_config(config), tmp_path / "parts")
  loop.train(experiment, tmp_path / "parts")
  assert shapes[8:] == order  # not at the start of a bucket's batches
  assert_same(saved(tmp_path / "parts", 8), saved(tmp_path / "whole", 8))


def test_another_experiment_in_the_same_workdir_is_refused(data_dir, uninterrupted):
  config = micro_config("ssr_image", data_dir)
  config.model.channels = (8, 16)

  with pytest.raises(ValueError, match=r"config.model.channels=\(8, 16\) differs from the run in"):
    loop.train(Experiment.from_config(config), uninterrupted)


def test_a_video_stage_needs_its_image_run(data_dir, uninterrupted, tmp_path):
  with pytest.raises(ValueError, match="config.init_from is empty.*'t2i'"):
    loop.train(micro("stunet", data_dir), tmp_path)
  with pytest.raises(checkpoints.CheckpointError, match="'ssr_image' checkpoint.*'t2i'"):
    loop.train(micro("stunet", data_dir, uninterrupted), tmp_path)


def test_a_batch_that_does_not_split_over_the_devices_is_refused(data_dir, tmp_path):
  config = micro_config("ssr_image", data_dir)
  config.train.batch_size = 6

  with pytest.raises(ValueError, match="batch_size=6 must be a multiple of 8"):
    loop.train(Experiment.from_config(config), tmp_path)


def test_checkpoints_that_are_not_there_are_explained(uninterrupted, tmp_path):
  for workdir, step, message in (
    (tmp_path / "nowhere", None, "does not exist"),
    (tmp_path, None, "holds no checkpoint"),
    (uninterrupted, 3, "no checkpoint of step 3; it has 2, 4"),
  ):
    with pytest.raises(checkpoints.CheckpointError, match=message):
      checkpoints.load_trained(workdir, ("ssr_image",), step)


def test_parameters_of_a_run_are_the_averaged_ones(uninterrupted):
  trees, _ = saved(uninterrupted, 4)
  trained = checkpoints.load_trained(uninterrupted, ("ssr_image",))
  jax.tree.map(np.testing.assert_array_equal, trees["ema"], trained.params)
  assert weights.count(trained.params) == weights.count(trees["params"])
