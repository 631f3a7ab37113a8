"""TransNet V2 against PyTorch, with random weights and random statistics of its norms."""

import jax
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="make test-parity installs it")

from lumiere import weights  # noqa: E402
from lumiere.data.curation import transnet_weights  # noqa: E402
from tests.parity import transnet_reference  # noqa: E402


@pytest.mark.parametrize(("count", "length"), [(1, 100), (2, 13)])
def test_transnet(tmp_path, count, length):
  torch.manual_seed(0)
  theirs = transnet_reference.TransNet().eval()
  for module in theirs.modules():
    if isinstance(module, torch.nn.BatchNorm3d):
      module.running_mean.normal_(0, 0.1)
      module.running_var.uniform_(0.5, 2)
      module.weight.data.uniform_(0.5, 1.5)
      module.bias.data.normal_(0, 0.1)
  tensors = {name: x.numpy() for name, x in theirs.state_dict().items()}
  transnet_weights.save(transnet_weights.from_pytorch(tensors), tmp_path / "weights.safetensors")
  network, _ = transnet_weights.load(tmp_path / "weights.safetensors")
  rebuild, params, frozen = weights.split(network)
  frames = np.random.default_rng(1).integers(0, 256, (count, length, 27, 48, 3), np.uint8)
  found = jax.jit(lambda params, x: rebuild(params, frozen)(x))(params, frames)
  with torch.no_grad():
    expected = theirs(torch.from_numpy(frames))
  for ours, other in zip(found, expected, strict=True):
    assert np.abs(ours - other.numpy()).max() < 1e-4 * np.abs(other.numpy()).max()
