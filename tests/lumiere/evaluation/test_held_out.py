"""Captions that training never saw: true clips pass, and which world they are of is checked."""

import pytest

from lumiere.evaluation.held_out import SPLITS, HeldOut
from lumiere.sections import DataConfig

DATA = DataConfig("moving_shapes_endless", 16, 32, moving_shapes_endless=dict(max_things=2))


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("pairs", (False, True))
def test_true_clips_show_their_captions(split, pairs):
  held_out = HeldOut.load(DATA, split, 24, pairs)
  assert held_out.videos.shape == (24, 16, 32, 32, 3)
  assert all((" and " in text.replace("up and down", "")) == pairs for text in held_out.captions)
  shares = held_out.judge(list(held_out.videos))
  assert shares["background"] == 1 and min(shares.values()) > 0.85, shares
  # Another clip's caption is met by chance only.
  assert held_out.judge(list(held_out.videos[::-1]))["motion"] < 0.4


def test_another_world_has_no_such_captions():
  with pytest.raises(ValueError, match="data.dataset='moving_shapes'"):
    HeldOut.load(DataConfig("moving_shapes", 16, 32), "test", 2)
