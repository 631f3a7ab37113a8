"""The command that compares two folders of videos, with a small backbone in place of I3D."""

import json
import pathlib

import numpy as np
import pytest

from lumiere.evaluation.metrics import clip, i3d_weights
from lumiere.evaluation.metrics.backbone import Backbone
from lumiere.evaluation.metrics.distances import kernel_distance
from tests.command_line import assert_one_line, run
from tests.lumiere.data import media

SCRIPT = str(pathlib.Path(__file__).parents[2] / "lumiere" / "evaluate.py")


@pytest.fixture
def evaluate(monkeypatch, capsys, tmp_path):
  """Runs the command on tmp_path/made and tmp_path/true, eight videos each."""
  rng = np.random.default_rng(0)
  for name, least in (("made", 0), ("true", 100)):
    for index in range(8):
      clip = rng.integers(least, 256, (4, 8, 8, 3), np.uint8)
      media.write(tmp_path / name / f"{index}.mkv", clip, 8)
  means = lambda clips, _: np.asarray(clips.mean(axis=(1, 2, 3)))
  backbone = Backbone("means", "0" * 64, means)
  monkeypatch.setattr(i3d_weights, "load_backbone", lambda path: backbone)

  def call(*args, videos="made"):
    fixed = (f"--videos={tmp_path / videos}", f"--cache={tmp_path / 'cache'}", "--num_frames=4")
    return run(monkeypatch, capsys, SCRIPT, *fixed, *args)

  return call


def test_two_folders_are_compared_and_shown(evaluate, tmp_path):
  (tmp_path / "made" / "broken.mp4").write_bytes(b"no video")
  true, out = f"--reference={tmp_path / 'true'}", tmp_path / "out"
  code, printed, _ = evaluate(true, f"--out={out}")
  assert code == 0 and "8 videos, 1 left out" in printed
  results = json.loads((out / "results.json").read_text())
  assert list(results["skipped"]) == ["broken.mp4"]
  fvd, kvd = results["figures"]
  rows = [np.stack([clip_of(tmp_path / name / f"{i}.mkv") for i in range(8)]) for name in ("made", "true")]  # fmt: skip
  assert kvd["value"] == pytest.approx(kernel_distance(*rows), rel=1e-4)
  assert fvd["value"] > 0 and "means 0000" in fvd["protocol"]
  assert "own fps" in kvd["protocol"] and fvd["protocol"] in printed
  assert "broken.mp4" in (out / "index.html").read_text()
  assert_one_line(evaluate(true, "--on_error=stop"), "broken.mp4")


def clip_of(path) -> np.ndarray:
  from lumiere.data import frames

  return frames.read_video(path, 8.0).mean(axis=(0, 1, 2))


def test_moments_stand_for_a_folder(evaluate, tmp_path):
  moments = tmp_path / "true.npz"
  assert evaluate(f"--save_moments={moments}", videos="true")[0] == 0
  code, printed, _ = evaluate(f"--reference={moments}", "--metrics=fvd")
  assert code == 0
  _, whole, _ = evaluate(f"--reference={tmp_path / 'true'}", "--metrics=fvd")
  assert printed.splitlines()[-1] == whole.splitlines()[-1]
  assert_one_line(evaluate(f"--reference={moments}"), "kvd needs the reference's videos")
  wrong = evaluate(f"--reference={moments}", "--metrics=fvd", "--frames=first")
  assert_one_line(wrong, "frames='centre'", "'first'")


def test_a_dataset_of_tfds_is_a_reference(evaluate, tmp_path):
  rng = np.random.default_rng(0)
  videos = [rng.integers(0, 256, (5 + i % 2, 8, 8, 3), np.uint8) for i in range(6)]
  folder = prepare(tmp_path, videos)
  code, printed, _ = evaluate(f"--reference={folder}", "--metrics=kvd", "--frames=first")
  assert code == 0 and "clips/1.0.0, split train: 6 videos" in printed
  for index, video in enumerate(videos):
    media.write(tmp_path / "files" / f"{index}.mkv", video, 8)
  of_files = f"--reference={tmp_path / 'files'}"
  _, same, _ = evaluate(of_files, "--metrics=kvd", "--frames=first")
  assert printed.splitlines()[-1] == same.splitlines()[-1]
  wrong = evaluate(f"--reference={folder}", "--split=test")
  assert_one_line(wrong, "has no split 'test', only train")
  assert_one_line(evaluate(of_files, videos=folder.relative_to(tmp_path)), "--videos: a dataset")
  moments = f"--save_moments={tmp_path / 'moments.npz'}"
  assert evaluate(moments, videos=folder.relative_to(tmp_path))[0] == 0


