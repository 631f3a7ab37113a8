"""The device mesh: one, with named axes, and how batches and weights lie on it.

data      batches are split over it
fsdp      parameters and optimizer state
frames    the time axis of activations
"""

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding

AXES = ("data", "fsdp", "frames")


def make_mesh(devices=None) -> Mesh:
  """All devices along `data`: data parallelism."""
  devices = jax.devices() if devices is None else devices
  return Mesh(np.asarray(devices).reshape(-1, 1, 1), AXES, axis_types=(AxisType.Auto,) * len(AXES))


def check_batch_size(batch_size: int, mesh: Mesh):
  """Raises ValueError unless the batch splits evenly over the mesh."""
  if batch_size % mesh.shape["data"]:
    raise ValueError(
      f"config.train.batch_size={batch_size} must be a multiple of {mesh.shape['data']}, the devices that share a batch"
    )


def replicate(tree, mesh: Mesh):
  """Every device gets a copy."""
  return jax.device_put(tree, NamedSharding(mesh, jax.P()))


def shard_batch(batch, mesh: Mesh):
  """This process's part of a batch -> global arrays split over `data` along their first axis."""
  sharding = NamedSharding(mesh, jax.P("data"))
  return jax.tree.map(
    lambda x: jax.make_array_from_process_local_data(sharding, np.asarray(x)), batch
  )
