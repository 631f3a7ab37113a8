"""One run of each stage, on a folder of encoded videos: what tests of training and sampling share."""

import fcntl
import os

import numpy as np
import pytest

from lumiere.data import frames
from lumiere.data.moving_shapes import builder, render
from lumiere.training import loop
from tests.lumiere.experiments import PARENTS, micro_config, on_folder


def made_once(tmp_path_factory, name: str, make):
  """A folder that all workers of a test run share: the first one that asks makes it, the others wait."""
  base = tmp_path_factory.getbasetemp()
  base = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
  folder, done = base / name, base / f"{name}.done"
  with (base / f"{name}.lock").open("w") as lock:
    fcntl.flock(lock, fcntl.LOCK_EX)
    if not done.exists():
      folder.mkdir()
      make(folder)
      done.touch()
  return folder


@pytest.fixture(scope="session")
def video_files(tmp_path_factory):
  """Six files as a user might have them: .mp4 and .gif, several sizes and rates, one of them unreadable."""
  return made_once(tmp_path_factory, "videos", _write_videos)


def _write_videos(folder):
  config = builder.MovingShapesConfig(name="files", seed=5)
  lines = ["file,caption"]
  for index, (suffix, size, fps) in enumerate(
    (("mp4", 64, 10.0), ("mp4", 48, 24.0), ("gif", 40, 10.0), ("mp4", 64, 12.5), ("gif", 64, 5.0))
  ):
    scene, caption = builder.draw(config, "train", index)
    video = frames.to_uint8(render(scene, int(2.5 * fps), fps, size))
    if index == 1:  # wider than high
      video = np.pad(video, [(0, 0), (0, 0), (8, 8), (0, 0)])
    frames.write_video(folder / f"{index}.{suffix}", video, fps)
    lines.append(f'{index}.{suffix},"{caption}"')
  (folder / "broken.mp4").write_bytes(b"not a video")
  lines.append("broken.mp4,a broken file")
  (folder / "captions.csv").write_text("\n".join(lines) + "\n")


@pytest.fixture(scope="session")
def runs(video_files, tmp_path_factory):
  """Workdirs of the four stages, each trained for two steps on `video_files`, the later ones from the earlier.

  The videos' stages leave samples too; test_loop.py has those of an image stage.
  """

  def train(root):
    for stage in ("t2i", "stunet", "ssr_image", "ssr"):
      parent = PARENTS.get(stage)
      settings = dict(eval_every=2, sample_every=2) if stage in ("stunet", "ssr") else {}
      init_from = root / parent if parent else ""
      config = micro_config(stage, root / "data", init_from, num_steps=2, **settings)
      loop.train(on_folder(config, video_files), root / stage)

  root = made_once(tmp_path_factory, "runs", train)
  return {path.name: path for path in root.iterdir()}


@pytest.fixture(scope="session")
def masked_run(runs, video_files, tmp_path_factory):
  """Workdir of a conditional base, trained for two steps from the unconditional one."""
  config = micro_config("stunet", runs["data"], runs["stunet"], num_steps=2)
  config.temporal.condition_channels = 4
  config.masks = dict(shares=dict(none=1, first_frame=1))
  train = lambda folder: loop.train(on_folder(config, video_files), folder)
  return made_once(tmp_path_factory, "masked", train)


@pytest.fixture(scope="session")
def style_run(runs, video_files, tmp_path_factory):
  """Workdir of an image model, trained for two steps more than the base's own."""
  config = micro_config("t2i", runs["data"], runs["t2i"], num_steps=2)
  train = lambda folder: loop.train(on_folder(config, video_files), folder)
  return made_once(tmp_path_factory, "style", train)
