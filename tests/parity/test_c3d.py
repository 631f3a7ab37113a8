"""C3D against PyTorch, with random weights in files of TGAN's form."""

import jax.numpy as jnp
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="make test-parity installs it")

from torch.nn import functional as F  # noqa: E402, N812

from lumiere.evaluation.metrics import c3d  # noqa: E402
from tests.lumiere.evaluation.metrics.test_c3d import TINY, of_tgan, write  # noqa: E402


def reference(clip: np.ndarray, mean: np.ndarray) -> np.ndarray:
  """Logits of a clip [t h w 3] in 0..255, from the description of the network in channels first."""
  stored = {name: torch.from_numpy(x) for name, x in of_tgan(TINY).items()}
  bgr = torch.from_numpy(clip[..., ::-1].copy()).permute(0, 3, 1, 2) * (128 / 127.5)
  x = F.interpolate(bgr, size=(TINY.size,) * 2, mode="bilinear", align_corners=True)
  x = x.permute(1, 0, 2, 3)[None] - torch.from_numpy(mean[:, :, 8 : 8 + TINY.size, 8 : 8 + TINY.size])[None]  # fmt: skip
  for name in c3d.NAMES:
    x = torch.relu(F.conv3d(x, stored[f"{name}/W"], stored[f"{name}/b"], padding=1))
    if name in c3d.POOLED:
      x = F.max_pool3d(x, (1 if name == "conv1a" else 2, 2, 2), ceil_mode=True)
  x = x.flatten(1)
  for name in ("fc6", "fc7", "fc8"):
    x = F.linear(x, stored[f"{name}/W"], stored[f"{name}/b"])
    x = torch.relu(x) if name != "fc8" else x
  return x.numpy()


def test_c3d(tmp_path):
  """48 pixels: 48, 24, 12, 6, 3 -> 2: the last maximum has a row and a column left over."""
  weights, mean = write(tmp_path)
  clips = np.random.default_rng(2).uniform(0, 255, (2, 16, 40, 60, 3)).astype(np.float32)
  backbone = c3d.load_backbone(weights, mean, TINY)
  found = np.asarray(backbone.compute(jnp.asarray(clips), "tf1"))
  expected = np.concatenate([reference(clip, np.load(mean)["mean"]) for clip in clips])
  assert np.abs(found - expected).max() < 1e-4 * np.abs(expected).max()
