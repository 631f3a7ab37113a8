"""Which fields of a config may change when a run goes on in its workdir.

The table `CHANGES` says it for each field, or for all fields of a section that have no entry of their own:

    free       changes nothing that is learned, or is compared by its contents (the data, `lumiere.training.provenance`)
    warned     the run goes on, and differs from here on from one that was not changed
    refused    what was saved is of no use with it; start another run with init_from

`init_from` is not read when a run goes on: everything comes from the workdir.
"""

import dataclasses
from collections.abc import Iterator
from typing import Any

from absl import logging

from lumiere import processes
from lumiere.experiment import Experiment
from lumiere.trained import Record
from lumiere.training.optimizers import learning_rate

FREE, WARNED, REFUSED = "free", "warned", "refused"

_CLIPS = (WARNED, "it goes on with other clips")
_FREE = (FREE, "")
_RATE = (WARNED, "see `learning_rate_changes`")
_LEVELS = (WARNED, "it goes on with other noise levels")
_NETWORK = (REFUSED, "the saved weights are those of another network")
_ROUNDING = (WARNED, "rounding differs")
_STATE = (REFUSED, "the saved state is that of another optimizer")
_TASK = (REFUSED, "the saved weights were trained for the other")

CHANGES = {
  "stage": (REFUSED, "it is another kind of training"),
  "model": _NETWORK,
  "model.remat_levels": _FREE,
  "temporal": _NETWORK,
  "masks": _TASK,
  "text": _TASK,
  "diffusion": _TASK,
  "super_resolution": _TASK,
  "super_resolution.crop": _CLIPS,
  "autoencoder": _TASK,
  "autoencoder_from": (WARNED, "it is not read: the run goes on from its workdir"),
  "distillation": _TASK,
  "optimizer": _STATE,
  "optimizer.learning_rate": _RATE,
  "optimizer.warmup_steps": _RATE,
  "optimizer.decay": _RATE,
  "data": _FREE,
  "data.num_frames": _CLIPS,
  "data.resolution": _CLIPS,
  "data.buckets": _CLIPS,
  "data.max_cut": _CLIPS,
  "data.fps": _CLIPS,
  "train.num_steps": _RATE,
  "train.batch_size": (WARNED, "a step is of another number of examples"),
  "train.num_microbatches": (WARNED, "the noise within a step differs"),
  "train.frozen_dtype": _ROUNDING,
  "train.ema_decay": (WARNED, "the average forgets at another rate"),
  "train.log_snr_shift": _LEVELS,
  "train.log_snr_spread": _LEVELS,
  "train.averages": (REFUSED, "the saved state has other averages"),
  "train.log_every": _FREE,
  "train.eval_every": _FREE,
  "train.eval_batches": _FREE,
  "train.sample_every": _FREE,
  "train.num_samples": _FREE,
  "train.checkpoint_every": _FREE,
  "train.max_checkpoints": _FREE,
  "train.profile_steps": _FREE,
  "evaluation": _FREE,
  "sampling": _FREE,
  "mesh": _FREE,
  "init_from": (WARNED, "it is not read: the run goes on from its workdir"),
  "seed": (WARNED, "noise and the order of the examples differ"),
  "dtype": _ROUNDING,
}
# Where the steps lie that are distilled.
LEVELS_OF_STEPS = ("sampling.num_steps", "sampling.log_snr_shift")


def checked(experiment: Experiment, record: Record, workdir) -> Experiment:
  """The experiment that a run goes on with: what it was started from stays as recorded.

  Args:
    experiment: what the config says now.
    record: of the newest checkpoint.
    workdir: of the run, for messages.

  Raises:
    ValueError: names the first field whose change is refused, and why.
  """
  started = {"init_from": record.experiment.init_from}
  if not experiment.init_from:
    experiment = dataclasses.replace(experiment, **started)
  for field, now, before in differences(experiment, record.experiment):
    verdict, why = verdict_on(field)
    if (
      field in LEVELS_OF_STEPS and experiment.distillation and experiment.distillation.halves_steps
    ):
      verdict, why = _LEVELS
    if (verdict, why) == _RATE:
      why = learning_rate_changes(experiment, record.experiment, record.step)
    what = f"config.{field}={now!r} differs from the run in {workdir}, {before!r}"
    if verdict == REFUSED:
      raise ValueError(f"{what}: {why}; choose another workdir or the same config")
    if verdict == WARNED and why and processes.is_first():
      logging.warning("%s: %s", what, why)
  return dataclasses.replace(experiment, **started)


def verdict_on(field: str) -> tuple[str, str]:
  """(free, warned or refused; why) of a field such as "train.batch_size", by its own entry or its section's."""
  return CHANGES[field] if field in CHANGES else CHANGES[field.partition(".")[0]]


def learning_rate_changes(experiment: Experiment, recorded: Experiment, step: int) -> str:
  """What another schedule than the recorded one does to the learning rate at `step`; empty if nothing."""
  before, now = (
    float(learning_rate(each.optimizer, each.train.num_steps)(step))
    for each in (recorded, experiment)
  )
  if before == now:
    return ""
  return f"the learning rate {'rises' if now > before else 'falls'} at step {step}, from {before:.3g} to {now:.3g}"


def differences(now: Any, before: Any, path: str = "") -> Iterator[tuple[str, Any, Any]]:
  """(field, its value now, its value before) of each field, at any depth, that differs."""
  for field in dataclasses.fields(now):
    name = f"{path}{field.name}"
    values = getattr(now, field.name), getattr(before, field.name)
    if all(dataclasses.is_dataclass(value) for value in values):
      yield from differences(*values, path=f"{name}.")
    elif values[0] != values[1]:
      yield name, *values
