"""Runs that go on from their workdir alone, whatever has become of the run that they were started from."""

import dataclasses
import pathlib
import shutil

import jax
import numpy as np
import pytest

from lumiere import checkpoints
from lumiere import mesh as meshes
from lumiere.experiment import Experiment
from lumiere.training import loop, start
from lumiere.training.stages import Stage
from tests.lumiere.experiments import micro_config, on_folder


@pytest.fixture(scope="module")
def parent(runs, tmp_path_factory):
  """A copy of an image run, to be trained on and deleted."""
  return pathlib.Path(shutil.copytree(runs["ssr_image"], tmp_path_factory.mktemp("from") / "image"))


def experiment(stage, runs, video_files, init_from, **train) -> Experiment:
  return on_folder(micro_config(stage, runs["data"], init_from, **train), video_files)


def interrupted(whole: pathlib.Path, workdir: pathlib.Path) -> pathlib.Path:
  """A run of four steps as it was after two."""
  shutil.copytree(whole, workdir)
  shutil.rmtree(workdir / "checkpoints" / "4")
  return workdir


def sums(workdir, step=4):
  """Of everything in a checkpoint and of the frozen weights."""
  record = checkpoints.load_record(workdir, step)
  return record.sums, record.place, record.provenance


def test_a_run_goes_on_bit_for_bit_when_its_parent_was_trained_on_or_is_gone(
  runs, video_files, parent, tmp_path, capsys, caplog
):
  """A video run and a style, which both start from an image run's average; the style's only trained weights do."""
  settings = runs, video_files, parent
  whole = {"ssr": tmp_path / "ssr", "ssr_image": tmp_path / "style"}
  for stage, workdir in whole.items():
    loop.train(experiment(stage, *settings), workdir)
  assert f"started from {parent}, stage ssr_image, step 2, checksum" in capsys.readouterr().out
  cut = {stage: interrupted(workdir, tmp_path / f"{stage}_on") for stage, workdir in whole.items()}
  alone = interrupted(whole["ssr"], tmp_path / "alone")

  loop.train(experiment("ssr_image", runs, video_files, "", num_steps=3), parent)
  assert checkpoints.load_record(parent).step == 3
  loop.train(experiment("ssr", *settings), cut["ssr"])
  assert sums(cut["ssr"]) == sums(whole["ssr"])
  printed = capsys.readouterr().out
  assert "stage ssr, goes on from step 2 of 4" in printed
  assert f"started from {parent}, stage ssr_image, step 2, checksum" in printed

  shutil.rmtree(parent)
  loop.train(experiment("ssr", runs, video_files, ""), alone)
  loop.train(experiment("ssr_image", *settings), cut["ssr_image"])
  assert sums(alone) == sums(whole["ssr"])
  assert sums(cut["ssr_image"]) == sums(whole["ssr_image"])
  for workdir in (alone, cut["ssr"]):
    trained, expected = (checkpoints.load_trained(w, ("ssr",)) for w in (workdir, whole["ssr"]))
    for tree in ("params", "frozen"):
      jax.tree.map(np.testing.assert_array_equal, *(getattr(t, tree) for t in (trained, expected)))
    assert trained.experiment.init_from == str(parent)
  assert "differs" not in caplog.text


def test_what_was_inherited_is_recorded(runs):
  parent = checkpoints.load_trained(runs["ssr_image"], ("ssr_image",))
  record = checkpoints.load_record(runs["ssr"])
  assert record.provenance["inherited"] == {
    "workdir": record.experiment.init_from,
    "stage": "ssr_image",
    "step": 2,
    "checksum": parent.checksum,
  }
  assert pathlib.Path(record.experiment.init_from).name == "ssr_image"
  assert checkpoints.load_record(runs["ssr_image"]).provenance["inherited"] is None
  assert record.provenance["data"]["dataset"].startswith("video_folder/8x32x32_8fps_")
  assert record.provenance["text_encoder"] is None


@pytest.mark.parametrize("image, video", [("t2i", "stunet"), ("ssr_image", "ssr")])
def test_an_image_stage_starts_from_the_image_part_of_a_video_model(runs, image, video):
  """As a style does, by whoever has no more than a released base."""
  settings = checkpoints.load_record(runs[image]).experiment
  stage = Stage(dataclasses.replace(settings, init_from=str(runs[video])))
  mesh = meshes.one_device()
  found = start.initial_weights(stage, start.load_warm_start(stage, mesh), mesh)
  parent = checkpoints.load_trained(runs[image], (image,))
  jax.tree.map(np.testing.assert_array_equal, found[1:], (parent.params, {}))


def test_a_config_without_a_model_takes_it_from_the_workdir_first(runs, tmp_path):
  config = micro_config("ssr", runs["data"], tmp_path / "gone")
  for section in ("model", "diffusion", "super_resolution"):
    del config[section]
  with pytest.raises(checkpoints.CheckpointError, match="gone does not exist"):
    checkpoints.read_experiment(config, tmp_path / "new")
  config.init_from = ""
  with pytest.raises(ValueError, match="config.model is missing.*config.init_from"):
    checkpoints.read_experiment(config, tmp_path / "new")
  recorded = checkpoints.load_record(runs["ssr"]).experiment
  found = checkpoints.read_experiment(config, runs["ssr"])
  assert found.model == recorded.model and found.super_resolution == recorded.super_resolution
  config.init_from = str(runs["ssr_image"])
  assert checkpoints.read_experiment(config, tmp_path / "new").model == recorded.model


def test_frozen_weights_that_an_earlier_attempt_left_are_replaced(runs, video_files, tmp_path):
  """A run that ended before its first checkpoint begins anew, from what its parent is now."""
  workdir = tmp_path / "run"
  shutil.copytree(runs["ssr"] / "frozen", workdir / "frozen")
  other = tmp_path / "other"
  shutil.copytree(runs["ssr_image"], other)
  trained = checkpoints.load_trained(other, ("ssr_image",))
  shutil.rmtree(other)
  moved = jax.tree.map(lambda leaf: np.asarray(leaf) + 1, trained.params)
  checkpoints.save_imported(other, trained.experiment, moved)
  loop.train(experiment("ssr", runs, video_files, other, num_steps=1), workdir)
  frozen = checkpoints.load_trained(workdir, ("ssr",)).frozen
  scale = lambda tree: tree["middle"]["stages"]["0"]["res"]["norm1"]["scale"]
  np.testing.assert_array_equal(
    scale(frozen["network"]["unet"]["image"]), scale(moved["network"]["unet"])
  )
