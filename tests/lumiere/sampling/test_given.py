"""What is given is fitted, and comes back exactly."""

import numpy as np
import pytest

from lumiere.sampling import given

RNG = np.random.default_rng(0)


def picture(height=12, width=16):
  return RNG.integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_a_picture_of_the_right_size_is_itself_and_others_lose_their_edges():
  image = picture(8, 8)
  np.testing.assert_array_equal(given.fit_video(image[None], 8)[0], image)
  wide = np.pad(image, [(0, 0), (4, 4), (0, 0)])
  np.testing.assert_array_equal(given.fit_video(wide[None], 8)[0], image)


def test_keyframes_lie_where_they_are_said_to():
  images = [picture(8, 8) for _ in range(2)]
  found = given.keyframes(images, (0, -1), 5, 8)
  assert found.mask[:, 0, 0].tolist() == [1, 0, 0, 0, 1]
  made = RNG.integers(0, 256, (5, 8, 8, 3), dtype=np.uint8)
  back = found.put_into(made)
  np.testing.assert_array_equal(back[[0, 4]], images)
  np.testing.assert_array_equal(back[1:4], made[1:4])


@pytest.mark.parametrize(
  ("at", "message"),
  (
    ((0, 5), r"keyframe 5 is outside the clip: its 5 frames are 0 to 4"),
    ((0, -5), "two images for one frame"),
    ((0,), "2 images for 1 keyframes"),
  ),
)
def test_keyframes_that_cannot_be(at, message):
  with pytest.raises(ValueError, match=message):
    given.keyframes([picture(), picture()], at, 5, 4)


def test_a_cinemagraph_rests_outside_its_region():
  image, moving = picture(8, 8), np.zeros((8, 8), bool)
  moving[2:5, 3:6] = True
  found = given.cinemagraph(image, moving, 4, 8)
  assert found.mask[0].all()
  np.testing.assert_array_equal(found.mask[1:] == 0, np.repeat(moving[None], 3, axis=0))
  np.testing.assert_array_equal(found.video, np.repeat(image[None], 4, axis=0))


def test_smaller_frames_know_less_never_more():
  video, new = np.stack([picture(8, 8)] * 3), np.zeros((1, 8, 8), bool)
  new[0, 3, 3] = True
  small = given.with_hole(video, new, 8).reduced(4)
  assert small.mask[:, 1, 1].tolist() == [0, 0, 0] and small.mask.sum() == 3 * 15
  assert small.video.shape == (3, 4, 4, 3)


def test_masks_fit_what_they_are_for():
  video = np.stack([picture()] * 3)
  with pytest.raises(ValueError, match="the mask has 8x8 pixels, but its image or video has 16x12"):
    given.with_hole(video, np.zeros((1, 8, 8), bool), 8)
  with pytest.raises(ValueError, match="the mask has 2 frames, the video 3"):
    given.with_hole(video, np.zeros((2, 12, 16), bool), 8)
  with pytest.raises(ValueError, match="mask has 4x4 pixels"):
    given.cinemagraph(picture(), np.zeros((4, 4), bool), 4, 8)


def test_going_on_needs_room():
  with pytest.raises(ValueError, match="num_frames=3 must be more than the 3 frames"):
    given.beginning(np.stack([picture()] * 3), 3, 4)
