"""Captions that training never saw: true clips pass, and which world they are of is checked."""

import dataclasses

import pytest

from lumiere.evaluation.held_out import SPLITS, HeldOut
from lumiere.sections import DataConfig

DATA = DataConfig("moving_shapes_endless", 16, 32, moving_shapes_endless=dict(max_things=2))


@pytest.mark.parametrize(
  ("split", "size"), [*((s, (32, 32)) for s in SPLITS), ("test", (24, 40)), ("test", (40, 24))]
)
@pytest.mark.parametrize("pairs", (False, True))
def test_true_clips_show_their_captions(split, size, pairs):
  held_out = HeldOut.load(dataclasses.replace(DATA, resolution=size), split, 24, pairs)
  assert held_out.videos.shape == (24, 16, *size, 3)
  assert all((" and " in text.replace("up and down", "")) == pairs for text in held_out.captions)
  shares = held_out.judge(list(held_out.videos))
  assert shares["background"] == 1 and min(shares.values()) > 0.85, shares
  # Another clip's caption is met by chance only.
  assert held_out.judge(list(held_out.videos[::-1]))["motion"] < 0.4


def test_another_world_has_no_such_captions():
  with pytest.raises(ValueError, match="data.dataset='moving_shapes'"):
    HeldOut.load(DataConfig("moving_shapes", 16, 32), "test", 2)
