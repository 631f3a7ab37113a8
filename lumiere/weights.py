"""Weights as plain nested dicts of arrays, and how they are loaded into a model.

A model is built once and split. Everything afterwards (optimizer, average, checkpoints, jitted functions) works on two dicts
with string keys, the trainable and the frozen weights, and rebuilds the model from them where it has to be called.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx, traverse_util

Weights = Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class Deferred:
  """A weight that is not in memory yet. Checkpoints write such leaves one at a time.

  Attributes:
    shape: its shape.
    read: returns it.
  """

  shape: tuple[int, ...]
  read: Callable[[], np.ndarray]


def split(model: nnx.Module) -> tuple[Callable[[Weights, Weights], nnx.Module], Weights, Weights]:
  """Splits a model into its structure and its weights.

  Returns:
    (rebuild, params, frozen): the `nnx.Param` leaves, all other leaves, and `rebuild(params, frozen) -> model`.
  """
  graph, *states = nnx.split(model, nnx.Param, ...)
  # Only shapes are kept, so that the closure does not hold a second copy of the weights.
  templates = [
    jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), state)
    for state in states
  ]

  def rebuild(params: Weights, frozen: Weights) -> nnx.Module:
    return nnx.merge(graph, *map(_fill, templates, (params, frozen)))

  return rebuild, *map(_as_tree, states)


def merge(
  initialised: Weights,
  loaded: Weights,
  prefix: tuple[str, ...] = (),
  may_be_new: tuple[tuple[str, ...], ...] = (),
) -> Weights:
  """Replaces the leaves of `initialised` under `prefix` by `loaded`, in the initialised leaves' dtypes.

  Args:
    initialised: the model's weights.
    loaded: the weights that replace them.
    prefix: the part of the model that is replaced.
    may_be_new: parts of the model that keep their initial weights if `loaded` lacks them.

  Raises:
    ValueError: if leaves are missing from `loaded`, unknown to the model, or have another shape; names them.
  """
  target = traverse_util.flatten_dict(initialised)
  source = {prefix + path: leaf for path, leaf in traverse_util.flatten_dict(loaded).items()}
  wanted = {path for path in target if path[: len(prefix)] == prefix}
  for part in may_be_new:
    wanted -= {path for path in wanted - set(source) if path[: len(part)] == part}
  reshaped = [
    f"{'/'.join(path)}: {np.shape(source[path])} loaded, {target[path].shape} expected"
    for path in sorted(wanted & set(source))
    if np.shape(source[path]) != target[path].shape
  ]
  missing, unknown = (
    sorted(map("/".join, paths)) for paths in (wanted - set(source), set(source) - wanted)
  )
  problems = [
    f"{len(found)} {what} ({'; '.join(found[:3])}{', ...' if len(found) > 3 else ''})"
    for what, found in (
      ("missing", missing),
      ("unknown to the model", unknown),
      ("of another shape", reshaped),
    )
    if found
  ]
  if problems:
    raise ValueError("the loaded weights do not fit the model: " + "; ".join(problems))
  return traverse_util.unflatten_dict(
    {
      path: jnp.asarray(source[path], leaf.dtype) if path in source else leaf
      for path, leaf in target.items()
    }
  )


def count(weights: Weights) -> int:
  """Number of weights."""
  return sum(leaf.size for leaf in jax.tree.leaves(weights))


def _as_tree(state: nnx.State) -> Weights:
  flat = traverse_util.flatten_dict(nnx.to_pure_dict(state))
  return traverse_util.unflatten_dict({tuple(map(str, path)): leaf for path, leaf in flat.items()})


def _fill(template: nnx.State, tree: Weights) -> nnx.State:
  """The tree's leaves in a state of the template's structure."""
  flat = traverse_util.flatten_dict(tree)
  state = jax.tree.map(lambda leaf: leaf, template)  # a copy: replacing works in place
  keys = traverse_util.flatten_dict(nnx.to_pure_dict(state))
  nnx.replace_by_pure_dict(
    state, traverse_util.unflatten_dict({path: flat[tuple(map(str, path))] for path in keys})
  )
  return state


class Seeds(nnx.Rngs):
  """`nnx.Rngs` for building a model under a trace, with a Python number as the counter.

  With a traced counter Flax looks up its origin at every use, which takes time quadratic in the size of the model.
  """

  def __init__(self, seed: int):
    """A stream of keys from `seed`, for parameters."""
    self.seed = seed
    self.used = 0

  def params(self) -> jax.Array:
    """The next key."""
    self.used += 1
    return jax.random.fold_in(jax.random.key(self.seed), self.used)
