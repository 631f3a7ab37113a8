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

STEPS = 4


@pytest.fixture(scope="module")
def config(runs, video_files):
  """A video network over fsdp and frames, so that each process's devices share clips and all share weights.

  That of super-resolution, which compiles fastest.
  """
  config = micro_config("ssr", runs["data"], runs["ssr_image"], num_steps=STEPS, log_every=1)
  config.train.update(eval_every=STEPS, sample_every=STEPS)
  config.mesh = dict(fsdp=4, frames=2)
  on_folder(config, video_files)
  return config


def start(config, workdir, count: int, slow: bool = False) -> list[subprocess.Popen]:
  """Processes that train in `workdir` together, with eight devices between them."""
  script = workdir.parent / f"{workdir.name}.py"
  script.write_text(
    "import json, sys, time\n"
    "import jax\n"
    "from lumiere.experiment import Experiment\n"
    "from lumiere.training import loop\n"
    f"config = json.loads({config.to_json()!r})\n"
    "if __name__ == '__main__':\n"
    "  jax.distributed.initialize(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))\n"
    f"  if {slow}:\n"
    "    follow = loop.Losses.follow\n"
    "    def slowly(*args):\n"
    f"      open({f'{workdir}.stepping'!r}, 'w').close()\n"
    "      time.sleep(2)\n"
    "      follow(*args)\n"
    "    loop.Losses.follow = slowly\n"
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


def wait_for(path, processes, seconds=240):
  deadline = time.time() + seconds
  while not path.exists():
    assert time.time() < deadline and all(p.poll() is None for p in processes)
    time.sleep(0.05)


def finished(processes, seconds=240) -> list[int]:
  try:
    return [process.wait(seconds) for process in processes]
  finally:
    for process in processes:
      process.kill()


def average(workdir, step):
  return jax.tree.map(np.asarray, checkpoints.load_trained(workdir, ("ssr",), step).params)


def test_two_processes_killed_go_on_as_four_to_where_one_would_have_come(config, tmp_path):
  """Same samples in the same order with the same noise: the same weights but for rounding."""
  one = tmp_path / "one"
  loop.train(Experiment.from_config(config), one)
  parts = tmp_path / "parts"
  two = start(config, parts, 2, slow=True)
  wait_for(parts / "checkpoints" / "2", two)
  for process in two:
    process.send_signal(signal.SIGKILL)
  finished(two)
  assert not (parts / "checkpoints" / str(STEPS)).exists()
  assert finished(start(config, parts, 4)) == [0] * 4
  assert (parts / "samples" / str(STEPS) / "sheet.png").exists()
  ours, theirs = average(parts, STEPS), average(one, STEPS)
  for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
    # Adam makes of the rounding of a gradient near zero a step of its own size.
    assert np.abs(a - b).max() < 1e-3 * max(1.0, np.abs(b).max())


def test_sigterm_to_one_of_two_ends_both_with_one_checkpoint(config, tmp_path):
  config = config.copy_and_resolve_references()
  config.train.update(num_steps=1000, checkpoint_every=1000, sample_every=0, eval_every=0)
  workdir = tmp_path / "run"
  two = start(config, workdir, 2, slow=True)
  wait_for(tmp_path / "run.stepping", two)
  two[1].send_signal(signal.SIGTERM)
  assert finished(two) == [0, 0]
  (step,) = (int(path.name) for path in (workdir / "checkpoints").iterdir())
  with checkpoints.Checkpoints(workdir) as manager:
    assert manager.latest_step == step
