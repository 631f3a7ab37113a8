"""I3D against PyTorch, with random weights and random statistics of its norms."""

import jax
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="make test-parity installs it")

from lumiere import weights  # noqa: E402
from lumiere.evaluation.metrics import i3d_weights  # noqa: E402
from lumiere.evaluation.metrics.i3d import I3D  # noqa: E402
from tests.parity import i3d_reference  # noqa: E402


@pytest.fixture(scope="module")
def networks(tmp_path_factory):
  """(PyTorch's, ours) with the same weights, by way of a file."""
  torch.manual_seed(0)
  theirs = i3d_reference.I3D().eval()
  for module in theirs.modules():
    if isinstance(module, torch.nn.BatchNorm3d):
      module.running_mean.normal_(0, 0.1)
      module.running_var.uniform_(0.5, 2)
      module.weight.data.uniform_(0.5, 1.5)
      module.bias.data.normal_(0, 0.1)
  tensors = {name: x.numpy() for name, x in theirs.state_dict().items()}
  path = tmp_path_factory.mktemp("i3d") / "i3d.safetensors"
  i3d_weights.save(i3d_weights.from_pytorch(tensors), path)
  return theirs, i3d_weights.load(path)[0]


@pytest.mark.parametrize("frames,size", [(9, 224), (16, 112), (17, 225)])
def test_i3d(networks, frames, size):
  theirs, ours = networks
  rebuild, params, frozen = weights.split(ours)
  clip = np.random.default_rng(frames).uniform(-1, 1, (1, frames, size, size, 3)).astype(np.float32)
  method = "trunk" if size < 224 else "__call__"  # the last pooling needs 7x7 places
  call = jax.jit(lambda params, x: getattr(I3D, method)(rebuild(params, frozen), x))
  found = np.asarray(call(params, clip))
  with torch.no_grad():
    x = torch.from_numpy(clip.transpose(0, 4, 1, 2, 3).copy())
    expected = (theirs.trunk(x) if size < 224 else theirs(x)).numpy()
  if size < 224:
    expected = expected.transpose(0, 2, 3, 4, 1)
  assert np.abs(found - expected).max() < 1e-4 * np.abs(expected).max()
