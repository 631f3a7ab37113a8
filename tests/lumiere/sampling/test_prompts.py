"""Prompts along time: read, checked, and given to windows."""

import numpy as np
import pytest

from lumiere.sampling import prompts
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
  shares = [
    row[0].get("b", 0.0) for row in rows
  ]  # middles 3.5, 7.5, ... 27.5; the fade from 12 to 20
  np.testing.assert_allclose(shares, [0, 0, 0, 7 / 16, 15 / 16, 1, 1])
  assert all(sum(row[0].values()) == pytest.approx(1) for row in rows)
  assert all(row[1] == {"c": 1.0} for row in rows)


def test_a_prompt_that_comes_back():
  rows = prompts.of_windows([{0: "a", 16: "b", 32: "a"}], plan_windows(48, 8, 4))
  shares = np.array([[row[0].get(text, 0.0) for text in "ab"] for row in rows])
  np.testing.assert_allclose(shares.sum(axis=1), 1)
  np.testing.assert_allclose(
    shares, shares[::-1], atol=0.13
  )  # middles are not placed evenly about 24
  assert shares[0].tolist() == shares[-1].tolist() == [1, 0] and shares[:, 1].max() == 1


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
