"""The world of benchmarks/one_pass.py and its judge."""

import csv

import numpy as np
import pytest

from benchmarks import orbits


def test_true_clips_are_read_as_they_were_asked_for():
  for asked in orbits.held_out(2):
    reading = orbits.read(orbits.clip(asked.scene))
    assert orbits.fits(reading.turns, asked.turns) and reading.explained > 0.95
    assert reading.halves[0] == pytest.approx(reading.halves[1], abs=0.02)
    if (
      abs(asked.turns) >= 0.5
    ):  # of the slowest, half a video has a quarter of a turn: too little to tell
      assert orbits.fits(reading.halves[0], asked.turns)
    assert reading.colour_drift < 30 and reading.size_spread < 0.1


def test_keyframes_of_a_rate_and_of_its_alias_are_alike():
  for asked in orbits.held_out(1):
    keyframes = orbits.clip(asked.scene)[:: orbits.EVERY]
    seen = orbits.read(keyframes, orbits.KEYFRAME_RATE).turns
    slower = asked.turns if abs(asked.turns) < 1 else orbits.alias(asked.turns)
    assert orbits.fits(seen, slower)


def test_a_thing_that_changes_its_direction_is_not_steady():
  rng = np.random.default_rng(0)
  video = orbits.clip(orbits.draw(rng, 3, "clockwise").scene)
  there_and_back = np.concatenate([video[:16], video[15::-1]])
  reading = orbits.read(there_and_back)
  assert reading.explained < 0.8
  assert reading.halves[0] == pytest.approx(-reading.halves[1], abs=0.02)


def test_what_is_measured_of_true_clips_and_of_others():
  asked = orbits.held_out(1)
  true = [orbits.clip(a.scene) for a in asked]
  found = orbits.measured(true, true, asked)
  assert [rate["as asked"] for rate in found["rates"].values()] == [1] * 6
  assert (found["steady"], found["same_halves"], found["fast"]) == (1, 1, 0.5)
  backwards = orbits.measured([clip[::-1] for clip in true], true, asked)["rates"]
  assert all(rate["else"] == 1 for rate in backwards.values())
  slower = [a for a in asked if abs(a.turns) < 1]
  of_alias = [
    orbits.clip(
      orbits.draw(
        np.random.default_rng(i),
        round(4 * abs(orbits.alias(a.turns))),
        orbits.WAYS[int(orbits.alias(a.turns) < 0)],
      ).scene
    )
    for i, a in enumerate(slower)
  ]
  rates = [orbits.read(clip).turns for clip in of_alias]
  assert all(orbits.fits(r, orbits.alias(a.turns)) for r, a in zip(rates, slower, strict=True))


def test_nothing_to_see_explains_nothing():
  assert orbits.read(np.zeros((32, 16, 16, 3), np.uint8)).explained == 0


def test_a_folder_has_captions_with_and_without_the_rate(tmp_path):
  orbits.write_folder(tmp_path / "videos", 12)
  text = (tmp_path / "videos" / "captions.csv").read_text()
  rows = list(csv.DictReader(text.splitlines()))
  said = ["turns" in row["caption"] for row in rows]
  assert any(said) and not all(said)
  assert all((tmp_path / "videos" / row["file"]).exists() for row in rows)
  words = {word for row in rows for word in row["caption"].split()}
  assert words <= set(orbits.WORDS)
