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

from lumiere import checkpoints, checksums, pretrained
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


def other_run(run, folder, **sections):
  """A copy of a run that says of itself that it was trained with some fields otherwise."""
  shutil.copytree(run, folder)
  config, sums = (
    folder / "checkpoints" / "2" / name / "metadata" for name in ("config", "checksums")
  )
  said, sealed = json.loads(config.read_text()), json.loads(sums.read_text())
  for name, fields in sections.items():
    said[name] |= fields
  sealed["notes"]["config"] = checksums.digest(said)
  sealed["digest"] = checksums.digest({name: sealed[name] for name in ("trees", "notes")})
  config.write_text(json.dumps(said))
  sums.write_text(json.dumps(sealed))
  return folder


def files(folder):
  return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_video_sheet_slice_and_sidecar_again_and_again(sample, models, tmp_path):
  for name in ("one", "two"):
    code, stdout, _ = sample(f"--prompt={PROMPT}", "--steps=2", *models, f"--out={tmp_path / name}")
    assert code == 0 and stdout.strip().endswith("000_a-red-circle-rests-on-black_seed0.mp4")
  one, two = files(tmp_path / "one"), files(tmp_path / "two")
  stem = "000_a-red-circle-rests-on-black_seed0"
  assert sorted(one) == [f"{stem}.json", f"{stem}.mp4", f"{stem}_sheet.png", f"{stem}_xt.png"]
  assert one == two
  decoded = frames.read_video(tmp_path / "one" / f"{stem}.mp4", 8)
  assert decoded.shape == (8, 256, 256, 3)
  about = json.loads(one[f"{stem}.json"])
  assert about["prompt"] == PROMPT and about["num_frames"] == 8 and about["base"]["step"] == 2
  assert about["base"]["sampling"]["num_steps"] == 2 and about["ssr"]["step"] == 2
  assert about["text_encoder"] is None and about["version"].startswith("0.")


def test_formats_lengths_and_prompt_files(sample, models, tmp_path):
  prompts = tmp_path / "prompts.txt"
  prompts.write_text(f"{PROMPT}\n\na white square rests on navy\n")
  code, _, _ = sample(
    f"--prompts_file={prompts}", "--format=png", "--num_frames=4", "--batch_size=1",
    "--guidance_scale=3", "--guidance_interval=-2,2", "--seed=1", models[0], f"--out={tmp_path / 'out'}",
  )  # fmt: skip
  assert code == 0
  folder = tmp_path / "out" / "001_a-white-square-rests-on-navy_seed1.png"
  assert sorted(path.name for path in folder.iterdir()) == [f"{i:04d}.png" for i in range(4)]
  with Image.open(folder / "0000.png") as picture:
    assert picture.size == (8, 8)


@pytest.fixture(scope="module")
def masked(runs, masked_run):
  """The flags that name a conditional base with super-resolution."""
  return f"--workdir={masked_run}", f"--ssr_workdir={runs['ssr']}", "--steps=1", "--ssr_steps=1"


@pytest.fixture(scope="module")
def given(tmp_path_factory):
  """A folder with a picture, masks and a video of 8 frames at the models' frame rate."""
  folder = tmp_path_factory.mktemp("given")
  video = np.random.default_rng(0).integers(0, 256, (8, 32, 32, 3), dtype=np.uint8)
  video = video.repeat(8, axis=1).repeat(8, axis=2)  # survives the codec
  mask = np.zeros((256, 256, 3), np.uint8)
  mask[64:192, 64:192] = 255
  frames.write_image(folder / "picture.png", video[0])
  frames.write_image(folder / "mask.png", mask)
  frames.write_image(folder / "small_mask.png", mask[::2, ::2])
  frames.write_video(folder / "clip.mp4", video, 8)
  (folder / "text.png").write_text("not a picture")
  return folder


