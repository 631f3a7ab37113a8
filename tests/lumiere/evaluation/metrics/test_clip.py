"""What is computed of CLIP's vectors; CLIP itself is tested in tests/parity."""

import jax.numpy as jnp
import numpy as np
import pytest

from lumiere.evaluation.metrics import clip


def unit(*angles) -> np.ndarray:
  return np.stack([np.cos(angles), np.sin(angles)], axis=-1)


def test_clipsim_and_consistency_are_means_of_cosines():
  frames = np.stack([unit(0, np.pi / 3, np.pi / 2), unit(0, 0, 0)])
  captions = unit(0, np.pi)
  np.testing.assert_allclose(clip.clipsim(frames, captions), [(1 + 0.5 + 0) / 3, -1], atol=1e-12)
  np.testing.assert_allclose(clip.consistency(frames), [(0.5 + np.sqrt(3) / 2) / 2, 1])
  with pytest.raises(ValueError, match="2 frames or more"):
    clip.consistency(frames[:, :1])


def test_frames_are_cut_to_the_middle_and_normalised():
  frames = jnp.full((1, 8, 16, 3), 0.0).at[:, :, 4:12].set(255.0)
  prepared = np.asarray(clip.prepared(frames, 8))
  assert prepared.shape == (1, 8, 8, 3)
  np.testing.assert_allclose(prepared[0, 3, 3], (1 - np.array(clip.MEAN)) / clip.STD, rtol=1e-5)
  assert clip.prepared(jnp.zeros((2, 5, 7, 3)), 10).shape == (2, 10, 10, 3)
