"""A trained model as it is shared: averaged weights in one file that nothing is executed from, and what they are.

FOLDER/weights.safetensors   params and frozen weights under their paths, in bfloat16
FOLDER/config.json           the experiment, the step, the SHA-256 of the weights
"""

import hashlib
import json

import ml_dtypes
import numpy as np
import safetensors
import safetensors.numpy
from etils import epath
from flax import traverse_util

from lumiere.checkpoints import Trained
from lumiere.experiment import Experiment
from lumiere.model import abstract_model

WEIGHTS, CONFIG = "weights.safetensors", "config.json"
PARTS = ("params", "frozen")


class ReleaseError(ValueError):
  """A folder that is no release, or was changed."""


def save(trained: Trained, folder: epath.PathLike):
  """Writes the averaged weights of a run, rounded to bfloat16."""
  folder = epath.Path(folder)
  folder.mkdir(parents=True, exist_ok=True)
  leaves = {}
  for part in PARTS:
    for path, leaf in traverse_util.flatten_dict(getattr(trained, part), sep="/").items():
      leaves[f"{part}/{path}"] = np.asarray(leaf).astype(ml_dtypes.bfloat16)
  content = safetensors.numpy.save(leaves)
  (folder / WEIGHTS).write_bytes(content)
  described = {
    "experiment": trained.experiment.to_json(),
    "step": trained.step,
    "provenance": trained.provenance,
    "checksum": trained.checksum,
    "sha256": hashlib.sha256(content).hexdigest(),
  }
  (folder / CONFIG).write_text(json.dumps(described, indent=2) + "\n")


def load(folder: epath.PathLike) -> Trained:
  """Reads a folder that `save` wrote; weights are float32.

  Raises:
    ReleaseError: names what is missing, was changed or does not fit.
  """
  folder = epath.Path(folder)
  try:
    described = json.loads((folder / CONFIG).read_text())
    content = (folder / WEIGHTS).read_bytes()
  except (OSError, json.JSONDecodeError) as error:
    raise ReleaseError(f"{folder} is no release: {error}") from error
  if hashlib.sha256(content).hexdigest() != described["sha256"]:
    raise ReleaseError(
      f"{folder / WEIGHTS} is not the file that {CONFIG} describes: it was changed"
    )
  experiment = Experiment.from_config(described["experiment"])
  rebuild, *wanted = abstract_model(experiment)
  leaves = {
    name: np.frombuffer(stored["data"], ml_dtypes.bfloat16).reshape(stored["shape"])
    for name, stored in safetensors.deserialize(content)
  }
  parts = []
  for part, abstract in zip(PARTS, wanted, strict=True):
    tree = {}
    for path, leaf in traverse_util.flatten_dict(abstract, sep="/").items():
      name = f"{part}/{path}"
      if name not in leaves or leaves[name].shape != leaf.shape:
        raise ReleaseError(f"{folder / WEIGHTS} has no {name} of shape {leaf.shape}")
      tree[path] = leaves[name].astype(leaf.dtype)
    parts.append(traverse_util.unflatten_dict(tree, sep="/"))
  return Trained(
    experiment,
    described["step"],
    rebuild,
    *parts,
    provenance=described["provenance"],
    checksum=described["checksum"],
  )
