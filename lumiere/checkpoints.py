"""Checkpoints on disk: the only file that knows Orbax.

    WORKDIR/checkpoints/STEP/{params,ema,opt_state,data,config,checksums}    written asynchronously, the newest few kept
    WORKDIR/frozen/                                                  the frozen weights, written once: they never change

Files do not notice every changed byte, so the sums of all bits go with them and are compared after reading.

A workdir is enough to sample from, and sampling restores only what it needs (the average and the frozen weights).
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import orbax.checkpoint as ocp
from absl import logging
from etils import epath
from flax import nnx

from lumiere import mesh as meshes
from lumiere import processes, weights
from lumiere.experiment import STAGES, Experiment
from lumiere.model import abstract_model
from lumiere.state import TrainState

PARTS = ("params", "ema", "opt_state")

# Devices with the same copy share its writing, but not that of small arrays: to slice those takes longer than to write them.
_verbosity = logging.get_verbosity()
logging.set_verbosity(logging.ERROR)  # Orbax warns of what it is asked to do here
ocp.type_handlers.register_type_handler(
  jax.Array,
  ocp.type_handlers.ArrayHandler(min_slice_bytes_for_replica_parallel=2**20),
  override=True,
)
logging.set_verbosity(_verbosity)


class CheckpointError(ValueError):
  """A checkpoint that is not there, cannot be read, or is of another kind."""


class _Manager(ocp.CheckpointManager):
  """Leaves preemption to the loop: asking JAX about a step sets its count of steps to that one, in Orbax's case back."""

  def reached_preemption(self, step: int) -> bool:
    return False


class Checkpoints:
  """Saves and restores a run's state in its workdir."""

  def __init__(self, workdir: epath.PathLike, max_to_keep: int | None = None):
    self.workdir = epath.Path(workdir).resolve()  # Orbax takes absolute paths only
    options = ocp.CheckpointManagerOptions(max_to_keep=max_to_keep, enable_async_checkpointing=True)
    self._manager = _Manager(self.workdir / "checkpoints", options=options)

  def __enter__(self):
    return self

  def __exit__(self, *_):
    self._manager.close()

  @property
  def latest_step(self) -> int | None:
    """Step of the newest complete checkpoint, or None."""
    return self._manager.latest_step()

  def save(self, step: int, state: TrainState, data_iterator, experiment: Experiment):
    """Starts writing a checkpoint of this step; returns before it is on disk."""
    self._manager.save(
      step,
      args=ocp.args.Composite(
        params=ocp.args.StandardSave(state.params),
        ema=ocp.args.StandardSave(state.ema),
        opt_state=ocp.args.StandardSave(state.opt_state),
        data=ocp.args.JsonSave(data_iterator.get_state()),  # the same in every process
        config=ocp.args.JsonSave(experiment.to_json()),
        checksums=ocp.args.JsonSave({part: checksum(getattr(state, part)) for part in PARTS}),
      ),
    )

  def wait(self):
    """Returns when everything is on disk."""
    self._manager.wait_until_finished()

  def restore(self, state: TrainState, data_iterator) -> TrainState:
    """The newest checkpoint into the shapes and shardings of `state`; moves `data_iterator` to its place.

    One that cannot be read is warned of and deleted, and the one before it is taken.

    Raises:
      CheckpointError: if none can be read; nothing is deleted then.
    """
    damaged = {}
    for step in sorted(self._manager.all_steps(), reverse=True):
      try:
        restored = self._restore(step, state, data_iterator)
      except CheckpointError as error:
        damaged[step] = error
        continue
      for step, error in damaged.items():
        logging.warning("%s; it is deleted, the one before it is used", error)
        self._manager.delete(step)
      return restored
    raise next(iter(damaged.values()))

  def _restore(self, step: int, state: TrainState, data_iterator) -> TrainState:
    target = jax.tree.map(ocp.utils.to_shape_dtype_struct, state)
    try:
      restored = self._manager.restore(
        step,
        args=ocp.args.Composite(
          params=ocp.args.StandardRestore(target.params),
          ema=ocp.args.StandardRestore(target.ema),
          opt_state=ocp.args.StandardRestore(target.opt_state),
          data=ocp.args.JsonRestore(),
          checksums=ocp.args.JsonRestore(),
        ),
      )
      for part in PARTS:
        check_sum(restored[part], restored.checksums[part])
    except Exception as error:  # Orbax raises many kinds
      raise _unreadable(self.workdir, step, error) from error
    data_iterator.set_state(restored.data)
    return TrainState(
      jax.device_put(jnp.asarray(step, state.step.dtype), state.step.sharding),
      restored.params,
      restored.ema,
      restored.opt_state,
    )


