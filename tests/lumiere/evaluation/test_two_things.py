"""The judge of two things, judged: right on the truth; wrong where colours, shapes or motions are swapped."""

import dataclasses

import numpy as np
import pytest

from lumiere.data import frames
from lumiere.data.moving_shapes import captions, render
from lumiere.data.moving_shapes.endless import EndlessConfig, EndlessShapes
from lumiere.data.moving_shapes.scene import Scene, Thing
from lumiere.evaluation.two_things import judge_pairs, report_pairs

LEFT = Thing("triangle", "red", "left", "slow", (0.7, 0.25), 0.3)
SPIN = Thing("square", "green", "spins clockwise", "fast", (0.4, 0.75), 0.3)
CAPTION = captions.write_caption(Scene((LEFT, SPIN), "navy"), np.random.default_rng(0))


def verdict_of(*things, background="navy"):
  video = frames.to_uint8(render(Scene(things, background), 16, 8.0, 32))
  return judge_pairs([video], [CAPTION], 8.0)[0]


@pytest.mark.parametrize("resolution", (32, 64))
def test_truth_is_judged_true(resolution):
  config = EndlessConfig(max_things=2, share_of_two=1.0)
  world = EndlessShapes(config, "test", fps=8.0, sizes=[(resolution, resolution)])
  clips = [world[index] for index in range(100)]
  shares = report_pairs(
    judge_pairs([clip["video"] for clip in clips], [c["caption"].decode() for c in clips], 8.0)
  )
  assert shares["background"] > 0.99 and shares["colour"] > 0.99, shares
  assert shares["all"] > 0.9, shares  # what hides the other for the whole clip cannot be told


def test_who_does_what_is_told_apart():
  right = verdict_of(LEFT, SPIN)
  assert right.background and right.both("colour", "shape", "motion", "speed")
  swapped = {
    "motion": [dataclasses.replace(LEFT, motion="spins clockwise"), dataclasses.replace(SPIN, motion="left")],
    "shape": [dataclasses.replace(LEFT, shape="square"), dataclasses.replace(SPIN, shape="triangle")],
  }  # fmt: skip
  for field, things in swapped.items():
    verdict = verdict_of(*things)
    assert verdict.both("colour") and not verdict.both(field), field


def test_one_thing_of_two_is_not_both():
  alone = verdict_of(LEFT)
  assert not alone.both("colour") and not alone.both("motion")
  other = verdict_of(LEFT, dataclasses.replace(SPIN, colour="white"))
  assert not other.both("colour")


def test_videos_of_nothing_and_captions_of_one_thing():
  empty = np.zeros((16, 32, 32, 3), np.uint8)
  assert report_pairs(judge_pairs([empty], [CAPTION], 8.0))["all"] == 0
  with pytest.raises(ValueError, match="names 1 things; two are judged"):
    judge_pairs([empty], ["a red circle rests on black"], 8.0)