def numbered(folder):
  """[t h w 3] of a result in numbered frames."""
  [result] = [path for path in folder.iterdir() if path.suffix == ".png" and path.is_dir()]
  return np.stack([frames.read_image(path) for path in sorted(result.iterdir())])


def test_a_picture_moves_where_it_is_to(sample, masked, given, tmp_path):
  image, mask = f"--image={given / 'picture.png'}", f"--mask={given / 'mask.png'}"
  code, stdout, stderr = sample(
    "animate", f"--prompt={PROMPT}", image, mask, *masked, "--format=png", f"--out={tmp_path}"
  )
  assert code == 0, stderr
  assert "256x256 pixels" in stdout
  made, picture = numbered(tmp_path), frames.read_image(given / "picture.png")[::8, ::8]
  assert made.shape == (8, 32, 32, 3)
  np.testing.assert_array_equal(made[0], picture)
  np.testing.assert_array_equal(made[:, :8], np.repeat(picture[None, :8], 8, axis=0))
  about = json.loads(next(tmp_path.glob("*.json")).read_text())
  assert about["command"] == "animate" and about["image"] == [str(given / "picture.png")]


def test_a_box_of_a_video_is_made_anew(sample, masked, given, tmp_path):
  code, stdout, stderr = sample(
    "fill", f"--prompt={PROMPT}", f"--video={given / 'clip.mp4'}", "--box=0,0,128,256", *masked,
    "--size=24x32", "--format=png", f"--out={tmp_path}",
  )  # fmt: skip
  assert code == 0, stderr
  assert "8 frames at 8 fps, 8 used; 256x256 pixels (height x width), the middle 192x256" in stdout
  made, video = numbered(tmp_path), frames.read_video(given / "clip.mp4", 8)
  # Frame by frame, as they are read: sums of a whole clip may be rounded otherwise.
  kept = np.stack([frames.fit(frame, 24, 32) for frame in video])[:, :, 16:]
  np.testing.assert_array_equal(made[:, :, 16:], kept)


def test_prompts_along_time_and_styles_on_a_strip(sample, runs, style_run, tmp_path):
  code, stdout, stderr = sample(
    "extend", "--num_frames=20", "--prompt=0: a red circle rests on black", "--prompt=10: a white square rests on navy",
    f"--workdir={runs['stunet']}", f"--style={style_run}", "--style_strength=0", "--style_strength=1", "--steps=1",
    f"--out={tmp_path}",
  )  # fmt: skip
  assert code == 0, stderr
  names = [path.name for path in tmp_path.iterdir()]
  assert sum(name.endswith(".mp4") for name in names) == 2
  assert sum(name.endswith("_styles.png") for name in names) == 1
  about = json.loads(next(tmp_path.glob("*style1.json")).read_text())
  assert about["prompt"] == {
    "0": "a red circle rests on black",
    "10": "a white square rests on navy",
  }
  assert (
    about["style"]["strength"] == 1 and about["style"]["step"] == 2 and about["num_frames"] == 20
  )


def test_help_shows_an_example_of_every_command(sample):
  code, stdout, _ = sample("--help")
  assert code == 0
  for command in ("generate", "animate", "fill", "edit", "extend"):
    assert f"  {command}: " in stdout
    code, own, _ = sample(command, "--help")
    assert code == 0 and "python sample.py" in own and "--prompt" in own
  assert "--strength" not in own and "--num_frames" in own