def checksum(tree) -> int:
  """Sum of all numbers' bits, read as whole numbers, modulo 2**32: the same on every mesh, another one for any changed bit."""
  return int(_checksum(tree))


@jax.jit
def _checksum(tree):
  def bits(leaf):
    return jax.lax.bitcast_convert_type(leaf, f"uint{8 * leaf.dtype.itemsize}")

  sums = [jnp.sum(bits(leaf).astype(jnp.uint32)) for leaf in jax.tree.leaves(tree)]
  return sum(sums, jnp.uint32(0))


def check_sum(tree, expected: int):
  """Raises ValueError unless `tree` is what was written."""
  if checksum(tree) != expected:
    raise ValueError("it does not hold what was written: some of its bytes have changed")


def save_imported(workdir: epath.PathLike, experiment: Experiment, tree: weights.Weights):
  """Writes a workdir to start from and to sample from; leaves may be `weights.Deferred`."""
  path = epath.Path(workdir).resolve() / "checkpoints" / "0"
  with ocp.Checkpointer(ocp.CompositeCheckpointHandler()) as checkpointer:
    args = ocp.args.Composite(
      ema=ocp.args.PyTreeSave(tree), config=ocp.args.JsonSave(experiment.to_json())
    )
    checkpointer.save(path, args=args)


def save_tree(path: epath.PathLike, tree: weights.Weights):
  """Writes weights alone; leaves may be `weights.Deferred`."""
  with ocp.PyTreeCheckpointer() as checkpointer:
    checkpointer.save(path, tree)


def restore_tree(path: epath.PathLike, target: weights.Weights) -> weights.Weights:
  """Reads what `save_tree` wrote, in the dtypes and shardings of `target`."""
  with ocp.StandardCheckpointer() as checkpointer:
    try:
      return checkpointer.restore(path, target)
    except Exception as error:  # Orbax raises many kinds
      raise _unreadable(path.parent, 0, error) from error


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


ocp.type_handlers.register_type_handler(weights.Deferred, _DeferredHandler())


def save_frozen(workdir: epath.PathLike, frozen: weights.Weights):
  """Writes the frozen weights, once for the run."""
  path = epath.Path(workdir).resolve() / "frozen"
  if frozen and not processes.agreed(path.exists()):
    with ocp.StandardCheckpointer() as checkpointer:
      checkpointer.save(path, frozen)


@dataclasses.dataclass(frozen=True)
class Trained:
  """A trained model, as sampling needs it.

  Attributes:
    experiment: how it was trained.
    step: how long.
    rebuild: `(params, frozen) -> model`.
    params: averaged trainable weights.
    frozen: frozen weights.
  """

  experiment: Experiment
  step: int
  rebuild: Callable[[weights.Weights, weights.Weights], nnx.Module]
  params: weights.Weights
  frozen: weights.Weights


