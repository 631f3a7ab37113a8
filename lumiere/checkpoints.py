"""The checkpoints of a run.

    WORKDIR/checkpoints/STEP/{params,ema,opt_state}    weights, their average and the optimizer's state
    WORKDIR/checkpoints/STEP/{data,config,provenance}  the loader's place, the experiment, what the run was made from
    WORKDIR/checkpoints/STEP/checksums                 of all of these, and of the frozen weights
    WORKDIR/frozen/                                    the frozen weights, written once: they never change
    WORKDIR/damaged/STEP                               checkpoints that could not be read, out of the way

Checkpoints are written asynchronously, the newest few are kept. A workdir is all that a run needs to go on, and enough to
sample from; sampling restores only what it needs (the average and the frozen weights). Functions that only read a trained
model take the folder of a release (`lumiere.release_folder`) in place of a workdir.
"""

import contextlib
import errno
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import orbax.checkpoint as ocp
from absl import logging
from etils import epath

from lumiere import checksums, processes, release_folder, trees, weights
from lumiere import mesh as meshes
from lumiere.experiment import STAGES, Experiment
from lumiere.model import TEACHER, abstract_model, with_teacher
from lumiere.state import TrainState
from lumiere.trained import Record, Trained
from lumiere.trees import CheckpointError

PARTS = ("params", "ema", "opt_state")
NOTES = ("data", "config", "provenance")
INHERITED = ("model", "text", "diffusion", "super_resolution", "autoencoder")


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
    self._frozen_sums: checksums.Sums = {}
    self._writing = None

  def __enter__(self):
    return self

  def __exit__(self, kind, *_):
    try:
      self._manager.close()
    except Exception:  # of a write that has failed
      if kind is None:
        raise

  @property
  def latest_step(self) -> int | None:
    """Step of the newest complete checkpoint, or None."""
    return self._manager.latest_step()

  def save_frozen(self, frozen: weights.Weights):
    """Writes the frozen weights of a new run, before its first checkpoint; what an earlier attempt left is replaced."""
    self._frozen_sums, _ = checksums.inspect(frozen)
    if frozen:
      path = self.workdir / "frozen"
      with self._said(f"the frozen weights cannot be written to {path}"):
        with ocp.StandardCheckpointer() as checkpointer:
          checkpointer.save(path, frozen, force=True)

  def save(
    self,
    step: int,
    state: TrainState,
    data_iterator,
    experiment: Experiment,
    provenance: Mapping[str, Any],
  ):
    """Starts writing a checkpoint of this step; returns before it is on disk.

    Raises:
      CheckpointError: if this one or the one before it cannot be written.
    """
    parts = {part: getattr(state, part) for part in _parts(state)}
    sums = {part: checksums.inspect(tree)[0] for part, tree in parts.items()}
    notes = {
      "data": data_iterator.get_state(),  # the same in every process
      "config": experiment.to_json(),
      "provenance": provenance,
    }
    self.wait()
    self._writing = step
    with self._said_of_writing():
      self._manager.save(
        step,
        args=ocp.args.Composite(
          **{part: ocp.args.StandardSave(tree) for part, tree in parts.items()},
          **{name: ocp.args.JsonSave(note) for name, note in notes.items()},
          checksums=ocp.args.JsonSave(_seal(sums | {"frozen": self._frozen_sums}, notes)),
        ),
      )

  def wait(self):
    """Returns when everything is on disk; raises CheckpointError if it cannot be written."""
    with self._said_of_writing():
      self._manager.wait_until_finished()

  def restore(
    self, state: TrainState, frozen: weights.Weights, data_iterator
  ) -> tuple[TrainState, weights.Weights]:
    """The newest checkpoint and the frozen weights; moves `data_iterator` to the checkpoint's place.

    A checkpoint that cannot be read, twice, is warned of and moved to WORKDIR/damaged, and the one before it is taken.

    Args:
      state: shapes, dtypes and shardings.
      frozen: the same of the frozen weights.
      data_iterator: the loader's.

    Raises:
      CheckpointError: if none can be read, or the frozen weights cannot; nothing is moved then.
    """
    damaged = {}
    for step in sorted(self._manager.all_steps(), reverse=True):
      try:
        restored, record = trees.twice(lambda step=step: self._restore(step, state))
        break
      except CheckpointError as error:
        damaged[step] = str(error)
    else:
      raise CheckpointError(next(iter(damaged.values())))
    frozen, _ = _read_frozen(self.workdir, frozen, record)
    self._frozen_sums = record.sums["frozen"]
    for step, reason in damaged.items():
      self._move_aside(step, reason)
    data_iterator.set_state(record.place)
    return restored, frozen

  def _restore(self, step: int, state: TrainState) -> tuple[TrainState, Record]:
    record = _read_record(self.workdir, step)
    folder = self.workdir / "checkpoints" / str(step)
    with _of_step(self.workdir, step):
      parts = {
        part: trees.read_tree(folder / part, getattr(state, part), record.sums[part])[0]
        for part in _parts(state)
      }
    place = jax.device_put(jnp.asarray(step, state.step.dtype), state.step.sharding)
    return TrainState(place, **parts), record

  def _move_aside(self, step: int, reason: str):
    folder, name, others = self.workdir / "damaged", str(step), 1
    with processes.first_goes_ahead(f"damaged {step}"):
      if processes.is_first():
        folder.mkdir(parents=True, exist_ok=True)
        while (folder / name).exists():
          name, others = f"{step}_{others}", others + 1
        (self.workdir / "checkpoints" / str(step)).rename(folder / name)
        logging.warning("%s; it is moved to %s, the one before it is used", reason, folder / name)
    self._manager.reload()

  def _said_of_writing(self):
    return self._said(f"the checkpoint of step {self._writing} cannot be written to {self.workdir}")

  @contextlib.contextmanager
  def _said(self, what: str):
    try:
      yield
    except Exception as error:  # Orbax raises many kinds
      reason = "the disk is full" if is_full(error) else trees.reason_of(error)
      raise CheckpointError(f"{what}: {reason}") from error


