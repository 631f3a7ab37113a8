"""What is given is fitted, and comes back exactly."""

import numpy as np
import pytest

from lumiere.sampling import given
from lumiere.sampling.given import Fitting

RNG = np.random.default_rng(0)


def picture(height=12, width=16):
  return RNG.integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_a_picture_of_the_right_size_is_itself_and_others_lose_their_edges():
  image = picture(8, 8)
  np.testing.assert_array_equal(Fitting((8, 8), (8, 8)).frame(image), image)
  wide = np.pad(image, [(0, 0), (4, 4), (0, 0)])
  np.testing.assert_array_equal(Fitting((8, 16), (8, 8)).frame(wide), image)
  tall = np.pad(picture(4, 8), [(1, 1), (0, 0), (0, 0)])
  np.testing.assert_array_equal(Fitting((6, 8), (4, 8)).frame(tall), tall[1:-1])


def test_keyframes_lie_where_they_are_said_to():
  images = [picture(8, 8) for _ in range(2)]
  found = given.keyframes(images, (0, -1), 5, (8, 8))
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
    given.keyframes([picture(), picture()], at, 5, (4, 4))


def test_a_cinemagraph_rests_outside_its_region():
  image, moving = picture(8, 8), np.zeros((8, 8), bool)
  moving[2:5, 3:6] = True
  found = given.cinemagraph(image, moving, 4, (8, 8))
  assert found.mask[0].all()
  np.testing.assert_array_equal(found.mask[1:] == 0, np.repeat(moving[None], 3, axis=0))
  np.testing.assert_array_equal(found.video, np.repeat(image[None], 4, axis=0))


def test_smaller_frames_know_less_never_more():
  video, new = np.stack([picture(8, 8)] * 3), np.zeros((1, 8, 8), bool)
  new[0, 3, 3] = True
  small = given.with_hole(video, new, (8, 8)).reduced((4, 4))
  assert small.mask[:, 1, 1].tolist() == [0, 0, 0] and small.mask.sum() == 3 * 15
  assert small.video.shape == (3, 4, 4, 3)


def test_masks_fit_what_they_are_for():
  video = np.stack([picture()] * 3)
  with pytest.raises(
    ValueError, match="the mask has 8x8 pixels .*, but its image or video has 12x16"
  ):
    given.with_hole(video, np.zeros((1, 8, 8), bool), (8, 8))
  with pytest.raises(ValueError, match="the mask has 2 frames, the video 3"):
    given.with_hole(video, np.zeros((2, 12, 16), bool), (8, 8))
  with pytest.raises(ValueError, match="mask has 4x4 pixels"):
    given.cinemagraph(picture(), np.zeros((4, 4), bool), 4, (8, 8))


def test_going_on_needs_room():
  with pytest.raises(ValueError, match="num_frames=3 must be more than the 3 frames"):
    given.beginning(np.stack([picture()] * 3), 3, (4, 4))


SHAPES = [((8, 8), (24, 40)), ((90, 160), (24, 40)), ((90, 160), (40, 24)), ((7, 5), (8, 8))]


@pytest.mark.parametrize(("source", "size"), SHAPES)
def test_padding_shows_all_of_a_picture_and_leaves_the_rest_to_be_generated(source, size):
  fitting = Fitting(source, size, "pad")
  (top, bottom), (left, right) = fitting.padding
  assert (source[0] + top + bottom, source[1] + left + right) == fitting.region
  assert (
    min(top + bottom, left + right) == 0 or source == size
  )  # one side reaches the frame's edges
  assert abs(fitting.region[0] * size[1] - fitting.region[1] * size[0]) <= max(size)
  known = fitting.known()
  share = source[0] * source[1] / (fitting.region[0] * fitting.region[1])
  assert known.shape == size and share - 4 / min(size) <= known.mean() <= share + 0.01
  frame = fitting.frame(np.full((*source, 3), 200, np.uint8))
  assert frame.shape == (*size, 3) and (frame == 200).all()  # the edge goes on
  cropped = Fitting(source, size)
  assert cropped.known().all() and cropped.padding == ((0, 0), (0, 0))


def test_a_keyframe_that_is_padded_is_known_where_the_picture_is():
  image = picture(8, 8)
  found = given.keyframes([image], (0,), 3, (8, 16), "pad")
  assert found.mask[0].sum() == 64 and found.mask[0, :, 4:12].all() and not found.mask[1:].any()
  made = RNG.integers(0, 256, (3, 8, 16, 3), dtype=np.uint8)
  np.testing.assert_array_equal(found.put_into(made)[0, :, 4:12], image)
  moving = np.ones((8, 8), bool)
  still = given.cinemagraph(image, ~moving, 3, (8, 16), fit="pad")
  np.testing.assert_array_equal(still.mask, np.repeat(found.mask[:1], 3, axis=0))
  going_on = given.beginning(np.repeat(image[None], 2, axis=0), 3, (8, 16), "pad")
  assert going_on.mask.sum() == 128 and not going_on.mask[2].any()


def test_a_border_widens_the_frame_to_its_own_shape():
  fitting = Fitting((10, 10), (8, 16), border=(0, 0, 4, 0))
  assert fitting.region == (10, 20) and fitting.padding == ((0, 0), (3, 7))
  assert "10x10 pixels (height x width), widened to 10x20, resized to 8x16" == fitting.describe()
  with pytest.raises(ValueError, match="border=0,0,99,0 leaves less than a pixel .* at 8x8"):
    Fitting((1, 1), (8, 8), border=(0, 0, 99, 0))


@pytest.mark.parametrize(
  ("fitting", "words"),
  [
    (Fitting((8, 8), (8, 8)), "8x8 pixels (height x width), shown whole"),
    (Fitting((16, 16), (8, 8)), "16x16 pixels (height x width), resized to 8x8"),
    (Fitting((90, 160), (8, 8)), "the middle 90x90 of it are resized to 8x8"),
    (Fitting((8, 16), (8, 8)), "the middle 8x8 of it are shown"),
    (Fitting((90, 160), (8, 8), "pad"), "widened to 160x160, resized to 8x8"),
    (Fitting((16, 16), (8, 8), "pad"), "shown whole, resized to 8x8"),
  ],
)
def test_what_is_done_to_a_picture_is_said(fitting, words):
  assert fitting.describe().endswith(words)
