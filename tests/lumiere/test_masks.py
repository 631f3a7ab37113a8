"""Masks: each kind knows what it says, and a smaller or softer mask never claims more."""

import jax
import numpy as np
import pytest

from lumiere import masks
from lumiere.masks import MaskConfig

T, H, W = 6, 12, 16


def drawn(kind: str, seed: int = 0):
  """Sixteen masks of a kind, [16 t h w]."""
  found = masks.draw_masks(MaskConfig({kind: 1.0}), jax.random.key(seed), (16, T, H, W, 3))
  assert found.shape == (16, T, H, W, 1) and set(np.unique(found)) <= {0.0, 1.0}
  return np.asarray(found[..., 0])


def is_rectangle(area) -> bool:
  rows, columns = area.any(axis=1), area.any(axis=0)
  edges = [np.abs(np.diff(np.pad(line.astype(int), 1))).sum() for line in (rows, columns)]
  return edges == [2, 2] and area.sum() == rows.sum() * columns.sum()


def test_frames_are_known_whole():
  assert not drawn("none").any()
  first, ends = drawn("first_frame"), drawn("first_and_last")
  assert first[:, 0].all() and not first[:, 1:].any()
  assert ends[:, [0, -1]].all() and not ends[:, 1:-1].any()
  fourth = drawn("every_4th")
  assert fourth[:, ::4].all() and fourth.sum() == fourth[:, ::4].size
  some = drawn("any_frames")
  assert (some.min(axis=(2, 3)) == some.max(axis=(2, 3))).all()
  assert len(np.unique(some.mean(axis=(1, 2, 3)))) > 3


@pytest.mark.parametrize("kind", ("box", "tube", "border", "still_region"))
def test_rectangles(kind):
  inside = drawn(kind) == (1 if kind == "border" else 0)
  if kind == "still_region":
    assert not inside[:, 0].any()
    inside = inside[:, 1:]
  assert all(is_rectangle(frame) for clip in inside for frame in clip)
  rests = (inside == inside[:, :1]).all(axis=(1, 2, 3))
  assert rests.all() if kind != "tube" else not rests.all()
  assert len({clip.tobytes() for clip in inside}) > 8  # every example has its own


def test_a_hole_is_a_rectangle_for_a_while():
  holes = drawn("hole") == 0
  for clip in holes:
    frames = [frame for frame in clip if frame.any()]
    assert all((frame == frames[0]).all() and is_rectangle(frame) for frame in frames)
    assert np.abs(np.diff(np.pad(clip.any(axis=(1, 2)).astype(int), 1))).sum() <= 2  # one run
  assert len({clip.any(axis=(1, 2)).sum() for clip in holes}) > 2


def test_shares_are_kept():
  config = MaskConfig(dict(none=3, first_frame=1, box=0))
  found = np.asarray(masks.draw_masks(config, jax.random.key(1), (2000, 2, 4, 4, 3)))
  first = found[:, 0].all(axis=(1, 2, 3))
  assert not found[~first].any()
  assert abs(first.mean() - 0.25) < 0.04


def test_shown_is_what_is_known_and_the_mask():
  video = np.random.default_rng(0).normal(size=(1, T, H, W, 3)).astype(np.float32)
  mask = drawn("box")[:1, ..., None]
  shown = np.asarray(masks.shown(video, mask))
  np.testing.assert_array_equal(shown[..., 3:], mask)
  np.testing.assert_array_equal(shown[..., :3], video * mask)


def test_a_reduced_mask_knows_only_what_is_known_throughout():
  mask = np.ones((2, 4, 4), np.float32)
  mask[0, 1, 2] = 0
  assert masks.reduce(mask, (2, 2)).tolist() == [[[1, 0], [1, 1]], [[1, 1], [1, 1]]]
  with pytest.raises(ValueError, match="4x4 pixels cannot be reduced to 3x3"):
    masks.reduce(mask, (3, 3))


def test_soft_edges_lie_in_what_is_known():
  mask = np.ones((1, 9, 9), np.float32)
  mask[0, :, 6:] = 0
  soft = masks.soften(mask, 3)
  np.testing.assert_allclose(soft[0, 4], [1, 1, 1, 0.75, 0.5, 0.25, 0, 0, 0])
  assert masks.soften(mask, 0) is mask
  np.testing.assert_array_equal(masks.soften(np.ones((1, 4, 4)), 2), 1)  # no edge
  with pytest.raises(ValueError, match="soft_edge=-1"):
    masks.soften(mask, -1)


@pytest.mark.parametrize(
  ("shares", "message"),
  (({"star": 1}, "'star'; kinds of masks are none"), ({"none": 0}, "above 0"), ({}, "above 0")),
)
def test_configs_that_cannot_be(shares, message):
  with pytest.raises(ValueError, match=message):
    MaskConfig(shares)
