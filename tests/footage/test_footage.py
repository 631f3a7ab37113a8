"""Curation of footage that nobody here made: cuts that were counted by eye, TransNet V2's own weights and clip, all of it at once."""

import json
import pathlib

import numpy as np
import pandas as pd
import pytest

from lumiere import user_cache
from lumiere.data import frames
from lumiere.data.curation import learned, run, shots, transnet_weights
from lumiere.data.curation.look import ClipSettings
from lumiere.data.curation.runners import Processes

CACHE = pathlib.Path(user_cache.folder())
FOLDER, TRAILER = CACHE / "footage", CACHE / "trailer" / "trailer.mp4"
GOLDEN = json.loads(pathlib.Path(__file__).with_name("transnet.json").read_text())
pytestmark = pytest.mark.skipif(
  not (TRAILER.exists() and (CACHE / transnet_weights.NAME).exists()),
  reason="make test-footage fetches them",
)
# The first frames of all shots but the first, counted by eye.
CUTS = {"bikes.mp4": [30, 76, 137, 187, 242], "bigbuckbunny.mp4": [], "carphone_pristine.mp4": []}


def cuts_of(path, cuts, count=None):
  for index, frame in enumerate(frames.shown(path)):
    if index == count:
      break
    cuts.add(frame.small(cuts.side))
  return cuts


@pytest.mark.parametrize("name", CUTS)
@pytest.mark.parametrize("kind", [shots.Cuts, learned.LearnedCuts])
def test_cuts_are_those_that_an_eye_counts(name, kind):
  assert cuts_of(FOLDER / name, kind(25.0)).indices() == CUTS[name]


def test_transnet_says_what_the_original_says_of_its_own_clip():
  cuts = cuts_of(TRAILER, learned.LearnedCuts(), len(GOLDEN["last_frame"]))
  found, expected = cuts.probabilities(), np.array(GOLDEN["last_frame"])
  assert np.abs(found - expected).max() < 1e-4
  assert (expected > 0.5).sum() == 13 and len(cuts.indices()) >= 13


def test_a_curation_from_the_files_to_the_stored_clips(tmp_path):
  job = run.Job.make(
    FOLDER, tmp_path, ClipSettings(16, 8.0, detector="transnet"), files_per_shard=2
  )
  job.look(Processes())
  job.decide(["blur < 0.6"], radius=6, held_out=0.3)
  clips = pd.read_parquet(tmp_path / "clips.parquet")
  assert clips["reason"].unique().tolist() == ["no caption"], "these files have none"
  bikes = clips[clips["source"] == "bikes.mp4"]
  edges = np.array([0, *CUTS["bikes.mp4"], 250]) / 25
  shot = np.searchsorted(edges, bikes["start"], side="right")
  assert len(bikes) and (bikes["start"] + bikes["duration"] <= edges[shot] + 0.01).all()
