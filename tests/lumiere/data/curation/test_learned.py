"""What TransNet V2 is shown, and what is made of its answers; the network itself is in tests/parity and tests/footage."""

import numpy as np
import pytest

from lumiere import user_cache
from lumiere.data.curation import learned, transnet_weights


@pytest.fixture
def windows(monkeypatch):
  """A network that answers with the frames' own brightness, and the windows that it was shown."""
  shown = []

  def answer(frames):
    shown.append(frames[:, 0, 0, 0].copy())
    return frames[25:75, 0, 0, 0] / np.float32(255)

  monkeypatch.setattr(learned, "network", lambda: answer)
  return shown


@pytest.mark.parametrize("count", [0, 1, 49, 50, 51, 74, 75, 76, 124, 125, 126, 200])
def test_every_frame_is_answered_once_with_its_neighbours_in_sight(windows, count):
  cuts, values = learned.LearnedCuts(), np.arange(count) % 251
  for value in values:
    cuts.add(np.full((54, 96, 3), value, np.uint8))
  np.testing.assert_allclose(cuts.probabilities(), values / 255, atol=1e-6)
  padded = np.concatenate([values[:1].repeat(25), values, values[-1:].repeat(25 + -count % 50)])
  assert len(windows) == -(-count // 50)
  for index, window in enumerate(windows):
    np.testing.assert_array_equal(window, padded[50 * index : 50 * index + 100])


def test_asking_twice_and_going_on_changes_nothing(windows):
  cuts, other = learned.LearnedCuts(), learned.LearnedCuts()
  for value in range(90):
    for each in (cuts, other):
      each.add(np.full((54, 96, 3), value, np.uint8))
    if value == 60:
      cuts.probabilities()
  np.testing.assert_array_equal(cuts.probabilities(), other.probabilities())


def test_a_hard_cut_is_after_its_frame_and_a_transition_is_a_shot_of_its_own():
  inside = np.zeros(30, bool)
  inside[[9, 15, 16, 17, 29]] = True
  assert learned.cuts_of(inside) == {10, 15, 18}
  assert learned.cuts_of(inside[:0]) == set()


def test_missing_weights_are_told_with_the_command_that_fetches_them(monkeypatch, tmp_path):
  monkeypatch.setattr(user_cache, "folder", lambda: tmp_path)
  learned.network.cache_clear()
  with pytest.raises(ValueError, match="python -m lumiere.fetch --what=transnet"):
    learned.LearnedCuts()
  (tmp_path / transnet_weights.NAME).write_bytes(b"no weights")
  with pytest.raises(ValueError, match="cannot be read as safetensors"):
    learned.LearnedCuts()
