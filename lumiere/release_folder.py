"""The folder of a release: averaged weights in bfloat16, and what they are.

FOLDER/weights.safetensors   params and frozen weights under their paths
FOLDER/config.json           the experiment, the step, which average, what it was made from, the SHA-256 of the weights
FOLDER/README.md             the model card, for people; nothing reads it

A release of the temporal part alone has no frozen weights, but their checksum: `lumiere.release` joins it with them again.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import jax
import ml_dtypes
import numpy as np
import safetensors
import safetensors.numpy
from etils import epath
from flax import traverse_util

from lumiere import checksums
from lumiere import mesh as meshes
from lumiere.experiment import STAGES, Experiment
from lumiere.model import abstract_model
from lumiere.trained import Record, Trained
from lumiere.trees import CheckpointError
from lumiere.weights import Weights

WEIGHTS, CONFIG, CARD = "weights.safetensors", "config.json", "README.md"
PARTS = ("params", "frozen")
# Fields that name places on the disk of whoever trained; their last part is enough for others.
PATHS = (
  ("autoencoder_from",),
  ("init_from",),
  ("data", "data_dir"),
  ("data", "folder"),
  ("data", "embeddings"),
  ("evaluation", "i3d"),
)


def is_release(folder: epath.PathLike) -> bool:
  """Whether a folder looks like a release, and not like the workdir of a run."""
  folder = epath.Path(folder)
  return (folder / CONFIG).exists() and not (folder / "checkpoints").exists()


def save(
  trained: Trained, folder: epath.PathLike, *, average: str, temporal_only: bool = False
) -> dict[str, Any]:
  """Writes a model into a folder, its weights rounded to bfloat16.

  Args:
    trained: the model.
    folder: is made if it is not there.
    average: which average of the weights it is, for people.
    temporal_only: leave the frozen weights out.

  Returns:
    the content of config.json.
  """
  folder = epath.Path(folder)
  folder.mkdir(parents=True, exist_ok=True)
  leaves = {part: flat(getattr(trained, part)) for part in PARTS}
  written = PARTS[:1] if temporal_only else PARTS
  content = safetensors.numpy.save(
    {f"{part}/{path}": leaf for part in written for path, leaf in leaves[part].items()}
  )
  described = {
    "stage": trained.experiment.stage,
    "step": trained.step,
    "average": average,
    "parts": list(written),
    "experiment": without_places(trained.experiment.to_json()),
    "provenance": without_places(trained.provenance, (("inherited", "workdir"),)),
    "frozen_checksum": checksum_of(leaves["frozen"]),
    "sha256": hashlib.sha256(content).hexdigest(),
  }
  (folder / WEIGHTS).write_bytes(content)
  (folder / CONFIG).write_text(json.dumps(described, indent=2) + "\n")
  return described


def flat(tree: Weights) -> dict[str, np.ndarray]:
  """Path -> array in bfloat16."""
  leaves = traverse_util.flatten_dict(tree, sep="/")
  return {path: np.asarray(leaf).astype(ml_dtypes.bfloat16) for path, leaf in leaves.items()}


def checksum_of(leaves: Mapping[str, np.ndarray]) -> str:
  """16 hexadecimal digits that stand for weights in bfloat16."""
  return checksums.digest({path: checksums.of_array(leaf) for path, leaf in leaves.items()})


def without_places(value: Mapping[str, Any], paths=PATHS) -> dict[str, Any]:
  """A copy in which of the paths on a disk only the last part is left."""
  copied = json.loads(json.dumps(value))
  for *sections, name in paths:
    inner = copied
    for section in sections:
      inner = inner.get(section) or {}
    if inner.get(name):
      inner[name] = epath.Path(inner[name]).name
  return copied


def describe(folder: epath.PathLike) -> dict[str, Any]:
  """The content of a release's config.json; raises CheckpointError if it is not that of a release."""
  path = epath.Path(folder) / CONFIG
  try:
    described = json.loads(path.read_text())
  except (OSError, ValueError) as error:
    raise CheckpointError(f"{path} cannot be read: {error}") from error
  wanted = ("step", "average", "parts", "experiment", "provenance", "frozen_checksum", "sha256")
  if not isinstance(described, dict) or (missing := [n for n in wanted if n not in described]):
    what = f"has no {missing[0]!r}" if isinstance(described, dict) else "is no table"
    raise CheckpointError(f"{path} is not that of a release: it {what}")
  return described


