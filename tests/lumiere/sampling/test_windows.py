"""Which clips are made in windows, and in what windows."""

import dataclasses

import pytest

from lumiere.sampling.generator import windows_at_a_time
from lumiere.sampling.windows import in_windows
from tests.lumiere.experiments import micro

CHANGING = {0: "a red circle rests on black", 8: "a blue square rests on black"}


@pytest.fixture(scope="module")
def base():
  """A base for clips of 8 frames, in multiples of 2, that has no windows of its own."""
  experiment = micro("stunet", "data", "runs")
  assert experiment.data.num_frames == 8 and not experiment.sampling.window
  return experiment


def test_clips_are_made_whole_unless_they_are_long_or_change(base):
  settings = lambda prompt, num_frames, long=False: in_windows(
    base, None, [prompt], num_frames, long=long
  )
  assert settings("a", 16) == base.sampling
  assert settings("a", 8, long=True) == base.sampling
  wider = dict(window=8, window_weights="tapered")
  assert settings("a", 10, long=True) == dataclasses.replace(base.sampling, stride=4, **wider)
  assert settings(CHANGING, 16) == dataclasses.replace(base.sampling, stride=2, **wider)


def test_windows_that_were_asked_for_stay(base):
  own = dataclasses.replace(base.sampling, window=6, stride=3)
  assert in_windows(base, own, ["a"], 20, long=True) == own
  assert in_windows(base, own, [CHANGING], 20) == own


def test_what_the_network_cannot_make_is_refused(base):
  with pytest.raises(ValueError, match="num_frames=7 must be a multiple of 2.*6 or 8"):
    in_windows(base, None, ["a"], 7)
  # In windows any number of frames will do, if their own number does.
  assert in_windows(base, None, ["a"], 17, long=True).window == 8
  own = dataclasses.replace(base.sampling, window=5, stride=3)
  with pytest.raises(ValueError, match="window=5 must be a multiple of 2.*4 or 6"):
    in_windows(base, own, ["a"], 17)
  with pytest.raises(ValueError, match="'b'.*too few frames"):
    in_windows(base, None, [{0: "a", 15: "b"}], 16)


@pytest.mark.parametrize(
  ("most", "sharing", "at_a_time"),
  [(1, 1, 1), (4, 1, 3), (5, 1, 5), (9, 1, 5), (4, 4, 4), (2, 3, 3)],
)
def test_windows_at_a_time_are_no_more_than_as_many_calls_need(base, most, sharing, at_a_time):
  """Five windows; guidance is off, so that a clip is one example."""
  sampling = dataclasses.replace(
    base.sampling, window=8, stride=4, windows_per_batch=most, guidance_scale=1.0
  )
  assert windows_at_a_time(base, sampling, 24, 1, sharing) == (5, at_a_time)
