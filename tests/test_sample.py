"""sample.py: what it writes, that it writes it again, and what it says when it cannot."""

import functools
import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from lumiere.data import frames
from tests.command_line import assert_one_line, run

PROMPT = "a red circle rests on black"


@pytest.fixture
def sample(monkeypatch, capsys):
  """sample(flag, ...) -> (exit code, stdout, stderr)."""
  return functools.partial(run, monkeypatch, capsys, "sample.py")


@pytest.fixture(scope="module")
def models(runs):
  """The flags that name trained models."""
  return f"--workdir={os.path.relpath(runs['stunet'])}", f"--ssr_workdir={runs['ssr']}"


def files(folder):
  return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_video_sheet_slice_and_sidecar_again_and_again(sample, models, tmp_path):
  for name in ("one", "two"):
    code, stdout, _ = sample(f"--prompt={PROMPT}", "--steps=2", *models, f"--out={tmp_path / name}")
    assert code == 0 and stdout.strip().endswith("000_a-red-circle-rests-on-black.mp4")
  one, two = files(tmp_path / "one"), files(tmp_path / "two")
  stem = "000_a-red-circle-rests-on-black"
  assert sorted(one) == [f"{stem}.json", f"{stem}.mp4", f"{stem}_sheet.png", f"{stem}_xt.png"]
  assert one == two
  decoded = np.stack([frame for _, frame in frames.decode(tmp_path / "one" / f"{stem}.mp4")])
  assert decoded.shape == (8, 256, 256, 3)
  about = json.loads(one[f"{stem}.json"])
  assert about["prompt"] == PROMPT and about["num_frames"] == 8 and about["base"]["step"] == 2
  assert about["base"]["sampling"]["num_steps"] == 2 and "ssr" in about


def test_formats_lengths_and_prompt_files(sample, models, tmp_path):
  prompts = tmp_path / "prompts.txt"
  prompts.write_text(f"{PROMPT}\n\na white square rests on navy\n")
  code, _, _ = sample(
    f"--prompts_file={prompts}", "--format=png", "--num_frames=4", "--batch_size=1",
    "--guidance_scale=1", "--seed=1", models[0], f"--out={tmp_path / 'out'}",
  )  # fmt: skip
  assert code == 0
  folder = tmp_path / "out" / "001_a-white-square-rests-on-navy.png"
  assert sorted(path.name for path in folder.iterdir()) == [f"{i:04d}.png" for i in range(4)]
  with Image.open(folder / "0000.png") as picture:
    assert picture.size == (8, 8)


def test_from_a_shell_an_error_is_one_line_and_exit_code_1(tmp_path):
  command = [sys.executable, "sample.py", f"--prompt={PROMPT}", f"--workdir={tmp_path}/none"]
  done = subprocess.run([*command, f"--out={tmp_path}/out"], capture_output=True, text=True)
  assert done.returncode == 1 and done.stderr.startswith("error: ") and "none" in done.stderr
  assert len(done.stderr.splitlines()) == 1


def test_what_cannot_be_done_is_said(sample, models, runs, tmp_path):
  prompt, out = f"--prompt={PROMPT}", f"--out={tmp_path / 'out'}"
  (tmp_path / "empty.txt").write_text("\n \n")
  (tmp_path / "file").write_text("")
  cases = (
    ([*models, out], ("--prompt is missing",)),
    ([*models, out, f"--prompts_file={tmp_path / 'empty.txt'}"], ("empty.txt", "no prompt")),
    ([*models, out, f"--prompts_file={tmp_path / 'no.txt'}"], ("no.txt",)),
    ([*models, out, "--prompt= "], ("--prompt=' '", "blank")),
    ([prompt, out], ("--workdir is missing",)),
    ([prompt, out, f"--workdir={tmp_path / 'none'}"], ("none", "does not exist")),
    ([prompt, out, f"--workdir={runs['t2i']}"], ("'t2i'", "'stunet'")),
    ([prompt, out, models[0], f"--ssr_workdir={runs['stunet']}"], ("'stunet'", "'ssr'")),
    ([prompt, out, *models, "--step=7"], ("step 7", "2")),
    ([prompt, out, *models, "--num_frames=7"], ("num_frames=7", "6 or 8")),
    ([prompt, out, *models, "--guidance_scale=-1"], ("guidance_scale=-1",)),
    ([prompt, out, *models, "--steps=-3"], ("num_steps=-3",)),
    ([prompt, out, *models, "--steps=many"], ("--steps",)),
    ([prompt, out, *models, "--window=-8"], ("window=-8",)),
    ([prompt, out, *models, "--stride=0"], ("stride=0",)),
    ([prompt, out, *models, "--fps=0"], ("--fps=0",)),
    ([prompt, out, *models, "--batch_size=0"], ("--batch_size=0",)),
    ([prompt, out, *models, "--format=avi"], ("--format", "mp4")),
    ([prompt, out, *models, "--sampler=euler"], ("--sampler", "ddim")),
    ([prompt, out, *models, "--sede=1"], ("sede",)),
    ([prompt, out, *models, "more"], ("'more'", "flag")),
    ([prompt, *models, f"--out={tmp_path / 'file'}"], ("--out", "file")),
  )  # fmt: skip
  for arguments, words in cases:
    assert_one_line(sample(*arguments), *words)


def test_a_damaged_checkpoint_is_named(sample, runs, tmp_path):
  workdir = tmp_path / "damaged"
  shutil.copytree(runs["stunet"], workdir)
  for path in (workdir / "checkpoints" / "2" / "ema").rglob("*"):
    if path.is_file():
      path.write_bytes(os.urandom(8))
  result = sample(f"--prompt={PROMPT}", f"--workdir={workdir}", f"--out={tmp_path / 'out'}")
  assert_one_line(result, "step 2", "damaged", "cannot be read")
