"""The judge judged: right on the truth, on blurred and noisy truth; wrong where the video is wrong."""

import dataclasses

import numpy as np
import pytest

from lumiere.data import frames
from lumiere.data.moving_shapes import builder, captions, render
from lumiere.data.moving_shapes.scene import Scene, Thing
from lumiere.evaluation.moving_shapes import judge, report

CLIPS = 150


@pytest.fixture(scope="module")
def world():
  """Scenes and captions."""
  config = builder.MovingShapesConfig(name="world", seed=7)
  return [builder.draw(config, "test", index) for index in range(CLIPS)]


def videos_of(world, num_frames, fps, resolution, noise=0.0):
  rng = np.random.default_rng(0)
  videos = [render(scene, num_frames, fps, resolution) for scene, _ in world]
  return [frames.to_uint8(v + noise * rng.standard_normal(v.shape)) for v in videos]


@pytest.mark.parametrize(
  ("num_frames", "fps", "resolution"), ((16, 8.0, 64), (16, 8.0, 16), (24, 12.0, 32))
)
def test_truth_is_judged_true(world, num_frames, fps, resolution):
  videos = videos_of(world, num_frames, fps, resolution)
  shares = report(judge(videos, [caption for _, caption in world], fps))
  assert min(shares.values()) > 0.99, shares


def test_noise_that_the_eye_overlooks_changes_little(world):
  videos = videos_of(world, 16, 8.0, 64, noise=0.05)
  shares = report(judge(videos, [caption for _, caption in world], 8.0))
  assert min(shares.values()) > 0.97, shares


@pytest.mark.parametrize(
  ("field", "value", "wrong"),
  (
    ("colour", "blue", {"colour"}),
    ("shape", "square", {"shape"}),
    ("motion", "right", {"motion", "speed"}),
    ("speed", "fast", {"speed"}),
  ),
)
def test_what_is_wrong_is_found_wrong(field, value, wrong):
  thing = Thing("triangle", "red", "left", "slow", (0.6, 0.5), 0.36)
  caption = captions.write_caption(Scene((thing,), "navy"), np.random.default_rng(0))
  shown = Scene((dataclasses.replace(thing, **{field: value}),), "navy")
  [verdict] = judge([frames.to_uint8(render(shown, 16, 8.0, 64))], [caption], 8.0)
  assert {
    n for n in ("background", "colour", "shape", "motion", "speed") if not getattr(verdict, n)
  } == wrong


def test_a_video_of_another_scene_agrees_by_chance_only(world):
  videos = videos_of(world, 16, 8.0, 32)
  shares = report(judge(videos[1:] + videos[:1], [caption for _, caption in world], 8.0))
  # One of 7 colours, 3 shapes, 12 motions.
  assert shares["colour"] < 0.3 and shares["shape"] < 0.5 and shares["motion"] < 0.25


@pytest.mark.parametrize("kind", ("empty", "noise"))
def test_videos_of_nothing_are_judged_wrong_not_refused(world, kind):
  rng = np.random.default_rng(0)
  video = np.zeros((16, 32, 32, 3), np.uint8)
  if kind == "noise":
    video = rng.integers(0, 256, video.shape, np.uint8)
  verdicts = judge([video] * CLIPS, [caption for _, caption in world], 8.0)
  assert report(verdicts)["motion"] < 0.25
  if kind == "empty":
    assert report(verdicts)["colour"] == report(verdicts)["shape"] == 0


def test_captions_and_videos_that_cannot_be_judged(world):
  video = np.zeros((16, 32, 32, 3), np.uint8)
  with pytest.raises(ValueError, match="names 2 things"):
    judge([video], ["a red circle rests and a blue square rests on black"], 8.0)
  with pytest.raises(ValueError, match="cannot be read"):
    judge([video], ["a dog runs on black"], 8.0)
  with pytest.raises(ValueError, match="1 frame has no motion"):
    judge([video[:1]], [world[0][1]], 8.0)
