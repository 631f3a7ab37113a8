"""Scores of frames against pictures whose truth is known."""

import cv2
import numpy as np
import pytest

from lumiere.data.curation import samples
from tests.lumiere.data.curation.footage import texture

PICTURE = cv2.cvtColor(texture(3, 256, 320), cv2.COLOR_RGB2GRAY)


@pytest.mark.parametrize("step", [0, 4, 12])
def test_motion_is_the_distance_in_frame_heights(step):
  mean, largest = samples.motion(PICTURE, np.roll(PICTURE, step, axis=0))
  assert mean == pytest.approx(step / 256, rel=0.15, abs=1e-4)
  assert largest >= mean


def test_local_motion_is_that_of_what_moves():
  """A tenth of the frame moves by a sixteenth of its height."""
  patch = texture(9, 96, 96)[:80, :102, 0]
  frame = np.full((2, 256, 320), 90, np.uint8)
  frame[0, 80:160, 100:196] = patch[:, :96]
  frame[1, 96:176, 100:196] = patch[:, :96]
  mean, largest = samples.motion(*frame)
  assert largest == pytest.approx(1 / 16, rel=0.25)
  assert mean < largest / 3


def test_blur_grows_with_the_width_of_a_gaussian():
  blocks = (
    np.random.default_rng(0).integers(0, 256, (16, 16)).astype(np.uint8).repeat(16, 0).repeat(16, 1)
  )
  found = [
    samples.blur(blocks),
    *(samples.blur(cv2.GaussianBlur(blocks, (0, 0), s)) for s in (1, 2, 4)),
  ]
  assert found == sorted(found) and found[0] < 0.2 and found[-1] > 0.6
  assert samples.blur(np.full((64, 64), 7, np.uint8)) == 1


def test_writing_is_seen_and_a_picture_is_none():
  written = PICTURE.copy()
  cv2.putText(written, "Subscribe to our channel", (10, 230), cv2.FONT_HERSHEY_SIMPLEX, 0.7, 255, 2)
  assert samples.text_share(PICTURE) == 0
  assert 0.02 < samples.text_share(written) < 0.15


@pytest.mark.parametrize(
  ("box", "expected"),
  [
    ((32, 32, 0, 0), (0.125, 0.125, 0, 0)),
    ((0, 0, 80, 80), (0, 0, 0.25, 0.25)),
    ((16, 48, 0, 40), (0.0625, 0.1875, 0, 0.125)),
    ((0, 0, 0, 0), (0, 0, 0, 0)),
  ],
)
def test_black_bars_end_where_the_picture_begins(box, expected):
  top, bottom, left, right = box
  frame = np.maximum(PICTURE, 60)
  inside = np.zeros_like(frame)
  inside[top : 256 - bottom, left : 320 - right] = frame[top : 256 - bottom, left : 320 - right]
  assert samples.bars(inside) == pytest.approx(expected)


def test_a_thing_on_black_has_no_bars_around_it():
  frame = np.zeros((256, 320), np.uint8)
  cv2.circle(frame, (160, 128), 60, 200, -1)
  assert all(np.isnan(samples.bars(frame))) and all(np.isnan(samples.bars(0 * frame)))


def test_the_hash_stays_when_a_picture_is_scaled_and_coded_and_not_for_another():
  same = cv2.resize(PICTURE, (200, 160), interpolation=cv2.INTER_AREA)
  coded = cv2.imdecode(
    cv2.imencode(".jpg", same, [cv2.IMWRITE_JPEG_QUALITY, 40])[1], cv2.IMREAD_GRAYSCALE
  )
  distance = lambda other: (
    samples.perceptual_hash(PICTURE) ^ samples.perceptual_hash(other)
  ).bit_count()
  assert distance(coded) <= 4
  others = [cv2.cvtColor(texture(seed, 256, 320), cv2.COLOR_RGB2GRAY) for seed in range(10, 20)]
  assert min(map(distance, others)) > 12


def test_a_sampler_takes_frames_of_any_size():
  sampler = samples.Sampler()
  sampler.add(texture(1, 96, 160), 0.0)
  sampler.add(texture(1, 80, 80), 0.5)
  first, second = sampler.samples
  assert np.isnan(first.motion) and np.isfinite(second.motion)
  assert first.edges.shape == second.edges.shape