def _parts(state: TrainState) -> tuple[str, ...]:
  """What of a state is saved: further averages only if there are any."""
  return (*PARTS, "averages") if state.averages else PARTS


def is_full(error: BaseException | None) -> bool:
  """Whether an error comes from a disk without room."""
  while error is not None:
    if getattr(error, "errno", None) == errno.ENOSPC or "No space left on device" in str(error):
      return True
    error = error.__cause__ or error.__context__
  return False


def _seal(sums: Mapping[str, checksums.Sums], notes: Mapping[str, Any]) -> dict[str, Any]:
  """The checksums of a checkpoint, which hold one of themselves."""
  sealed = {"trees": sums, "notes": {name: checksums.digest(x) for name, x in notes.items()}}
  return sealed | {"digest": checksums.digest(sealed)}


def _read_record(workdir: epath.Path, step: int) -> Record:
  """What is in a checkpoint but weights; raises CheckpointError."""
  folder = workdir / "checkpoints" / str(step)
  if not (folder / "checksums").exists():
    raise CheckpointError(
      f"the checkpoint of step {step} in {workdir} cannot be read: it has no checksums; it was not written whole, or by an "
      "earlier version"
    )
  with _of_step(workdir, step):
    sealed = trees.read_json(folder / "checksums")
    try:
      written, sums, digest = sealed["notes"], sealed["trees"], sealed.pop("digest")
    except (KeyError, TypeError, AttributeError) as error:
      raise CheckpointError("checksums is not what was written") from error
    if checksums.digest(sealed) != digest:
      raise CheckpointError("checksums is not what was written")
    notes = {name: trees.read_json(folder / name) for name in written}
    for name, note in notes.items():
      if checksums.digest(note) != written[name]:
        raise CheckpointError(f"{name} does not hold what was written")
  experiment = Experiment.from_config(notes["config"])
  return Record(step, experiment, notes["provenance"], notes.get("data", {}), sums)


