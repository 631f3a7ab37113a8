"""Sums against plain Python, and what they notice."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lumiere import checksums
from lumiere import mesh as meshes
from lumiere.sections import MeshConfig


def mix(x: int) -> int:
  """MurmurHash3's finaliser."""
  for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35)):
    x = (x ^ (x >> shift)) * factor % 2**32
  return x ^ (x >> 16)


def expected(bits) -> int:
  return sum(mix(int(x) ^ mix(i)) for i, x in enumerate(bits)) % 2**32


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16", "int32", "uint8"])
def test_the_sum_is_that_of_its_formula_on_devices_and_off(dtype):
  values = np.random.default_rng(0).normal(size=(5, 3, 7)) * 50
  array = np.abs(values).astype(jnp.dtype(dtype))
  bits = array.reshape(-1).view(f"uint{8 * array.dtype.itemsize}")
  assert checksums.of_array(array) == expected(bits)
  assert checksums.inspect({"a": [jnp.asarray(array)]}) == ({"a/0": expected(bits)}, None)


def test_long_arrays_are_summed_in_parts(monkeypatch):
  array = np.arange(1000, dtype=np.float32)
  whole = checksums.of_array(array)
  monkeypatch.setattr(checksums, "CHUNK", 64)
  assert checksums.of_array(array) == whole == expected(array.view(np.uint32))


def test_empty_trees_and_single_numbers():
  assert checksums.inspect({}) == ({}, None)
  assert checksums.inspect({"count": jnp.int32(5)}) == ({"count": mix(5 ^ mix(0))}, None)


@pytest.mark.parametrize("config", [MeshConfig(fsdp=8), MeshConfig(fsdp=4, frames=2), MeshConfig()])
def test_the_sum_is_the_same_on_every_mesh(config):
  """Of an array that is split, and of one too small to be."""
  tree = {"kernel": jnp.arange(3 * 64 * 32.0).reshape(3, 64, 32), "bias": jnp.arange(5.0)}
  mesh = meshes.make_mesh(config)
  split = jax.device_put(tree, meshes.weight_shardings(tree, mesh))
  if config.fsdp > 1:
    assert split["kernel"].addressable_shards[0].data.size < tree["kernel"].size
  assert checksums.inspect(split) == checksums.inspect(tree)


def test_one_changed_bit_and_numbers_that_change_places_are_noticed():
  """Values of opposite signs, too, whose difference is the highest bit."""
  array = np.random.default_rng(1).normal(size=300).astype(np.float32)
  array[7] = -array[3]
  before = checksums.of_array(array)
  for place, bit in ((0, 0), (7, 31), (299, 13)):
    changed = array.copy()
    changed.view(np.uint32)[place] ^= np.uint32(1 << bit)
    assert checksums.of_array(changed) != before
  for first, second in ((0, 1), (3, 7), (5, 298)):
    swapped = array.copy()
    swapped[[first, second]] = swapped[[second, first]]
    assert checksums.of_array(swapped) != before
  assert checksums.of_array(array[::-1]) != before


def test_the_first_leaf_that_is_not_finite_is_named():
  good, bad = jnp.ones(3), jnp.array([1.0, jnp.nan])
  tree = {"a": good, "b": {"c": bad, "d": jnp.array(jnp.inf)}, "count": jnp.int32(1)}
  assert checksums.inspect(tree)[1] == "b/c"


def test_differences_are_told():
  written = {"a": 1, "b": 2, "c": 3}
  assert checksums.difference(written, dict(written)) is None
  assert "b does not hold what was written" in checksums.difference({**written, "b": 5}, written)
  assert "nor do 1 more" in checksums.difference({"a": 0, "b": 0, "c": 3}, written)
  assert "c is not" in checksums.difference({"a": 1, "b": 2}, written)
  assert "d is not" in checksums.difference({**written, "d": 4}, written)


def test_a_digest_stands_for_what_json_keeps_of_a_value():
  digest = checksums.digest({"a": (1, 2.5), "b": None})
  assert digest == checksums.digest({"b": None, "a": [1, 2.5]})
  assert digest != checksums.digest({"b": None, "a": [1, 2.6]}) and len(digest) == 16
