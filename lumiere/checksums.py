"""Checksums of weights and of JSON: what is read from disk is what was written, or it is noticed.

The sum of a leaf with the bits x_i, read as whole numbers, at the places i = 0, 1, 2, ... of its flattened array is

    sum_i mix(x_i xor mix(i))  modulo 2**32                                                                        (1)

`mix` maps the 32-bit numbers one to one (the finaliser of MurmurHash3): a single number that changes always changes the sum,
and so do numbers that change places, but for one case in 2**32. Places are those in the whole array, so that the sum does
not depend on the mesh that the array lies on: each device sums its own shards. It takes two dozen whole-number operations an
element.
"""

import functools
import hashlib
import json
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec

Sums = dict[str, int]  # a leaf's path -> its sum

# Elements that numpy works on at a time: what fits into a processor's cache.
CHUNK = 2**16


def inspect(tree) -> tuple[Sums, str | None]:
  """(the sum of every leaf, the path of the first leaf that holds inf or nan, or None).

  Leaves are JAX's arrays. Of those that several processes share, all processes call this together.
  """
  paths_and_leaves = jax.tree_util.tree_leaves_with_path(tree)
  names, leaves = (
    [path_name(path) for path, _ in paths_and_leaves],
    [x for _, x in paths_and_leaves],
  )
  parts = jax.device_get([_inspect_shards(leaf) for leaf in leaves])
  # [n, 2]: sums, and how many shards are not finite; of this process's shards.
  found = np.array(
    [np.sum(np.concatenate(part), axis=0, dtype=np.uint32) for part in parts]
  ).reshape(-1, 2)
  shared = np.array([not leaf.is_fully_addressable for leaf in leaves], bool)
  if shared.any():
    everywhere = multihost_utils.process_allgather(found)
    found = np.where(shared[:, None], np.sum(everywhere, axis=0, dtype=np.uint32), found)
  sums = dict(zip(names, found[:, 0].tolist(), strict=True))
  return sums, next((name for name, bad in zip(names, found[:, 1], strict=True) if bad), None)


def path_name(path) -> str:
  """A path of `jax.tree_util` as text, with slashes."""
  return jax.tree_util.keystr(path, simple=True, separator="/")


def _inspect_shards(leaf: jax.Array) -> list:
  """Of each shard on this process's devices its part of the sum, and 1 if it is not finite; of copies but one."""
  if isinstance(leaf.sharding, NamedSharding):
    mesh, spec = leaf.sharding.mesh, leaf.sharding.spec
  else:
    (device,) = leaf.sharding.device_set
    mesh, spec = Mesh(np.array([device]), ("all",)), PartitionSpec()
  parts = _program(mesh, spec)(leaf).addressable_shards
  originals = {shard.device for shard in leaf.addressable_shards if shard.replica_id == 0}
  return [np.zeros((1, 2), np.uint32), *(x.data for x in parts if x.device in originals)]


@functools.cache
def _program(mesh: Mesh, spec: PartitionSpec):
  """array -> [devices, 2]. A program without exchange: many of those underway may wait for each other for ever."""

  def of_shard(data):
    bits = jax.lax.bitcast_convert_type(data, f"uint{8 * data.dtype.itemsize}").astype(jnp.uint32)
    place, stride = jnp.zeros(data.shape, jnp.uint32), 1
    for axis in reversed(range(data.ndim)):
      names = spec[axis] if axis < len(spec) else None
      along = jax.lax.broadcasted_iota(jnp.uint32, data.shape, axis)
      length = data.shape[axis]
      if names:
        along += jax.lax.axis_index(names).astype(jnp.uint32) * np.uint32(length)
        length *= math.prod(mesh.shape[name] for name in np.atleast_1d(names).tolist())
      place += along * np.uint32(stride % 2**32)
      stride *= length
    total = jnp.sum(_mix(bits ^ _mix(place)), dtype=jnp.uint32)
    bad = 1 - jnp.all(jnp.isfinite(data)).astype(jnp.uint32)
    return jnp.stack([total, bad])[None]

  out = PartitionSpec(mesh.axis_names)
  return jax.jit(jax.shard_map(of_shard, mesh=mesh, in_specs=spec, out_specs=out, check_vma=False))


def of_array(array: np.ndarray) -> int:
  """The sum (1) of an array that is not on a device."""
  flat = np.ascontiguousarray(array).reshape(-1)
  bits, total = flat.view(f"uint{8 * flat.dtype.itemsize}"), 0
  for first in range(0, len(bits), CHUNK):
    part = bits[first : first + CHUNK].astype(np.uint32)
    place = np.arange(first, first + len(part)).astype(np.uint32)
    total += int(np.sum(_mix(part ^ _mix(place)), dtype=np.uint64))
  return total % 2**32


def _mix(x):
  """One 32-bit number for another, of which each bit depends on all bits."""
  x = (x ^ (x >> 16)) * np.uint32(0x85EBCA6B)
  x = (x ^ (x >> 13)) * np.uint32(0xC2B2AE35)
  return x ^ (x >> 16)


def difference(found: Sums, written: Sums) -> str | None:
  """What is not as it was written, for people; None if everything is."""
  changed = sorted(name for name in found if name in written and found[name] != written[name])
  if changed:
    return f"{changed[0]} does not hold what was written" + (
      f", nor do {len(changed) - 1} more" if len(changed) > 1 else ""
    )
  if other := sorted(set(found) ^ set(written)):
    return f"{other[0]} is not what was written"
  return None


def digest(value: Any) -> str:
  """16 hexadecimal digits that stand for a value of JSON, whatever the order of its keys."""
  text = json.dumps(json.loads(json.dumps(value)), sort_keys=True)  # as it will be read: no tuples
  return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
