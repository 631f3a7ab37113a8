"""The seam score: 1 where nothing shows, the ratio of changes where something does."""

import numpy as np
import pytest

from lumiere.evaluation.seams import frame_change, seam_score


def drift(num_frames):
  """Every frame is brighter by 0.01."""
  return np.broadcast_to(0.01 * np.arange(num_frames)[:, None, None, None], (num_frames, 4, 4, 3))


def test_even_change_scores_one():
  assert np.allclose(frame_change(drift(9)), 0.01)
  assert seam_score(drift(9), [3]) == pytest.approx(1)


def test_a_jump_at_a_border_scores_its_size():
  video = drift(16).copy()
  video[8:] += 0.04  # between frames 7 and 8
  assert seam_score(video, [7]) == pytest.approx(5)
  assert seam_score(video, [3]) < 1


def test_the_reference_takes_out_what_was_there_before():
  rng = np.random.default_rng(0)
  truth = np.cumsum(rng.standard_normal((16, 4, 4, 3)), axis=0)
  error = drift(16).copy()
  error[8:] += 0.04
  assert seam_score(truth + error, [7], truth) == pytest.approx(5)


@pytest.mark.parametrize("borders", ([], [-1], [7], [0, 1, 2, 3, 4, 5, 6]))
def test_borders_outside_or_everywhere_are_refused(borders):
  with pytest.raises(ValueError, match="borders="):
    seam_score(drift(8), borders)
