"""Trainings in processes of their own, for signals to end."""

import json
import multiprocessing
import os
import time

import jax

from lumiere.experiment import Experiment
from lumiere.training import loop

PATIENCE = 1200  # seconds, for what hangs: slow machines compile for minutes


def start(
  config, workdir, log, pause: float, of: tuple[str, int, int] | None = None
) -> multiprocessing.Process:
  """A process that trains in `workdir`, with a pause after each step.

  Args:
    config: of the experiment.
    workdir: its folder.
    log: a file for what it prints. Its name and "_steps" is the name of a file that is there once the process steps.
    pause: seconds.
    of: (address, count, index) of one of several processes that train as one.
  """
  # All are forked from a process that has imported what they need, which takes ten seconds of a core.
  context = multiprocessing.get_context("forkserver")
  context.set_forkserver_preload([__name__])
  process = context.Process(target=_train, args=(config.to_json(), workdir, log, pause, of))
  process.start()
  return process


def _train(config: str, workdir, log, pause: float, of: tuple[str, int, int] | None):
  with open(log, "w") as file:
    os.dup2(file.fileno(), 1)
    os.dup2(file.fileno(), 2)
  if of:
    address, count, index = of
    jax.config.update("jax_num_cpu_devices", 8 // count)
    jax.distributed.initialize(address, count, index)
  follow = loop.Losses.follow

  def slowly(*args):
    open(f"{log}_steps", "w").close()
    time.sleep(pause)
    follow(*args)

  loop.Losses.follow = slowly
  loop.train(Experiment.from_config(json.loads(config)), workdir)


def wait_for(path, processes):
  """Until a file is there, while the processes run."""
  deadline = time.time() + PATIENCE
  try:
    while not path.exists():
      assert time.time() < deadline and all(process.exitcode is None for process in processes)
      time.sleep(0.05)
  except AssertionError:
    finished(processes, 0)
    raise


def finished(processes, patience: float = PATIENCE) -> list[int | None]:
  """Their exit codes, when all have ended."""
  try:
    for process in processes:
      process.join(patience)
    return [process.exitcode for process in processes]
  finally:
    for process in processes:
      process.kill()