def prepare(data_dir: pathlib.Path, videos) -> pathlib.Path:
  """A dataset of TFDS in its default format, with a feature that is not needed."""
  import tensorflow_datasets as tfds

  class Clips(tfds.core.GeneratorBasedBuilder):
    VERSION = tfds.core.Version("1.0.0")
    pkg_dir_path = None

    def _info(self):
      video = tfds.features.Video(shape=(None, 8, 8, 3), encoding_format="png")
      features = tfds.features.FeaturesDict({"video": video, "label": np.int64})
      return tfds.core.DatasetInfo(builder=self, description="", features=features)

    def _split_generators(self, dl_manager):
      return {"train": ((i, {"video": v, "label": i}) for i, v in enumerate(videos))}

    def _generate_examples(self):
      raise NotImplementedError

  builder = Clips(data_dir=data_dir)
  builder.download_and_prepare()
  return pathlib.Path(builder.data_path)


def test_shards_fill_the_cache(evaluate, tmp_path, monkeypatch):
  for index in range(3):
    code, printed, _ = evaluate(f"--shard={index}/3")
    assert code == 0 and f"features of shard {index}/3" in printed
  assert len(list((tmp_path / "cache").glob("*/*.npz"))) == 3


def test_a_preset_is_a_protocol_that_flags_change(evaluate, tmp_path):
  true = f"--reference={tmp_path / 'true'}"
  assert_one_line(evaluate(true, "--preset=ucf101_zero_shot"), "num_videos=10000", "has 8")
  code, printed, _ = evaluate(true, "--preset=msrvtt", "--num_videos=6", "--repeats=3")
  assert code == 0 and "at 30 fps; square crop, 256 pixels" in printed
  assert "3 draws of 6" in printed and "+-" in printed


def test_clip_needs_no_reference_but_captions(evaluate, tmp_path, monkeypatch):
  """A stand-in for CLIP: a frame's vector is that of its mean colour, a caption names a colour."""

  def vectors(clips, _):
    means = np.asarray(clips.mean(axis=(2, 3)))
    return (means / np.linalg.norm(means, axis=-1, keepdims=True)).reshape(len(means), -1)

  of_text = lambda texts: np.array([[1.0, 0, 0] if "red" in t else [0, 1.0, 0] for t in texts])
  model = clip.Clip(Backbone("colours", "1" * 16, vectors), 3, of_text)
  monkeypatch.setattr(clip.Clip, "load", classmethod(lambda cls, folder: model))
  for index in range(2):
    video = np.zeros((4, 8, 8, 3), np.uint8)
    video[..., index] = 200
    media.write(tmp_path / "coloured" / f"{index}.mkv", video, 8)
  both = ["--metrics=clipsim,consistency", "--clip=runs/clip"]
  assert_one_line(evaluate(*both, videos="coloured"), "2 of 2 videos have none")
  (tmp_path / "coloured" / "captions.csv").write_text("file,caption\n0.mkv,red\n1.mkv,red\n")
  code, printed, _ = evaluate(*both, f"--out={tmp_path / 'out'}", videos="coloured")
  assert code == 0 and "clipsim 0.500" in printed and "consistency 1.000" in printed
  assert "2 videos; centre 4 frames" in printed and "cubic antialiased" in printed
  assert (tmp_path / "out" / "index.html").exists()


@pytest.mark.parametrize(
  "args,words",
  [
    ([], "--reference"),
    (["--reference=nowhere"], "--reference=nowhere is not a folder"),
    (["--shard=3/3"], "--shard=3/3 must be i/n"),
    (
      ["--reference=nowhere", "--metrics=fid"],
      "--metrics=fid: metrics are fvd, kvd, clipsim, consistency, is",
    ),
    (["--reference=nowhere", "--repeats=3"], "repeats=3 needs num_videos"),
    (["--reference=x.npz", "--save_moments=y.npz"], "--reference"),
    (["--metrics=clipsim"], "--clip, a converted CLIP model, goes with"),
    (["--reference=x.npz", "--metrics=clipsim", "--clip=x"], "--reference"),
    (["--metrics=is", "--c3d=x.npz"], "--c3d and --c3d_mean"),
    (["--metrics=is", "--c3d=x.npz", "--c3d_mean=x.npz"], "x.npz cannot be read as .npz"),
    (["--reference=x.npz"], "x.npz cannot be read as the moments"),
  ],
)
def test_bad_flags_are_one_line(evaluate, args, words):
  assert_one_line(evaluate(*args), words)


def test_videos_are_generated_first(evaluate, tmp_path, runs):
  prompts = tmp_path / "prompts.txt"
  prompts.write_text("a red circle rests on black\n")
  args = (
    f"--workdir={runs['stunet']}",
    f"--prompts={prompts}",
    "--num_generated=4",
    f"--reference={tmp_path / 'true'}",
    "--metrics=kvd",
    "--batch_size=4",
  )
  code, printed, _ = evaluate(*args, videos="generated")
  assert code == 0 and "4 videos made of prompts" in printed and "4 against 8 videos" in printed
  code, printed, _ = evaluate(*args, videos="generated")
  assert code == 0 and "0 videos made" in printed
  assert_one_line(
    evaluate(f"--workdir={runs['stunet']}"), "--workdir, --prompts and --num_generated"
  )
  assert_one_line(evaluate("--num_generated=3"), "go together")
