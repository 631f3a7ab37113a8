import numpy as np
import pytest

from multidiffusion.windows import plan_windows, window_weights

CASES = [(1, 8, 6), (5, 8, 6), (8, 8, 6), (9, 8, 6), (16, 8, 6), (80, 8, 6), (37, 5, 2), (7, 3, 3)]


@pytest.mark.parametrize("num_frames,length,stride", CASES)
def test_every_frame_is_covered_and_the_last_window_ends_with_the_video(num_frames, length, stride):
  plan = plan_windows(num_frames, length, stride)
  coverage = np.zeros(num_frames, int)
  for frames in plan.indices():
    coverage[frames] += 1
  np.testing.assert_array_equal(plan.coverage(), coverage)
  assert coverage.min() >= 1
  assert plan.starts[0] == 0
  assert plan.starts[-1] + plan.length == num_frames
  assert max(np.diff(plan.starts), default=0) <= stride


def test_the_papers_windows_overlap_by_two_frames_and_tile_eighty_exactly():
  plan = plan_windows(80, 8, 6)
  assert plan.starts == tuple(range(0, 73, 6))
  assert set(plan.coverage()) == {1, 2}


def test_borders_lie_where_windows_begin_and_end():
  assert plan_windows(16, 8, 8).borders() == (7,)
  assert plan_windows(14, 8, 6).borders() == (5, 7)
  assert plan_windows(8, 8, 6).borders() == ()


def test_tapered_weights_are_a_positive_triangle():
  np.testing.assert_array_equal(window_weights(6, "tapered"), [1, 2, 3, 3, 2, 1])
  np.testing.assert_array_equal(window_weights(5, "tapered"), [1, 2, 3, 2, 1])


@pytest.mark.parametrize(
  "arguments,message",
  [
    ((0, 8, 6), "num_frames=0"),
    ((8, 0, 1), "length=0"),
    ((8, 4, 5), "stride=5"),
    ((8, 4, 0), "stride=0"),
  ],
)
def test_impossible_plans_are_refused(arguments, message):
  with pytest.raises(ValueError, match=message):
    plan_windows(*arguments)
  with pytest.raises(ValueError, match="'gauss'.*uniform, tapered"):
    window_weights(4, "gauss")
