"""The models that ship: they are whole, small, fit together, and sample."""

import dataclasses
import json

import numpy as np
import pytest

from lumiere import Cascade, checkpoints, pretrained, release_folder
from lumiere.sampling.checks import check_style

FOLDERS = {
  pretrained.BASE: "stunet",
  pretrained.SSR: "ssr",
  **{pretrained.STYLES / name: "t2i" for name in pretrained.styles()},
}
MOST = 16 * 2**20  # bytes, all together


def test_they_take_little_room_and_say_what_they_are():
  assert pretrained.styles()
  files = [path for folder in FOLDERS for path in folder.iterdir()]
  assert sum(path.stat().length for path in files) <= MOST
  assert {path.name for path in files} == {"weights.safetensors", "config.json", "README.md"}
  for folder in FOLDERS:
    text = (folder / "config.json").read_text()
    assert "/" not in json.loads(text)["experiment"]["init_from"]
    assert json.loads(text)["sha256"] in (folder / "README.md").read_text()


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_they_are_what_their_config_says(folder):
  trained = checkpoints.load_trained(folder, (FOLDERS[folder],))
  assert trained.step > 0 and trained.checksum == release_folder.describe(folder)["sha256"][:16]


def test_they_fit_together_and_sample():
  cascade = Cascade.pretrained()
  for name in pretrained.styles():
    check_style(cascade.base.experiment, pretrained.STYLES / name)
  few = [
    dataclasses.replace(each.experiment.sampling, num_steps=1)
    for each in (cascade.base, cascade.ssr)
  ]
  prompts = ["a red circle bounces on navy"]
  videos = cascade.generate(prompts, sampling=few[0], ssr_sampling=few[1])
  assert videos.shape == (1, 16, 128, 128, 3) and videos.dtype == np.uint8
  # Even one step shows the background.
  assert np.abs(np.median(videos, axis=(0, 1, 2, 3)) - [10, 10, 80]).max() < 25
