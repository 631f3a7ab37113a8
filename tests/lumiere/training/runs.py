"""One run of each stage, on a folder of encoded videos: what tests of training and sampling share."""

import numpy as np
import pytest

from lumiere.data import frames
from lumiere.data.moving_shapes import builder, render
from lumiere.training import loop
from tests.lumiere.training.experiments import PARENTS, micro_config, on_folder


@pytest.fixture(scope="session")
def video_files(tmp_path_factory):
  """Six files as a user might have them: .mp4 and .gif, several sizes and rates, one of them unreadable."""
  folder = tmp_path_factory.mktemp("videos")
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
  return folder


@pytest.fixture(scope="session")
def runs(video_files, tmp_path_factory):
  """Workdirs of the four stages, each trained for two steps on `video_files`, the later ones from the earlier."""
  root = tmp_path_factory.mktemp("path")
  for stage in ("t2i", "stunet", "ssr_image", "ssr"):
    parent = PARENTS.get(stage)
    settings = dict(num_steps=2, eval_every=2, sample_every=2)
    config = micro_config(stage, root / "data", root / parent if parent else "", **settings)
    loop.train(on_folder(config, video_files), root / stage)
  return {path.name: path for path in root.iterdir()}


@pytest.fixture(scope="session")
def masked_run(runs, video_files, tmp_path_factory):
  """Workdir of a conditional base, trained for two steps from the unconditional one."""
  workdir = tmp_path_factory.mktemp("masked") / "masked"
  config = micro_config("stunet", runs["stunet"].parent / "data", runs["stunet"], num_steps=2)
  config.temporal.condition_channels = 4
  config.masks = dict(shares=dict(none=1, first_frame=1))
  loop.train(on_folder(config, video_files), workdir)
  return workdir


@pytest.fixture(scope="session")
def style_run(runs, video_files, tmp_path_factory):
  """Workdir of an image model, trained for two steps more than the base's own."""
  workdir = tmp_path_factory.mktemp("style") / "style"
  config = micro_config("t2i", runs["t2i"].parent / "data", runs["t2i"], num_steps=2)
  loop.train(on_folder(config, video_files), workdir)
  return workdir
