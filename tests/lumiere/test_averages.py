"""Averages of any length: the recursion is the profile it claims to be, and others are found from what was left."""

import numpy as np
import pytest

from lumiere import averages

STEPS = 400


def profile(step: int, length: float):
  """Weights of the steps 1 ... `step` in an average, from the recursion."""
  weight = np.zeros(step)
  for s in range(1, step + 1):
    weight = averages.updated({"w": weight}, {"w": np.eye(step)[s - 1]}, s, length)["w"]
  return weight


@pytest.mark.parametrize("length", (0.05, 0.1, 0.2))
def test_the_recursion_has_the_length_that_was_asked_for(length):
  weight, steps = profile(STEPS, length), np.arange(1, STEPS + 1) / STEPS
  assert weight.sum() == pytest.approx(1)
  mean = weight @ steps
  assert np.sqrt(weight @ (steps - mean) ** 2) == pytest.approx(length, rel=2e-2)


def test_what_was_left_gives_other_lengths(tmp_path):
  rng = np.random.default_rng(0)
  path = np.cumsum(rng.normal(size=(STEPS, 3)), axis=0) / 10  # where weights went
  lengths, kept = (0.05, 0.1), [np.zeros(3), np.zeros(3)]
  for step in range(1, STEPS + 1):
    kept = [averages.updated({"w": a}, {"w": path[step - 1]}, step, n)["w"] for a, n in zip(kept, lengths, strict=True)]  # fmt: skip
    if step % 25 == 0:
      averages.leave(tmp_path, step, [{"w": a} for a in kept], lengths)
  like = {"w": np.zeros(3, np.float32)}
  for step, length in ((STEPS, 0.05), (STEPS, 0.07), (STEPS, 0.15), (300, 0.12)):
    found = averages.combine(tmp_path, like, step, length)["w"]
    expected = profile(step, length) @ path[:step]
    np.testing.assert_allclose(found, expected, atol=0.03 * np.abs(path).max())
  # What was stored comes back as it is, up to half precision.
  np.testing.assert_allclose(averages.combine(tmp_path, like, STEPS, 0.1)["w"], kept[1], rtol=5e-3)


def test_lengths_and_steps_that_cannot_be_are_refused(tmp_path):
  with pytest.raises(ValueError, match="the length of an average, 0.5, must be between"):
    averages.exponent(0.5)
  with pytest.raises(ValueError, match="keeps no averages of step 7"):
    averages.combine(tmp_path, {"w": np.zeros(3)}, 7, 0.1)
