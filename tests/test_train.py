"""train.py: flags in, a run out; and what it says when it cannot."""

import functools
import os

import pytest

from lumiere import checkpoints
from tests.command_line import assert_one_line, run


@pytest.fixture
def train(monkeypatch, capsys):
  """train(flag, ...) -> (exit code, stdout, stderr)."""
  return functools.partial(run, monkeypatch, capsys, "train.py")


def test_flags_change_the_config_and_the_same_command_ends_at_once(train, tmp_path):
  command = [
    "--config=configs/ssr_image_tiny.py", f"--workdir={os.path.relpath(tmp_path)}/run", "--config.train.num_steps=1",
    "--config.train.batch_size=8", "--config.model.channels=(8,)", "--config.model.norm_groups=4",
    "--config.data.resolution=32", "--config.super_resolution.crop=16",
    f"--config.data.data_dir={tmp_path}", "--config.data.moving_shapes.num_train=8",
    "--config.data.moving_shapes.num_held_out=4", "--config.data.moving_shapes.num_frames=2",
    "--config.data.moving_shapes.resolution=32",
  ]  # fmt: skip
  assert train(*command)[0] == 0
  experiment, step = checkpoints.load_experiment(tmp_path / "run")
  assert step == 1 and experiment.model.channels == (8,) and experiment.train.num_steps == 1
  assert train(*command)[0] == 0


def test_what_cannot_be_done_is_said(train, tmp_path):
  (tmp_path / "videos").mkdir()
  (tmp_path / "videos" / "a.mp4").write_bytes(b"no video")
  (tmp_path / "videos" / "captions.csv").write_text("file,caption\na.mp4,a clip\n")
  data = f"--config.data.data_dir={tmp_path / 'data'}"
  tiny, stunet = (
    (f"--config=configs/{name}.py", f"--workdir={tmp_path / 'run'}", data)
    for name in ("t2i_tiny", "stunet_tiny")
  )
  folder = "--config.data.dataset=video_folder"
  cases = (
    ([tiny[1]], ("--config is missing",)),
    (["--config=configs/none.py", tiny[1]], ("none.py",)),
    ([*tiny, "--config.train.num_step=5"], ("--config.train.num_step=5",)),
    ([*tiny, "--config.modle.channels=(8,)"], ("modle",)),
    ([*tiny, "--config.train.num_steps=ten"], ("num_steps",)),
    ([*tiny, "--config.train.num_steps=-1"], ("config.train.num_steps=-1",)),
    ([*tiny, "--config.train.batch_size=12"], ("batch_size=12", "8")),
    ([*tiny, "--config.stage=video"], ("stage='video'", "stunet")),
    ([*tiny, "--config.diffusion.prediction=y"], ("'y'", "eps")),
    ([*tiny, "--config.model.norm_groups=7"], ("norm_groups",)),
    ([*tiny, "--config.model.channels=()"], ("config.model: channels=()", "each level")),
    ([*tiny, "--config.text.encoder.vocab_size=10"], ("vocab_size=10", "384 or more")),
    ([*tiny, "--config.optimizer.learning_rate=-1e-3"], ("learning_rate",)),
    ([*tiny, "--config.optimizer.learning_rate=nan"], ("learning_rate=nan",)),
    ([*tiny, "--config.optimizer.b2=1.5"], ("config.optimizer.b2=1.5",)),
    ([*tiny, "--config.seed=-1"], ("seed=-1", "0 or more")),
    ([*tiny, "--config.data.fps=0"], ("config.data.fps=0", "between 0.1 and 1000")),
    ([*tiny, "--config.train.batch_size=8.5"], ("batch_size=8.5", "whole number")),
    ([*stunet, "--config.temporal.head_dim=7"], ("temporal.head_dim=7", "64 channels")),
    ([*tiny, "--config.data.num_workers=-1"], ("config.data.num_workers=-1",)),
    (stunet, ("config.init_from is empty", "'t2i'")),
    ([*stunet, f"--config.init_from={tmp_path / 'none'}"], ("none", "does not exist")),
    ([*stunet, "--config.data.num_frames=7"], ("num_frames=7", "4 or 8")),
    ([*tiny, folder, f"--config.data.folder={tmp_path / 'no'}"], ("no", "folder")),
    (
      [*tiny, folder, f"--config.data.folder={tmp_path / 'videos'}"],
      ("gives no clips", "a.mp4"),
    ),
    ([*tiny, f"--workdir={tmp_path / 'videos' / 'a.mp4'}"], ("a.mp4",)),
  )  # fmt: skip
  for arguments, words in cases:
    assert_one_line(train(*arguments), *words)
    # Nothing is made for a run that cannot be.
    assert not (tmp_path / "data" / "moving_shapes").exists()


def test_a_config_file_that_cannot_be_used_is_named_with_its_line(train, tmp_path):
  files = {
    "syntax": "def get_config(:\n",
    "empty": "x = 1\n",
    "raises": "\ndef get_config():\n  return {}['oops']\n",
    "number": "def get_config():\n  return 3\n",
    "imports": "import nothere\n",
  }
  for name, text in files.items():
    (tmp_path / f"{name}.py").write_text(text)
  cases = (
    ("syntax.py", ("syntax.py, line 1", "SyntaxError")),
    ("empty.py", ("empty.py", "get_config")),
    ("raises.py", ("raises.py, line 3", "KeyError: 'oops'")),
    ("number.py", ("ConfigDict", "int")),
    ("imports.py", ("line 1", "nothere")),
    ("none.py", ("none.py does not exist",)),
    (".", ("is a folder",)),
  )
  for name, words in cases:
    assert_one_line(train(f"--config={tmp_path / name}"), *words)
    assert_one_line(train("--config", tmp_path / name), *words)
  assert_one_line(train("--config=configs/stunet_if.py:S"), "'S'", "M, L, XL")
  assert_one_line(train("--config=configs/t2i_tiny.py:S"), "no variants", "'S'")
