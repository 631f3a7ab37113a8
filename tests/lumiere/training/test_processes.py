"""Several real processes on this machine, with Gloo between them, that train as one."""

import os
import signal
import socket
import subprocess
import sys
import time

import jax
import numpy as np
import pytest

from lumiere.experiment import Experiment
from lumiere.training import checkpoints, loop
from tests.lumiere.training.experiments import micro_config, on_folder

STEPS = 6
PATIENCE = 1200  # seconds, for what hangs: slow machines compile for minutes


@pytest.fixture(scope="module")
def config(runs, video_files):
  """A video network over fsdp and frames, so that each process's devices share clips and all share weights.

  That of super-resolution, which compiles fastest.
  """
  config = micro_config("ssr", runs["data"], runs["ssr_image"], num_steps=STEPS, log_every=1)
  config.mesh = dict(fsdp=4, frames=2)
  on_folder(config, video_files)
  return config


def start(config, workdir, count: int, pause: float) -> list[subprocess.Popen]:
  """Processes that train in `workdir` together, with eight devices between them, with a pause after each step.

  Long enough for what happens during one: a signal is seen once a second, then agreed upon.
  """
  script = workdir.parent / f"{workdir.name}_{count}.py"
  script.write_text(
    "import json, sys, time\n"
    "import jax\n"
    "from lumiere.experiment import Experiment\n"
    "from lumiere.training import loop\n"
    f"config = json.loads({config.to_json()!r})\n"
    "if __name__ == '__main__':\n"
    "  jax.distributed.initialize(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))\n"
    "  follow = loop.Losses.follow\n"
    "  def slowly(*args):\n"
    f"    open({f'{workdir}.{count}_are_stepping'!r}, 'w').close()\n"
    f"    time.sleep({pause})\n"
    "    follow(*args)\n"
    "  loop.Losses.follow = slowly\n"
    f"  loop.train(Experiment.from_config(config), {str(workdir)!r})\n"
  )
  with socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    address = f"127.0.0.1:{free.getsockname()[1]}"
  settings = dict(JAX_NUM_CPU_DEVICES=str(8 // count), PYTHONPATH=os.getcwd())
  with open(workdir.parent / f"{workdir.name}_{count}.log", "w") as log:
    return [
      subprocess.Popen(
        [sys.executable, script, address, str(count), str(index)],
        env=os.environ | settings,
        stdout=log,
        stderr=subprocess.STDOUT,
      )
      for index in range(count)
    ]


def wait_for(path, processes):
  deadline = time.time() + PATIENCE
  try:
    while not path.exists():
      assert time.time() < deadline and all(p.poll() is None for p in processes)
      time.sleep(0.05)
  except AssertionError:
    for process in processes:
      process.kill()
    raise


def finished(processes) -> list[int]:
  try:
    return [process.wait(PATIENCE) for process in processes]
  finally:
    for process in processes:
      process.kill()


def test_two_killed_go_on_as_four_and_one_ends_where_it_would_have_come_alone(config, tmp_path):
  """Same samples in the same order with the same noise: the same weights but for rounding.

  Two processes end by SIGKILL, the four after them by SIGTERM to one of them, which saves once for all.
  """
  one, alone = tmp_path / "one", config.copy_and_resolve_references()
  alone.train.checkpoint_every = STEPS
  loop.train(Experiment.from_config(alone), one)
  parts = tmp_path / "parts"
  watched = config.copy_and_resolve_references()
  watched.train.update(eval_every=2, sample_every=2)
  two = start(watched, parts, 2, pause=2)
  wait_for(parts / "checkpoints" / "2", two)
  for process in two:
    process.send_signal(signal.SIGKILL)
  finished(two)
  assert steps(parts) == [2]
  assert (parts / "samples" / "2" / "sheet.png").exists()
  four = start(config, parts, 4, pause=6)
  wait_for(tmp_path / "parts.4_are_stepping", four)
  four[1].send_signal(signal.SIGTERM)
  assert finished(four) == [0] * 4
  with checkpoints.Checkpoints(parts) as manager:
    assert manager.latest_step == max(steps(parts)) < STEPS
  loop.train(Experiment.from_config(config), parts)
  ours, theirs = average(parts, STEPS), average(one, STEPS)
  for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
    # Adam makes of the rounding of a gradient near zero a step of its own size.
    assert np.abs(a - b).max() < 1e-3 * max(1.0, np.abs(b).max())


def steps(workdir) -> list[int]:
  """Of the complete checkpoints."""
  return sorted(
    int(path.name) for path in (workdir / "checkpoints").iterdir() if path.name.isdigit()
  )


def average(workdir, step):
  return jax.tree.map(np.asarray, checkpoints.load_trained(workdir, ("ssr",), step).params)