@contextlib.contextmanager
def _of_step(workdir: epath.Path, step: int):
  """Within the block, errors say which checkpoint they are about."""
  try:
    yield
  except CheckpointError as error:
    folder = f"{workdir / 'checkpoints' / str(step)}/"
    reason = str(error).replace(folder, "").replace(" cannot be read:", ":")
    raise CheckpointError(
      f"the checkpoint of step {step} in {workdir} cannot be read: {reason}"
    ) from error


def _read_frozen(
  workdir: epath.Path, target: weights.Weights, record: Record
) -> tuple[weights.Weights, str | None]:
  """(the frozen weights that a checkpoint goes with, the first that is not finite); raises CheckpointError."""
  if not target:
    return {}, None
  try:
    return trees.twice(
      lambda: trees.read_tree(workdir / "frozen", target, record.sums.get("frozen", {}))
    )
  except CheckpointError as error:
    raise CheckpointError(f"the frozen weights in {error}") from error


def save_imported(
  workdir: epath.PathLike,
  experiment: Experiment,
  tree: weights.Weights,
  frozen: weights.Weights | None = None,
):
  """Writes a workdir to start from and to sample from, of trained and frozen weights; leaves may be `weights.Deferred`."""
  path = epath.Path(workdir).resolve() / "checkpoints" / "0"
  # Imported weights are in the dtype of their files; a model reads them in its own.
  noting, sums = trees.noting_sums(tree, ("float32",))
  notes = {"config": experiment.to_json(), "provenance": {}}
  with ocp.Checkpointer(ocp.CompositeCheckpointHandler()) as checkpointer:
    checkpointer.save(
      path,
      args=ocp.args.Composite(
        ema=ocp.args.PyTreeSave(noting),
        **{name: ocp.args.JsonSave(note) for name, note in notes.items()},
      ),
    )
  found = {"ema": sums["float32"]}
  if frozen:
    noting, sums = trees.noting_sums(frozen, ("float32",))
    with ocp.PyTreeCheckpointer() as checkpointer:
      checkpointer.save(epath.Path(workdir).resolve() / "frozen", noting)
    found["frozen"] = sums["float32"]
  trees.write_json(path / "checksums", _seal(found, notes))


def load_trained(
  workdir: epath.PathLike,
  stages: tuple[str, ...],
  step: int | None = None,
  mesh: jax.sharding.Mesh | None = None,
  *,
  averaged: bool = True,
) -> Trained:
  """Restores the averaged weights of a run, or the weights of a release.

  Args:
    workdir: the run's folder, or that of a release.
    stages: kinds of training that are accepted.
    step: which checkpoint; None is the newest.
    mesh: where the weights go, split over its `fsdp`; None puts them on one device.
    averaged: whether the average is restored, or the weights that training goes on with; a release has one of them.

  Raises:
    CheckpointError: if there is no checkpoint, it cannot be read, it is of another stage, or weights are not finite.
  """
  workdir = epath.Path(workdir).resolve()
  if release_folder.is_release(workdir):
    return release_folder.load_trained(workdir, stages, step, mesh)
  record = load_record(workdir, step, stages)
  rebuild, params, frozen = abstract_model(record.experiment)
  frozen = with_teacher(record.experiment, frozen, params)
  # Never as it was saved: that may have been on devices that are not here.
  params, frozen = meshes.abstract((params, frozen), mesh or meshes.one_device())
  part = "ema" if averaged else "params"
  path, sums = workdir / "checkpoints" / str(record.step) / part, record.sums[part]
  with _of_step(workdir, record.step):
    params, bad = trees.twice(lambda: trees.read_tree(path, params, sums))
  frozen, bad_frozen = _read_frozen(workdir, frozen, record)
  if bad or bad_frozen:
    raise CheckpointError(
      f"the checkpoint of step {record.step} in {workdir} holds weights that are not finite, first in {bad or bad_frozen}"
    )
  checksum = checksums.digest([sums, record.sums.get("frozen", {})])
  frozen = {name: tree for name, tree in frozen.items() if name != TEACHER}
  return Trained(
    record.experiment, record.step, rebuild, params, frozen, record.provenance, checksum
  )


