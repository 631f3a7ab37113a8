"""Checksums of weights and of JSON: what is read from disk is what was written, or it is noticed.

The sum of a leaf with the bits x_i, read as whole numbers, at the places i = 0, 1, 2, ... of its flattened array is

    sum_i mix(x_i xor mix(i))  modulo 2**32                                                                        (1)

`mix` maps the 32-bit numbers one to one (the finaliser of MurmurHash3): a single number that changes always changes the sum,
and so do numbers that change places, but for one case in 2**32. Places are those in the whole array, so that the sum does
not depend on the mesh that the array lies on. It takes a dozen whole-number operations an element, where the element is.
"""

import hashlib
import json
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

Sums = dict[str, int]  # a leaf's path -> its sum

# Elements that numpy works on at a time: what fits into a processor's cache.
CHUNK = 2**16


def inspect(tree) -> tuple[Sums, str | None]:
  """(the sum of every leaf, the path of the first leaf that holds inf or nan, or None). Leaves are JAX's arrays."""
  paths, leaves = zip(*jax.tree_util.tree_leaves_with_path(tree), strict=True) if tree else ((), ())
  found = jax.device_get([_inspect_leaf(leaf) for leaf in leaves])
  names = [path_name(path) for path in paths]
  sums = {name: int(total) for name, (total, _) in zip(names, found, strict=True)}
  not_finite = (name for name, (_, finite) in zip(names, found, strict=True) if not finite)
  return sums, next(not_finite, None)


def path_name(path) -> str:
  """A path of `jax.tree_util` as text, with slashes."""
  return jax.tree_util.keystr(path, simple=True, separator="/")


@jax.jit  # a leaf at a time: leaves of one shape share a program
def _inspect_leaf(leaf) -> tuple[jax.Array, jax.Array]:
  bits = jax.lax.bitcast_convert_type(leaf, f"uint{8 * leaf.dtype.itemsize}").astype(jnp.uint32)
  place, stride = jnp.zeros(leaf.shape, jnp.uint32), 1
  for axis in reversed(range(leaf.ndim)):
    along = jax.lax.broadcasted_iota(jnp.uint32, leaf.shape, axis)
    place += along * np.uint32(stride % 2**32)
    stride *= leaf.shape[axis]
  total = jnp.sum(_mix(bits ^ _mix(place)), dtype=jnp.uint32)
  return total, jnp.all(jnp.isfinite(leaf))


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