def test_without_a_workdir_the_models_that_ship_are_used(
  sample, runs, style_run, tmp_path, monkeypatch
):
  # Stand-ins, which sample in a moment; tests/lumiere/test_pretrained.py has those that ship.
  for name, stage in (("BASE", "stunet"), ("SSR", "ssr")):
    monkeypatch.setattr(pretrained, name, runs[stage])
  (tmp_path / "styles").mkdir()
  (tmp_path / "styles" / "mosaic").symlink_to(style_run)
  monkeypatch.setattr(pretrained, "STYLES", tmp_path / "styles")
  out = f"--out={tmp_path / 'out'}"
  code, stdout, _ = sample(f"--prompt={PROMPT}", "--steps=1", "--style=mosaic", out)
  assert code == 0 and stdout.count("using the model that ships with the package") == 1
  (made,) = (tmp_path / "out").glob("*.json")
  about = json.loads(made.read_text())
  assert about["ssr"]["workdir"] == str(runs["ssr"])
  assert about["style"]["workdir"].endswith("styles/mosaic")
  low = sample(f"--prompt={PROMPT}", "--steps=1", "--ssr_workdir=", f"--out={tmp_path / 'low'}")
  assert low[0] == 0
  (made,) = (tmp_path / "low").glob("*.json")
  assert "ssr" not in json.loads(made.read_text())