def load_experiment(
  workdir: epath.PathLike, step: int | None = None, stages: tuple[str, ...] = STAGES
) -> tuple[Experiment, int]:
  """The experiment of a run and the step of its newest checkpoint, or of the one asked for; see `load_record`."""
  record = load_record(workdir, step, stages)
  return record.experiment, record.step


def load_record(
  workdir: epath.PathLike, step: int | None = None, stages: tuple[str, ...] = STAGES
) -> Record:
  """What the newest checkpoint of a run, or the one asked for, or a release says of itself; no weights are read.

  Raises:
    CheckpointError: if there is no such checkpoint, or it is of another stage than `stages`.
  """
  workdir = epath.Path(workdir).resolve()
  if not workdir.exists():
    raise CheckpointError(f"{workdir} does not exist; give the workdir of a training run")
  if release_folder.is_release(workdir):
    return release_folder.load_record(workdir, step, stages)
  if not (workdir / "checkpoints").exists():
    raise CheckpointError(
      f"{workdir} holds no checkpoint: it is neither the workdir of a training run nor a release"
    )
  steps = ocp.utils.checkpoint_steps(workdir / "checkpoints")
  if not steps:
    raise CheckpointError(
      f"{workdir} holds no complete checkpoint: the run has not been trained yet"
    )
  step = max(steps) if step is None else step
  if step not in steps:
    raise CheckpointError(
      f"{workdir} holds no checkpoint of step {step}; it has {', '.join(map(str, sorted(steps)))}"
    )
  record = trees.twice(lambda: _read_record(workdir, step))
  if record.experiment.stage not in stages:
    raise CheckpointError(
      f"{workdir} holds a {record.experiment.stage!r} checkpoint; {' or '.join(map(repr, stages))} is needed here"
    )
  return record


def find_record(workdir: epath.PathLike) -> Record | None:
  """Of the newest checkpoint in a workdir that says what it is, or None where there is no checkpoint yet.

  Raises:
    CheckpointError: if there are checkpoints and none can be read.
  """
  workdir, first = epath.Path(workdir).resolve(), None
  for step in sorted(ocp.utils.checkpoint_steps(workdir / "checkpoints"), reverse=True):
    try:
      return trees.twice(lambda step=step: _read_record(workdir, step))
    except CheckpointError as error:
      first = first or str(error)
  if first:
    raise CheckpointError(first)
  return None


def read_experiment(config: Any, workdir: epath.PathLike | None = None) -> Experiment:
  """The experiment of a config; sections that describe the network may be left out.

  They are those of the run in `workdir`, if it has a checkpoint, and else those of `init_from`.

  Args:
    config: a `ConfigDict`, or what `config_flags` puts in its place when the file could not be loaded, which says so
      at the first access.
    workdir: of the run.

  Raises:
    ValueError: names the field that cannot be.
  """
  config = config.copy_and_resolve_references().to_dict()
  if "model" not in config:
    source = find_record(workdir) if workdir is not None else None
    if source is None and config.get("init_from"):
      source = load_record(config["init_from"])
    if source is None:
      raise ValueError(
        "config.model is missing: give it, or give config.init_from, the workdir of a run whose model is taken"
      )
    known = source.experiment.to_json()
    missing = (name for name in INHERITED if name not in config)
    config |= {name: known[name] for name in missing if known[name] is not None}
  return Experiment.from_config(config)
