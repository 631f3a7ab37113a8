"""Several processes that train as one: on a TPU slice each host runs the same command."""

import contextlib
import os

import jax
import numpy as np
from absl import flags
from jax.experimental import multihost_utils

FLAGS = ("distributed", "coordinator_address", "num_processes", "process_id")


def define_flags():
  """The flags that `initialize` reads."""
  flags.DEFINE_bool(
    "distributed",
    False,
    "This process is one of several; on a TPU slice JAX finds the others by itself.",
  )
  flags.DEFINE_string(
    "coordinator_address", None, "HOST:PORT of process 0, where JAX cannot find it by itself."
  )
  flags.DEFINE_integer("num_processes", None, "Number of processes; with --coordinator_address.")
  flags.DEFINE_integer("process_id", None, "This process, from 0; with --coordinator_address.")


def initialize(values: flags.FlagValues = flags.FLAGS):
  """Connects to the other processes. Call it before JAX is asked for devices.

  Raises:
    ValueError: if only some of the flags that belong together are given.
  """
  by_hand = (values.coordinator_address, values.num_processes, values.process_id)
  if any(value is not None for value in by_hand):
    if None in by_hand:
      raise ValueError(
        "--coordinator_address, --num_processes and --process_id belong together: give all three"
      )
    jax.distributed.initialize(*by_hand)
  elif values.distributed:
    jax.distributed.initialize()


def share_cores():
  """Makes each core of this machine a device of JAX's, unless the environment says how many a CPU has. Call it as `initialize`.

  XLA's convolutions of few channels use one core, however many examples there are: so cores share the examples of a batch.
  """
  if not devices_are_given():
    linux = hasattr(os, "sched_getaffinity")
    cores = len(os.sched_getaffinity(0)) if linux else os.cpu_count() or 1
    jax.config.update("jax_num_cpu_devices", cores)


def devices_are_given() -> bool:
  """Whether the environment says how many devices a CPU has."""
  flags_of_xla = os.environ.get("XLA_FLAGS", "")
  return (
    "xla_force_host_platform_device_count" in flags_of_xla or "JAX_NUM_CPU_DEVICES" in os.environ
  )


def is_first() -> bool:
  """Whether this is the process that writes files of which there is one per run."""
  return jax.process_index() == 0


@contextlib.contextmanager
def first_goes_ahead(what: str):
  """The first process runs the block before all others, for example to prepare files on a shared disk."""
  if jax.process_count() > 1 and not is_first():
    multihost_utils.sync_global_devices(what)
  yield
  if jax.process_count() > 1 and is_first():
    multihost_utils.sync_global_devices(what)


def wait_for_all(what: str):
  """Returns when every process has got here."""
  if jax.process_count() > 1:
    multihost_utils.sync_global_devices(what)


def anywhere(value: bool) -> bool:
  """Whether it is so in any of the processes; all of them ask."""
  if jax.process_count() == 1:
    return value
  return bool(multihost_utils.process_allgather(np.asarray(value)).any())


def whole(tree):
  """Global arrays as whole NumPy arrays in every process."""
  return multihost_utils.process_allgather(tree, tiled=True)