def test_what_cannot_be_made_is_said_before_weights_are_read(
  sample, models, masked, given, runs, tmp_path, monkeypatch
):
  def unexpected(workdir, *_):
    raise AssertionError(f"weights of {workdir} are read")

  monkeypatch.setattr(checkpoints, "load_trained", unexpected)
  prompt, out = f"--prompt={PROMPT}", f"--out={tmp_path / 'out'}"
  image, video = f"--image={given / 'picture.png'}", f"--video={given / 'clip.mp4'}"
  common = [prompt, out, masked[0]]
  other_style = other_run(runs["t2i"], tmp_path / "style", model={"norm_groups": 2})
  other_ssr = other_run(runs["ssr"], tmp_path / "ssr", data={"resolution": 64})
  other_text = other_run(
    runs["stunet"], tmp_path / "text", text={"encoder": None}, data={"embeddings": "states"}
  )
  cases = (
    (["animate", *common, f"--image={given / 'text.png'}"], ("text.png", "no picture")),
    (["animate", *common, f"--image={given / 'none.png'}"], ("none.png", "no such file")),
    (["animate", *common], ("--image is missing",)),
    (["animate", *common, image, f"--mask={given / 'small_mask.png'}"], ("128x128", "256x256")),
    (["animate", *common, image, "--at=8"], ("keyframe 8", "0 to 7")),
    (["animate", *common, image, "--soft_edge=-1", f"--mask={given / 'mask.png'}"], ("soft_edge=-1",)),
    (["animate", prompt, out, *models, image], ("no known pixels", "config.masks")),
    (["fill", *common, video], ("--mask", "--box", "--border")),
    (["fill", *common, video, "--box=1,2,3"], ("--box=1,2,3", "four whole numbers")),
    (["fill", *common, video, "--box=0,0,999,9"], ("--box=0,0,999,9", "256 pixels wide and 256 high")),
    (["fill", *common, f"--video={given / 'text.png'}", "--box=0,0,9,9"], ("text.png", "video")),
    (["edit", *common, video, "--strength=1.5"], ("--strength=1.5", "between 0 and 1")),
    (["edit", *common, video, "--strength=0"], ("--strength=0", "no step to run")),
    (["edit", *common], ("--video is missing",)),
    (["animate", *common, image, "--soft_edge=2"], ("--soft_edge needs --mask",)),
    (["extend", *common], ("--num_frames is missing",)),
    (["extend", *common, "--num_frames=4", video], ("num_frames=4", "8 frames")),
    (["generate", *common, image], ("--image", "'generate'", "animate")),
    ([*common, "--style_strength=0.5"], ("--style_strength needs --style",)),
    ([*common, f"--style={runs['t2i']}", "--style_strength=-1"], ("--style_strength=-1",)),
    ([*common, f"--style={runs['ssr_image']}"], ("'ssr_image'", "'t2i'")),
    ([*common, f"--style={other_style}"], ("its model", "norm_groups=2")),
    (["generate", out, *masked, "--prompt=0: a", "--prompt=b"], ("'b'", "no frame")),
    (["generate", out, *masked, "--prompt=0: a", "--prompt=9: b"], ("frame 9", "8 frames")),
    (["generate", out, *masked, "--prompt=0: a", "--prompt=7: b"], ("frame 7", "too few frames")),
    ([prompt, out, *models, "--num_frames=7"], ("num_frames=7", "6 or 8")),
    ([prompt, out, *models, "--num_frames=0"], ("--num_frames=0", "1 or more")),
    (["animate", *common, image, "--num_frames=7"], ("num_frames=7", "6 or 8")),
    ([prompt, out, *models, "--base_window=3"], ("window=3", "2 or 4")),
    ([prompt, out, models[0], f"--ssr_workdir={other_ssr}"], ("8x8", "16x16 to 64x64")),
    ([prompt, out, f"--workdir={other_text}"], ("text_encoder is missing", "text")),
    ([*common, f"--text_encoder={tmp_path}"], ("text_encoder", "is not used")),
  )  # fmt: skip
  for arguments, words in cases:
    assert_one_line(sample(*arguments), *words)


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
    ([prompt, out, "--workdir="], ("--workdir is empty",)),
    ([prompt, out, f"--workdir={tmp_path / 'none'}"], ("none", "does not exist")),
    ([prompt, out, f"--workdir={runs['t2i']}"], ("'t2i'", "'stunet'")),
    ([prompt, out, models[0], f"--ssr_workdir={runs['stunet']}"], ("'stunet'", "'ssr'")),
    ([prompt, out, *models, "--step=7"], ("step 7", "2")),
    ([prompt, out, *models, "--guidance_scale=-1"], ("guidance_scale=-1",)),
    ([prompt, out, *models, "--steps=-3"], ("num_steps=-3",)),
    ([prompt, out, *models, "--steps=many"], ("--steps",)),
    ([prompt, out, *models, "--steps=99999999999"], ("num_steps=99999999999", "10000")),
    ([prompt, out, *models, "--seed=-1"], ("--seed=-1", "between 0")),
    ([prompt, out, *models, "--seed=99999999999"], ("--seed=99999999999",)),
    ([prompt, out, *models, "--fps=1e12"], ("--fps=1000000000000.0", "1000")),
    ([prompt, out, *models, "--fps=1e-9"], ("--fps=1e-09",)),
    ([prompt, out, *models, "--base_stride=2"], ("--base_stride needs --base_window",)),
    ([prompt, out, models[0], "--ssr_steps=2"], ("--ssr_steps needs --ssr_workdir",)),
    ([prompt, out, models[0], "--window=8"], ("--window needs --ssr_workdir", "--base_window")),
    ([prompt, out, *models, "--window=-8"], ("window=-8",)),
    ([prompt, out, *models, "--stride=0"], ("stride=0",)),
    ([prompt, out, *models, "--guidance_scale=nan"], ("guidance_scale=nan", "finite number")),
    ([prompt, out, *models, "--fps=0"], ("--fps=0", "between 0.1 and 1000")),
    ([prompt, out, *models, "--fps=nan"], ("--fps=nan", "between")),
    ([prompt, out, *models, "--batch_size=0"], ("--batch_size=0",)),
    ([prompt, out, *models, "--size=30x32"], ("--size=30x32", "multiples of 8", "32x32 and 24x32")),
    ([prompt, out, *models, "--size=wide"], ("--size=wide", "HEIGHTxWIDTH")),
    (["edit", prompt, out, *models, "--fit=bucket", "--size=32"], ("--fit=bucket", "--size=32")),
    (["extend", prompt, out, *models, "--fit=bucket", "--num_frames=16"], ("--fit=bucket needs an image or a video",)),
    ([prompt, out, *models, "--guidance_interval=2,-6"], ("guidance_interval=(2.0, -6.0)", "(lowest, highest)")),
    ([prompt, out, *models, "--guidance_interval=low,2"], ("--guidance_interval=low,2", "LOWEST,HIGHEST")),
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
