"""The Inception Score in closed form, and C3D's files. What C3D computes is compared with PyTorch in tests/parity."""

import numpy as np
import pytest

from lumiere.evaluation.metrics import c3d
from lumiere.evaluation.metrics.c3d import C3DConfig, inception_score

TINY = C3DConfig(widths=(2, 3, 4, 4, 5, 5, 6, 6), hidden=7, num_classes=5, size=48)


def of_tgan(config: C3DConfig, seed: int = 0) -> dict[str, np.ndarray]:
  """Random weights with the names and shapes of TGAN's files."""
  rng, c_in, found = np.random.default_rng(seed), 3, {}
  for name, width in zip(c3d.NAMES, config.widths, strict=True):
    found[f"{name}/W"] = rng.normal(0, 0.3, (width, c_in, 3, 3, 3)).astype(np.float32)
    found[f"{name}/b"] = rng.normal(0, 0.1, width).astype(np.float32)
    c_in = width
  wide = ((config.flat, config.hidden), (config.hidden,) * 2, (config.hidden, config.num_classes))
  for name, (before, after) in zip(("fc6", "fc7", "fc8"), wide, strict=True):
    found[f"{name}/W"] = rng.normal(0, 0.3, (after, before)).astype(np.float32)
    found[f"{name}/b"] = rng.normal(0, 0.1, after).astype(np.float32)
  return found


def write(folder, config: C3DConfig = TINY):
  """(file of weights, file of the mean)."""
  np.savez(folder / "c3d.npz", **of_tgan(config))
  mean = np.random.default_rng(1).uniform(80, 120, (3, 16, config.size + 16, config.size + 20))
  np.savez(folder / "mean.npz", mean=mean.astype(np.float32))
  return folder / "c3d.npz", folder / "mean.npz"


def test_the_score_of_sure_and_balanced_classes_is_their_number_and_of_unsure_ones_it_is_1():
  sure = np.tile(1000.0 * np.eye(4), (6, 1))
  assert inception_score(sure, 1) == pytest.approx((4, 0))
  assert inception_score(sure, 3) == pytest.approx((4, 0))
  assert inception_score(np.zeros((10, 101)), 2) == pytest.approx((1, 0))
  assert inception_score(np.tile(sure[:1], (10, 1)), 2) == pytest.approx((1, 0))
  half = np.log(np.array([[0.75, 0.25], [0.25, 0.75]]))
  expected = np.exp(0.75 * np.log(1.5) + 0.25 * np.log(0.5))
  assert inception_score(half + 3, 1)[0] == pytest.approx(expected)
  with pytest.raises(ValueError, match="in 10 parts needs as many videos, 4"):
    inception_score(sure[:4])


def test_sizes_are_the_published_ones():
  assert C3DConfig().flat == 512 * 4 * 4


def test_files_of_others_are_refused(tmp_path):
  weights, mean = write(tmp_path)
  assert c3d.load_backbone(weights, mean, TINY).name == "c3d-ucf101"
  with pytest.raises(ValueError, match="c3d.npz does not hold C3D's weights.*of another shape"):
    c3d.load_backbone(weights, mean)
  with pytest.raises(ValueError, match="mean.npz has no conv1a/W"):
    c3d.load_backbone(mean, mean, TINY)
  with pytest.raises(ValueError, match="c3d.npz has no 'mean'"):
    c3d.load_backbone(weights, weights, TINY)
  mean.write_bytes(b"x")
  with pytest.raises(ValueError, match="mean.npz cannot be read as .npz"):
    c3d.load_backbone(weights, mean, TINY)
