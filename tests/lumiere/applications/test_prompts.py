"""Prompts along time: read, checked, and given to windows."""

import pytest

from lumiere.applications import prompts
from multidiffusion.windows import plan_windows


def test_timed_prompts_are_one_video_and_plain_ones_many():
  assert prompts.parse(["a cat", "a dog"]) == ["a cat", "a dog"]
  assert prompts.parse(["24: a dog", "0: a cat"]) == [{0: "a cat", 24: "a dog"}]
  assert prompts.parse(["ratio 3: 4"]) == ["ratio 3: 4"]
  with pytest.raises(ValueError, match="'a dog' has no frame"):
    prompts.parse(["0: a cat", "a dog"])
  with pytest.raises(ValueError, match="two prompts for one frame"):
    prompts.parse(["0: a cat", "0: a dog"])


def test_a_window_carries_the_prompt_at_its_middle():
  plan = plan_windows(32, 8, 4)
  rows = prompts.of_windows([{0: "a", 16: "b"}, "c"], plan)
  assert [row[0] for row in rows] == ["a"] * 4 + ["b"] * 3  # starts 0, 4, ... 24; middles 3.5, ...
  assert {row[1] for row in rows} == {"c"}


def test_a_prompt_without_a_window_is_refused():
  with pytest.raises(ValueError, match=r"frame 30 \('b'\) holds for too few frames"):
    prompts.of_windows([{0: "a", 30: "b"}], plan_windows(32, 8, 4))


@pytest.mark.parametrize(
  ("given", "message"),
  (
    ([], "no prompt"),
    ("a cat", "must be a list"),
    ([" "], "prompt 1 of 1 is blank"),
    ([{0: "a", 8: " "}], "blank"),
    ([{4: "a"}], "must begin at frame 0"),
    ([{0: "a", 32: "b"}], "frame 32 is beyond the clip, which has 32 frames"),
  ),
)
def test_prompts_that_cannot_be(given, message):
  with pytest.raises(ValueError, match=message):
    prompts.check_prompts(given, 32)
