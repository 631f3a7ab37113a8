"""Ranges, sizes and orientation of arrays."""

import numpy as np
import pytest

from lumiere.data import frames
from lumiere.data.frames.arrays import turn


def test_every_level_survives_float():
  levels = np.arange(256, dtype=np.uint8)
  assert np.array_equal(frames.to_uint8(frames.to_float(levels)), levels)
  assert frames.to_float(levels)[[0, -1]].tolist() == [-1, 1]
  assert frames.to_uint8(np.array([-3.0, 3.0])).tolist() == [0, 255]


@pytest.mark.parametrize("before, after", [(8, 4), (7, 3), (12, 5), (4, 6), (9, 1)])
def test_area_resize_is_the_integral_over_each_pixel(before, after):
  video = np.random.default_rng(0).uniform(-1, 1, (2, before, before, 3)).astype(np.float32)
  # Independent: on the common refinement both grids are exact.
  fine = video.repeat(after, 1).repeat(after, 2)
  expected = fine.reshape(2, after, before, after, before, 3).mean((2, 4))
  np.testing.assert_allclose(frames.area_resize(video, after), expected, atol=1e-6)


def test_area_resize_to_a_rectangle():
  video = np.random.default_rng(0).uniform(-1, 1, (1, 4, 6, 3)).astype(np.float32)
  expected = video.reshape(1, 2, 2, 2, 3, 3).mean((2, 4))
  np.testing.assert_allclose(frames.area_resize(video, 2, 2), expected, atol=1e-6)
  np.testing.assert_allclose(
    frames.area_resize(video, 4, 2)[:, ::2], video[:, ::2].reshape(1, 2, 2, 3, 3).mean(3), atol=1e-6
  )


def test_area_resize_leaves_frames_of_that_size():
  video = np.random.default_rng(0).uniform(-1, 1, (1, 8, 8, 3)).astype(np.float32)
  assert frames.area_resize(video, 8) is video


def test_the_middle_is_the_largest_part_of_a_shape():
  video = np.arange(6 * 9).reshape(1, 6, 9, 1)
  assert np.array_equal(frames.middle(video, 4, 4), video[:, :, 1:7])
  assert np.array_equal(frames.middle(video[0], 2, 9), video[0, 2:4])
  assert np.array_equal(frames.middle(video, 2, 3), video)


def test_fit_keeps_the_middle_and_averages():
  frame = np.random.default_rng(0).integers(0, 256, (8, 20, 3), dtype=np.uint8)
  square = frame[:, 6:14].reshape(4, 2, 4, 2, 3).mean((1, 3))
  assert np.abs(frames.fit(frame, 4) - square).max() <= 0.51
  assert np.array_equal(frames.fit(frame, 8), frame[:, 6:14])
  wide = frame[1:6].reshape(1, 5, 4, 5, 3).mean((1, 3))  # of 20x8 pixels 20x5 have the shape 4x1
  assert np.abs(frames.fit(frame, 1, 4) - wide).max() <= 0.51


def test_turn_swaps_axes_first():
  picture = np.array([[1, 2, 3], [4, 5, 6]])
  assert turn(picture, True, True, False).tolist() == [
    [4, 1],
    [5, 2],
    [6, 3],
  ]  # a quarter to the right
  assert turn(picture, False, True, True).tolist() == [[6, 5, 4], [3, 2, 1]]


def test_enlarge_repeats_whole_pixels():
  clip = np.random.default_rng(0).integers(0, 256, (5, 16, 16, 3), dtype=np.uint8)
  large = frames.enlarge(clip, 40)
  assert large.shape == (5, 48, 48, 3) and np.array_equal(large[:, 1::3, 2::3], clip)
  assert np.array_equal(frames.enlarge(clip, 3), clip)
