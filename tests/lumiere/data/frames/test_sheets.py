"""Pictures of videos show what they should."""

import numpy as np
import pytest

from lumiere.data import frames


@pytest.fixture
def clip():
  """A square that moves over a coloured ramp."""
  video = np.zeros((5, 16, 16, 3), np.uint8)
  video[..., 0] = np.arange(16) * 10
  for index, frame in enumerate(video):
    frame[4:9, 2 * index : 2 * index + 5] = (40, 200, 250)
  return video


def test_contact_sheet_holds_first_and_last_frame(clip):
  sheet = frames.contact_sheet([clip, clip[:2]], ["one", "two \N{SNOWMAN}"], columns=3, side=16)
  assert sheet.shape == (2 * (16 + 18), 3 * 18, 3)
  assert np.array_equal(sheet[17:33, 1:17], clip[0]) and np.array_equal(
    sheet[17:33, 37:53], clip[4]
  )
  assert sheet[:16].min() < 50  # the caption is there
  assert (sheet[34 + 16 :, 36:] == 255).all()


def test_xt_slice_shows_the_path(clip):
  picture = frames.xt_slice(clip, min_side=5)
  assert picture.shape == (5, 16, 3)
  assert np.array_equal(picture, clip[:, 8])
