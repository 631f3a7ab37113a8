"""Releases made from runs: they sample like the run, alone, in parts and joined again; `python -m lumiere.release`."""

import dataclasses
import json

import jax
import numpy as np
import pytest

from lumiere import Cascade, checkpoints, release_folder
from lumiere.release import make as releases
from lumiere.sampling.cascade import load_generator
from lumiere.trees import CheckpointError
from tests import command_line

PROMPTS = ("a red circle rests on black",)


@pytest.fixture(scope="module")
def released(runs, tmp_path_factory):
  """Releases of the four runs, and of the temporal part of the base alone."""
  root = tmp_path_factory.mktemp("released")
  for stage in ("t2i", "stunet", "ssr_image", "ssr"):
    releases.make(runs[stage], root / stage)
  releases.make(runs["stunet"], root / "motion", temporal_only=True)
  return root


def rounded(trained):
  """A model as a release holds it."""
  around = lambda tree: jax.tree.map(lambda leaf: leaf.astype("bfloat16").astype(leaf.dtype), tree)
  return dataclasses.replace(trained, params=around(trained.params), frozen=around(trained.frozen))


def test_a_release_samples_like_the_run_but_for_the_rounding(runs, released):
  cascade = Cascade.restore(released / "stunet", released / "ssr")
  videos = cascade.generate(PROMPTS, seed=3)
  run = Cascade.restore(runs["stunet"], runs["ssr"])
  for name, stage in (("base", "stunet"), ("ssr", "ssr")):
    generator = getattr(run, name)
    model = rounded(checkpoints.load_trained(runs[stage], (stage,)))
    generator._weights = (model.params, model.frozen)
  np.testing.assert_array_equal(videos, run.generate(PROMPTS, seed=3))
  # One of the two may be a run.
  assert (
    Cascade.restore(released / "stunet", runs["ssr"]).generate(PROMPTS, seed=3).shape
    == videos.shape
  )


def test_a_temporal_part_joined_again_is_the_whole_release_byte_for_byte(runs, released, tmp_path):
  for index, image in enumerate(
    (runs["t2i"], released / "t2i", runs["stunet"], released / "stunet")
  ):
    joined = tmp_path / f"joined{index}"
    releases.make(released / "motion", joined, image=image)
    for name in ("weights.safetensors", "config.json"):
      assert (joined / name).read_bytes() == (released / "stunet" / name).read_bytes()


def test_other_image_weights_are_refused_by_name_and_checksum(released, style_run, tmp_path):
  with pytest.raises(
    CheckpointError, match=r"style.* does not hold the image weights that .*motion"
  ):
    releases.make(released / "motion", tmp_path / "out", image=style_run)
  with pytest.raises(CheckpointError, match="'t2i' or 'stunet' is needed"):
    releases.make(released / "motion", tmp_path / "out", image=released / "ssr")
  assert not (tmp_path / "out").exists()


def test_the_temporal_part_alone_does_not_sample_and_says_what_to_do(released):
  with pytest.raises(CheckpointError, match="holds the temporal part alone; .* --with_image=IMAGE"):
    Cascade.restore(released / "motion")
  held = set(release_folder.read_weights(released / "motion"))
  assert held and all(name.startswith("params/") for name in held)


def test_a_release_has_one_average_and_one_step(runs, released, tmp_path):
  with pytest.raises(ValueError, match="is a release, which holds one average"):
    load_generator(released / "stunet", "stunet", ema=0.1)
  with pytest.raises(ValueError, match="--ema=0.1: .* is a release"):
    releases.make(released / "stunet", tmp_path / "out", ema=0.1)
  with pytest.raises(CheckpointError, match="is a release of step 2 and has no step 1"):
    Cascade.restore(released / "stunet", base_step=1)


def test_training_starts_from_a_release(released, video_files, tmp_path):
  from lumiere.training import loop
  from tests.lumiere.experiments import micro_config, on_folder

  config = micro_config("stunet", tmp_path / "data", released / "t2i", num_steps=1)
  loop.train(on_folder(config, video_files), tmp_path / "run")
  trained = checkpoints.load_trained(tmp_path / "run", ("stunet",))
  whole = checkpoints.load_trained(released / "stunet", ("stunet",))
  jax.tree.map(np.testing.assert_array_equal, trained.frozen, whole.frozen)


def test_the_command_writes_a_release_with_its_card(runs, monkeypatch, capsys, tmp_path):
  scores = tmp_path / "scores.json"
  scores.write_text(json.dumps({"test": {"shape": 0.5}, "unseen": {"shape": 0.25, "colour": 1}}))
  args = [
    f"--workdir={runs['stunet']}",
    f"--out={tmp_path / 'base'}",
    "--sampling=num_steps=3",
    "--sampling=guidance_scale=1.5",
    f"--scores={scores}",
    "--license=apache-2.0",
    "--about=Moves.",
  ]
  run = lambda *more: command_line.run(
    monkeypatch, capsys, "lumiere/release/__main__.py", *args, *more
  )
  code, printed, _ = run()
  assert code == 0 and "exponential moving average" in printed
  record = checkpoints.load_record(tmp_path / "base")
  assert (record.experiment.sampling.num_steps, record.experiment.sampling.guidance_scale) == (
    3,
    1.5,
  )
  card = (tmp_path / "base" / "README.md").read_text()
  assert "license: apache-2.0" in card and "\nMoves.\n" in card
  assert "| shape | 0.5 | 0.25 |" in card and "| colour |  | 1 |" in card
  described = json.loads((tmp_path / "base" / "config.json").read_text())
  assert described["sha256"] in card and ", 3 steps, guidance 1.5" in card
  command_line.assert_one_line(run(), "--out=", "exists already")
  command_line.assert_one_line(
    run(f"--out={tmp_path / 'b'}", "--sampling=steps=3"), "--sampling.steps: no such field"
  )
  command_line.assert_one_line(run(f"--out={tmp_path / 'b'}", "--sampling=3"), "FIELD=VALUE")
  command_line.assert_one_line(
    run(f"--out={tmp_path / 'b'}", "--with_image=x", "--ema=0.1"), "--ema"
  )
  scores.write_text('{"shape": "good"}')
  command_line.assert_one_line(run(f"--out={tmp_path / 'b'}"), "--scores=", "must hold")
  command_line.assert_one_line(
    run(f"--out={tmp_path / 'b'}", f"--workdir={runs['t2i']}", "--only=temporal", "--scores="),
    "has no temporal part",
  )