def load_trained(
  workdir: epath.PathLike,
  stages: tuple[str, ...],
  step: int | None = None,
  mesh: jax.sharding.Mesh | None = None,
) -> Trained:
  """Restores the averaged weights of a run.

  Args:
    workdir: the run's folder.
    stages: kinds of training that are accepted.
    step: which checkpoint; None is the newest.
    mesh: where the weights go, split over its `fsdp`; None puts them on one device.

  Raises:
    CheckpointError: if there is no checkpoint, it cannot be read, or it is of another stage.
  """
  workdir = epath.Path(workdir).resolve()
  experiment, step = load_experiment(workdir, step, stages)
  rebuild, params, frozen = abstract_model(experiment)
  # Never as it was saved: that may have been on devices that are not here.
  params, frozen = meshes.abstract((params, frozen), mesh or meshes.one_device())
  with ocp.CheckpointManager(workdir / "checkpoints") as manager:
    try:
      restored = manager.restore(
        step, args=ocp.args.Composite(ema=ocp.args.StandardRestore(params))
      )
      if frozen:
        with ocp.StandardCheckpointer() as checkpointer:
          frozen = checkpointer.restore(workdir / "frozen", frozen)
      if (workdir / "checkpoints" / str(step) / "checksums").exists():  # not in imported ones
        sums = manager.restore(
          step, args=ocp.args.Composite(checksums=ocp.args.JsonRestore())
        ).checksums
        check_sum(restored.ema, sums["ema"])
    except Exception as error:  # Orbax raises many kinds
      raise _unreadable(workdir, step, error) from error
  return Trained(experiment, step, rebuild, restored.ema, frozen)


def load_experiment(
  workdir: epath.PathLike, step: int | None = None, stages: tuple[str, ...] = STAGES
) -> tuple[Experiment, int]:
  """The experiment of a run and the step of its newest checkpoint, or of the one asked for; no weights are read.

  Raises:
    CheckpointError: if there is no such checkpoint, or it is of another stage than `stages`.
  """
  workdir = epath.Path(workdir).resolve()
  if not workdir.exists():
    raise CheckpointError(f"{workdir} does not exist; give the workdir of a training run")
  if not (workdir / "checkpoints").exists():
    raise CheckpointError(f"{workdir} holds no checkpoint: it is not the workdir of a training run")
  with ocp.CheckpointManager(workdir / "checkpoints") as manager:
    steps = manager.all_steps()
    if not steps:
      raise CheckpointError(
        f"{workdir} holds no complete checkpoint: the run has not been trained yet"
      )
    step = max(steps) if step is None else step
    if step not in steps:
      raise CheckpointError(
        f"{workdir} holds no checkpoint of step {step}; it has {', '.join(map(str, sorted(steps)))}"
      )
    try:
      config: Mapping[str, Any] = manager.restore(
        step, args=ocp.args.Composite(config=ocp.args.JsonRestore())
      ).config
    except Exception as error:  # Orbax raises many kinds
      raise _unreadable(workdir, step, error) from error
  experiment = Experiment.from_config(config)
  if experiment.stage not in stages:
    raise CheckpointError(
      f"{workdir} holds a {experiment.stage!r} checkpoint; {' or '.join(map(repr, stages))} is needed here"
    )
  return experiment, step


INHERITED = ("model", "text", "diffusion", "super_resolution")


def read_experiment(config: Any) -> Experiment:
  """The experiment of a config; sections that describe the network and are left out are those of `init_from`.

  Args:
    config: a `ConfigDict`, or what `config_flags` puts in its place when the file could not be loaded, which says so
      at the first access.

  Raises:
    ValueError: names the field that cannot be.
  """
  config = config.copy_and_resolve_references().to_dict()
  if config.get("init_from") and "model" not in config:
    parent = load_experiment(config["init_from"])[0].to_json()
    config |= {name: parent[name] for name in INHERITED if name not in config}
    for name in ("text", "super_resolution"):
      if config[name] is None:
        del config[name]
  return Experiment.from_config(config)


def _unreadable(workdir, step, error: Exception) -> CheckpointError:
  reason = str(error).strip().splitlines()
  return CheckpointError(
    f"the checkpoint of step {step} in {workdir} cannot be read: {reason[0] if reason else type(error).__name__}"
  )