def load_record(
  folder: epath.PathLike, step: int | None = None, stages: tuple[str, ...] = STAGES
) -> Record:
  """What a release says of itself; no weights are read.

  Raises:
    CheckpointError: if it is no release, has only a part of the weights, or is of another step or stage.
  """
  described = describe(folder)
  try:
    experiment = Experiment.from_config(described["experiment"])
  except ValueError as error:
    raise CheckpointError(f"{epath.Path(folder) / CONFIG} cannot be read: {error}") from error
  if step not in (None, described["step"]):
    raise CheckpointError(
      f"{folder} is a release of step {described['step']} and has no step {step}"
    )
  if experiment.stage not in stages:
    raise CheckpointError(
      f"{folder} is a release of a {experiment.stage!r} model; {' or '.join(map(repr, stages))} is needed here"
    )
  if experiment.is_video and described["parts"] != list(PARTS):
    raise CheckpointError(
      f"{folder} holds the temporal part alone; python -m lumiere.release --workdir={folder} "
      "--with_image=IMAGE --out=FOLDER joins it with the image model that it was trained around"
    )
  return Record(described["step"], experiment, described["provenance"], {}, {})


def load_trained(
  folder: epath.PathLike,
  stages: tuple[str, ...] = STAGES,
  step: int | None = None,
  mesh: jax.sharding.Mesh | None = None,
) -> Trained:
  """Reads a release; arguments as for `checkpoints.load_trained`.

  Raises:
    CheckpointError: as `load_record`; and if the weights are missing, damaged, not finite or of another network.
  """
  record = load_record(folder, step, stages)
  rebuild, *wanted = abstract_model(record.experiment)
  leaves = read_weights(folder)
  wanted = meshes.abstract(tuple(wanted), mesh or meshes.one_device())
  parts = [
    _placed(leaves, part, abstract, folder) for part, abstract in zip(PARTS, wanted, strict=True)
  ]
  if leaves:
    raise CheckpointError(f"{epath.Path(folder) / WEIGHTS} holds {min(leaves)}, which is not used")
  checksum = describe(folder)["sha256"][:16]
  return Trained(record.experiment, record.step, rebuild, *parts, record.provenance, checksum)


def part_of(folder: epath.PathLike, part: str, abstract: Weights) -> Weights:
  """One part of a release's weights, on one device; raises CheckpointError as `load_trained`."""
  return _placed(read_weights(folder), part, meshes.abstract(abstract, meshes.one_device()), folder)


def read_weights(folder: epath.PathLike) -> dict[str, np.ndarray]:
  """Path, with the part first, -> array in bfloat16; raises CheckpointError if the file is not what was written."""
  path = epath.Path(folder) / WEIGHTS
  try:
    content = path.read_bytes()
  except OSError as error:
    raise CheckpointError(f"{path} cannot be read: {error}") from error
  if hashlib.sha256(content).hexdigest() != describe(folder)["sha256"]:
    raise CheckpointError(
      f"{path} is not the file that {CONFIG} beside it describes: its SHA-256 is another, so it is damaged or was replaced"
    )
  try:
    stored = safetensors.deserialize(content)
  except safetensors.SafetensorError as error:
    raise CheckpointError(f"{path} cannot be read: {error}") from error
  if other := [name for name, tensor in stored if tensor["dtype"] != "BF16"]:
    raise CheckpointError(f"{path} holds {other[0]} in another dtype than bfloat16")
  return {
    name: np.frombuffer(tensor["data"], ml_dtypes.bfloat16).reshape(tensor["shape"])
    for name, tensor in stored
  }


def _placed(leaves: dict[str, np.ndarray], part: str, abstract: Weights, folder) -> Weights:
  """A part's weights, taken out of `leaves`, in the dtypes and on the devices of `abstract`."""
  tree, path = {}, epath.Path(folder) / WEIGHTS
  for name, wanted in traverse_util.flatten_dict(abstract, sep="/").items():
    leaf = leaves.pop(f"{part}/{name}", None)
    if leaf is None or leaf.shape != wanted.shape:
      found = "no such weight" if leaf is None else f"one of shape {leaf.shape}"
      raise CheckpointError(
        f"{path}: {part}/{name} of shape {wanted.shape} is needed, it has {found}"
      )
    leaf = leaf.astype(wanted.dtype)
    if not np.all(np.isfinite(leaf)):
      raise CheckpointError(f"{path} holds weights that are not finite, first in {part}/{name}")
    tree[name] = jax.device_put(leaf, wanted.sharding)
  return traverse_util.unflatten_dict(tree, sep="/")
