"""The device mesh of a run, and how batches, weights and state are placed on it.

One table says what is split over which axis: `stunet.layout.RULES`.
"""

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from jax.experimental import mesh_utils
from jax.sharding import AbstractMesh, AxisType, Mesh, NamedSharding

from lumiere import processes
from lumiere.experiment import Experiment
from lumiere.sections import MeshConfig
from stunet import layout

AnyMesh = Mesh | AbstractMesh  # an abstract one is enough for shapes


def make_mesh(config: MeshConfig = MeshConfig(), devices=None) -> Mesh:  # noqa: B008  (frozen)
  """A mesh with the axes `data`, `fsdp` and `frames`; `data` gets the remaining factor of the device count.

  Raises:
    ValueError: if `fsdp` x `frames` does not divide the number of devices.
  """
  devices = jax.devices() if devices is None else devices
  parts = config.fsdp * config.frames
  if len(devices) % parts:
    raise ValueError(
      f"config.mesh: fsdp={config.fsdp} x frames={config.frames} does not divide the {len(devices)} devices"
    )
  shape = (len(devices) // parts, config.fsdp, config.frames)
  if devices[0].platform == "tpu" and len({getattr(d, "slice_index", 0) for d in devices}) == 1:
    grid = mesh_utils.create_device_mesh(shape, devices, allow_split_physical_axes=True)
  else:
    grid = np.asarray(devices).reshape(shape)
  return Mesh(grid, layout.AXES, axis_types=(AxisType.Auto,) * len(layout.AXES))


def devices_of(experiment: Experiment) -> list[jax.Device]:
  """The devices that train: all of them, but of a CPU's cores (`processes.share_cores`) as many as share the batches evenly."""
  devices, train = jax.devices(), experiment.train
  are_cores = devices[0].platform == "cpu" and not processes.devices_are_given()
  if not are_cores or jax.process_count() > 1:
    return devices
  parts, frames = experiment.mesh.fsdp * experiment.mesh.frames, experiment.mesh.frames
  for count in range(len(devices), 0, -1):
    if count % parts == 0 and train.batch_size % (count // frames * train.num_microbatches) == 0:
      return devices[:count]
  return devices


def one_device() -> Mesh:
  """A mesh of this process's first device."""
  return make_mesh(devices=jax.local_devices()[:1])


def check_divides(experiment: Experiment, mesh: AnyMesh):
  """Raises ValueError unless examples and frames divide evenly over the mesh."""
  train = experiment.train
  sharing = mesh.shape[layout.DATA] * mesh.shape[layout.FSDP]
  if train.batch_size % (sharing * train.num_microbatches):
    raise ValueError(
      f"config.train.batch_size={train.batch_size} must be a multiple of {sharing * train.num_microbatches}: "
      f"{sharing} devices share a batch, in {train.num_microbatches} parts"
    )
  frames = mesh.shape[layout.FRAMES]
  if frames > 1 and experiment.data.num_frames % frames:
    raise ValueError(
      f"config.mesh.frames={frames} must divide data.num_frames={experiment.data.num_frames}"
    )


def check_fits(experiment: Experiment, mesh: Mesh):
  """`check_divides`; also raises ValueError unless each clip lies within one process, as processes load whole clips."""
  check_divides(experiment, mesh)
  frames = mesh.shape[layout.FRAMES]
  clips = mesh.devices.reshape(-1, frames)
  if any(len({device.process_index for device in clip}) > 1 for clip in clips):
    raise ValueError(
      f"config.mesh.frames={frames} must divide the devices of a process, {jax.local_device_count()}"
    )


def weight_sharding(leaf, mesh: AnyMesh) -> NamedSharding:
  """The sharding of a weight, its average or an optimizer statistic of it."""
  return NamedSharding(mesh, layout.weight_spec(leaf.shape, mesh.shape[layout.FSDP]))


def weight_shardings(tree, mesh: AnyMesh):
  """`weight_sharding` of every leaf."""
  return jax.tree.map(lambda leaf: weight_sharding(leaf, mesh), tree)


def abstract(tree, mesh: AnyMesh):
  """Shapes, dtypes and shardings of the leaves: a target to restore into."""
  return jax.tree.map(
    lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=weight_sharding(leaf, mesh)),
    tree,
  )


def batch_sharding(name: str, mesh: AnyMesh) -> NamedSharding:
  """The sharding of one entry of a batch: examples over `data` and `fsdp`, a video's frames over `frames`."""
  names = ("examples", "frames") if name == "video" else ("examples",)
  return NamedSharding(mesh, layout.spec(*names))


def shard_batch(batch: Mapping[str, np.ndarray], mesh: Mesh) -> dict[str, Any]:
  """Global arrays from this process's part of a batch."""
  return {
    name: jax.make_array_from_process_local_data(batch_sharding(name, mesh), np.asarray(x))
    for name, x in batch.items()
  }
