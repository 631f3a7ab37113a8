"""train.py: flags in, a run out; and what it says when it cannot."""

import functools
import os
import pathlib

import pytest

from lumiere.training import checkpoints
from tests.command_line import assert_one_line, run


@pytest.fixture
def train(monkeypatch, capsys):
  """train(flag, ...) -> (exit code, stdout, stderr)."""
  return functools.partial(run, monkeypatch, capsys, "train.py")


def test_flags_change_the_config_and_the_same_command_ends_at_once(train, tmp_path):
  command = [
    "--config=configs/ssr_image_tiny.py", f"--workdir={os.path.relpath(tmp_path)}/run", "--config.train.num_steps=1",
    "--config.train.batch_size=8", "--config.model.channels=(8,8)", "--config.model.norm_groups=4",
    "--config.data.resolution=32", "--config.super_resolution.crop=16",
    f"--config.data.data_dir={tmp_path}", "--config.data.moving_shapes.num_train=8",
    "--config.data.moving_shapes.num_held_out=4", "--config.data.moving_shapes.num_frames=2",
    "--config.data.moving_shapes.resolution=32",
  ]  # fmt: skip
  assert train(*command)[0] == 0
  experiment, step = checkpoints.load_experiment(tmp_path / "run")
  assert step == 1 and experiment.model.channels == (8, 8) and experiment.train.num_steps == 1
  assert train(*command)[0] == 0


def test_what_cannot_be_done_is_said(train, tmp_path):
  (tmp_path / "videos").mkdir()
  (tmp_path / "videos" / "a.mp4").write_bytes(b"no video")
  (tmp_path / "videos" / "captions.csv").write_text("file,caption\na.mp4,a clip\n")
  tiny, workdir = "--config=configs/t2i_tiny.py", f"--workdir={tmp_path / 'run'}"
  folder = ["--config.data.dataset=video_folder", f"--config.data.data_dir={tmp_path}"]
  cases = (
    ([workdir], ("--config is missing",)),
    (["--config=configs/none.py", workdir], ("none.py",)),
    ([tiny, workdir, "--config.train.num_step=5"], ("--config.train.num_step=5",)),
    ([tiny, workdir, "--config.modle.channels=(8,)"], ("modle",)),
    ([tiny, workdir, "--config.train.num_steps=ten"], ("num_steps",)),
    ([tiny, workdir, "--config.train.num_steps=-1"], ("config.train.num_steps=-1",)),
    ([tiny, workdir, "--config.train.batch_size=12"], ("batch_size=12", "8")),
    ([tiny, workdir, "--config.stage=video"], ("stage='video'", "stunet")),
    ([tiny, workdir, "--config.diffusion.prediction=y"], ("'y'", "eps")),
    ([tiny, workdir, "--config.model.norm_groups=7"], ("norm_groups",)),
    ([tiny, workdir, "--config.optimizer.learning_rate=-1e-3"], ("learning_rate",)),
    (["--config=configs/stunet_tiny.py", workdir], ("config.init_from is empty", "'t2i'")),
    (
      ["--config=configs/stunet_tiny.py", workdir, f"--config.init_from={tmp_path / 'none'}"],
      ("none", "does not exist"),
    ),
    (
      ["--config=configs/stunet_tiny.py", workdir, "--config.data.num_frames=7"],
      ("num_frames=7", "4 or 8"),
    ),
    ([tiny, workdir, *folder, f"--config.data.folder={tmp_path / 'no'}"], ("no", "folder")),
    (
      [tiny, workdir, *folder, f"--config.data.folder={tmp_path / 'videos'}"],
      ("gives no clips", "a.mp4"),
    ),
    ([tiny, f"--workdir={tmp_path / 'videos' / 'a.mp4'}"], ("a.mp4",)),
  )  # fmt: skip
  made = pathlib.Path("data").exists()
  for arguments, words in cases:
    assert_one_line(train(*arguments), *words)
  assert pathlib.Path("data").exists() == made  # all that is wrong is said before data is made
