"""Memory and time: what was planned beside what is measured, and whether data comes as fast as it is used."""

import time
from collections.abc import Iterator

import jax

from lumiere import mesh as meshes
from lumiere.diagnosis.findings import Finding, judged
from lumiere.diagnosis.learning import Fit
from lumiere.experiment import Experiment
from lumiere.planning import dry_steps

GIB = 2**30
BATCHES = 5


def look(experiment: Experiment, fitted: Fit, seconds_of_a_batch: float) -> list[Finding]:
  """Findings from a short training, and from the time that a batch takes to load."""
  return [
    loading(experiment, fitted, seconds_of_a_batch),
    duration(experiment, fitted),
    memory(experiment, fitted),
  ]


def time_of_batches(batches: Iterator) -> tuple[dict, float]:
  """(a batch, seconds that each of the next ones takes): the first ones are made ahead, and workers have to start."""
  for _ in range(3):
    batch = next(batches)
  begun = time.perf_counter()
  for _ in range(BATCHES):
    next(batches)
  return batch, (time.perf_counter() - begun) / BATCHES


def loading(experiment: Experiment, fitted: Fit, seconds: float) -> Finding:
  """Whether the loader keeps up with the step."""
  ratio = seconds / fitted.seconds
  return judged(
    "loader",
    "wrong" if ratio > 1.2 else "look" if ratio > 0.7 else "fine",
    f"a batch takes {seconds:.3g} s to load, a step {fitted.seconds:.3g} s",
    f"training waits for its data: raise data.num_workers={experiment.data.num_workers} up to the cores that there are, or store clips "
    "smaller (lumiere.curate --side)",
  )


def duration(experiment: Experiment, fitted: Fit) -> Finding:
  """How long the training takes."""
  steps = experiment.train.num_steps
  hours = steps * fitted.seconds / 3600
  return Finding(
    "time",
    "fine",
    f"the step compiles in {fitted.compiling:.3g} s and takes {fitted.seconds:.3g} s: {hours:.3g} hours for train.num_steps={steps}, if "
    "data keeps up",
  )


def memory(experiment: Experiment, fitted: Fit) -> Finding:
  """What is planned for a device, beside what the compiler says, and what the device has."""
  step, needed = dry_steps.train_step(experiment, meshes.make_mesh(experiment.mesh)), fitted.needed
  planned = sum(step.memory.values()) + sum(step.estimated.values())
  stats = jax.local_devices()[0].memory_stats() or {}
  there = stats.get("bytes_limit")
  measured = f"planned {planned / GIB:.2f} GiB a device, the compiler needs {needed / GIB:.2f}"
  if there:
    measured += f" of {there / GIB:.1f}"
  return judged(
    "memory",
    "wrong" if there and needed > there else "look" if there and needed > 0.9 * there else "fine",
    measured,
    "make train.num_microbatches or model.remat_levels larger, or train.batch_size smaller; python -m lumiere.plan compares",
  )
