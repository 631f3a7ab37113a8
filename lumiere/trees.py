"""Trees of weights, and JSON beside them, on disk: with `lumiere.checkpoints` the only file that knows Orbax.

Files do not notice every changed byte, so the sums of what was written (`lumiere.checksums`) are kept beside it and compared
after reading. What cannot be read is read a second time after a pause: disks and buckets fail in passing.

All processes read together, and what one of them cannot read is an error in all.
"""

import asyncio
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
from absl import logging
from etils import epath

from lumiere import checksums, processes
from lumiere.weights import Deferred, Weights

T = TypeVar("T")

PAUSE = 2.0  # seconds before the second try


class CheckpointError(ValueError):
  """A checkpoint that is not there, cannot be read or written, or is of another kind."""


def twice(read: Callable[[], T]) -> T:
  """What `read` gives; a CheckpointError counts if it comes again after a pause."""
  try:
    return read()
  except CheckpointError as error:
    logging.info("%s; it is tried again in %g s", error, PAUSE)
  time.sleep(PAUSE)
  return read()


def read_tree(path: epath.Path, target: Any, written: checksums.Sums) -> tuple[Any, str | None]:
  """(what was written, the path of the first leaf that is not finite or None), in the dtypes and shardings of `target`.

  Raises:
    CheckpointError: if it cannot be read, or has other sums than `written`.
  """
  tree = _together(
    path,
    lambda: ocp.StandardCheckpointHandler().restore(path, args=ocp.args.StandardRestore(target)),
  )
  found, not_finite = checksums.inspect(tree)
  if changed := checksums.difference(found, written):
    raise CheckpointError(f"{path} cannot be read: {changed}")
  return tree, not_finite


def read_json(path: epath.Path) -> Any:
  """What Orbax wrote into the folder `path` as JSON; raises CheckpointError."""
  return _together(path, lambda: ocp.JsonCheckpointHandler().restore(path))


def _together(path: epath.Path, read: Callable[[], T]) -> T:
  """What `read` gives, unless it fails in any of the processes."""
  result = error = None
  try:
    result = read()
  except Exception as caught:  # Orbax raises many kinds
    error = caught
  if processes.anywhere(error is not None):
    reason = reason_of(error) if error else "another process failed to read it"
    raise CheckpointError(f"{path} cannot be read: {reason}") from error
  return result


def reason_of(error: BaseException) -> str:
  """The first line of an error's message."""
  lines = str(error).strip().splitlines()
  return lines[0] if lines else type(error).__name__


def noting_sums(
  tree: Weights, read_as: tuple[str, ...]
) -> tuple[Weights, Mapping[str, checksums.Sums]]:
  """A tree to write whose leaves are `Deferred`, and the sums that are there once it is written.

  Args:
    tree: weights; leaves may be `Deferred`.
    read_as: dtypes that it will be read in.

  Returns:
    (what to write, {dtype: sums of the leaves in it}, for `read_tree`).
  """
  sums = {dtype: {} for dtype in read_as}

  def noting(path, leaf) -> Deferred:
    def read() -> np.ndarray:
      array = leaf.read() if isinstance(leaf, Deferred) else np.asarray(leaf)
      for dtype, found in sums.items():
        found[checksums.path_name(path)] = checksums.of_array(array.astype(jnp.dtype(dtype)))
      return array

    return Deferred(tuple(leaf.shape), read)

  return jax.tree_util.tree_map_with_path(noting, tree), sums


def save(folder: epath.PathLike, tree: Weights, read_as: tuple[str, ...]):
  """Writes weights alone into FOLDER/weights and FOLDER/checksums; leaves may be `Deferred`."""
  folder = epath.Path(folder).resolve()
  noting, sums = noting_sums(tree, read_as)
  with ocp.PyTreeCheckpointer() as checkpointer:
    checkpointer.save(folder / "weights", noting)
  write_json(folder / "checksums", sums)


def restore(folder: epath.PathLike, target: Weights) -> Weights:
  """Reads what `save` wrote, in the dtype and shardings of `target`.

  Raises:
    CheckpointError: if it cannot be read, is not what was written, or holds inf or nan.
  """
  folder = epath.Path(folder).resolve()
  dtype = jax.tree.leaves(target)[0].dtype.name
  written = twice(lambda: read_json(folder / "checksums"))
  if dtype not in written:
    raise CheckpointError(f"{folder} was written to be read as {', '.join(written)}, not {dtype}")
  tree, not_finite = twice(lambda: read_tree(folder / "weights", target, written[dtype]))
  if not_finite:
    raise CheckpointError(f"{folder} holds weights that are not finite, first in {not_finite}")
  return tree


def write_json(path: epath.PathLike, value: Any):
  """Writes JSON for `read_json`, into a folder that is not there yet."""
  with ocp.Checkpointer(ocp.JsonCheckpointHandler()) as checkpointer:
    checkpointer.save(epath.Path(path), args=ocp.args.JsonSave(value))


class _ArrayHandler(ocp.type_handlers.ArrayHandler):
  """When one array cannot be read, waits for the others: left behind, each would end in a traceback of its own."""

  async def deserialize(self, infos, args=None):
    """See Orbax."""
    before = asyncio.all_tasks()
    try:
      return await super().deserialize(infos, args)
    except Exception:
      await asyncio.gather(*asyncio.all_tasks() - before, return_exceptions=True)
      raise


class _DeferredHandler(ocp.type_handlers.NumpyHandler):
  """Writes deferred weights: each is read when its turn comes and let go when it is written."""

  def __init__(self):
    super().__init__(deepcopy_host_arrays=False)

  def typestr(self) -> str:
    """See Orbax."""
    return "deferred"

  async def serialize(self, values, infos, args=None):
    """See Orbax."""
    for index, value in enumerate(values):
      arg = None if args is None else args[index : index + 1]
      for written in await super().serialize([value.read()], infos[index : index + 1], arg):
        written.result()
    return []


def _without_closed_loops(hook):
  """What Orbax leaves behind in threads when one of its reads or writes fails has only this to say."""

  def report(unraisable):
    if str(unraisable.exc_value) != "Event loop is closed":
      hook(unraisable)

  return report


sys.unraisablehook = _without_closed_loops(sys.unraisablehook)
_verbosity = logging.get_verbosity()
logging.set_verbosity(logging.ERROR)  # Orbax warns of what it is asked to do here
# Devices with the same copy share its writing, but not that of small arrays: to slice those takes longer than to write them.
ocp.type_handlers.register_type_handler(
  jax.Array, _ArrayHandler(min_slice_bytes_for_replica_parallel=2**20), override=True
)
ocp.type_handlers.register_type_handler(Deferred, _DeferredHandler())
logging.set_verbosity(_verbosity)
