"""Several real processes on this machine, with Gloo between them, that train as one."""

import shutil
import socket

import jax
import numpy as np
import pytest

from lumiere import checkpoints
from lumiere.experiment import Experiment
from lumiere.training import loop
from tests.lumiere.experiments import micro_config, on_folder
from tests.lumiere.training import apart

STEPS = 6


@pytest.fixture(scope="module")
def config(runs, video_files):
  """A video network over fsdp and frames, so that each process's devices share clips and all share weights.

  That of super-resolution, which compiles fastest.
  """
  config = micro_config("ssr", runs["data"], runs["ssr_image"], num_steps=STEPS, log_every=1)
  config.mesh = dict(fsdp=4, frames=2)
  on_folder(config, video_files)
  return config


def start(config, workdir, count: int, pause: float):
  """Processes that train in `workdir` together, with eight devices between them.

  The pause after each step is long enough for what happens during one: a signal is seen once a second, then agreed upon.
  """
  with socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    address = f"127.0.0.1:{free.getsockname()[1]}"
  return [
    apart.start(config, workdir, f"{workdir}.{index}_of_{count}", pause, (address, count, index))
    for index in range(count)
  ]


def test_two_killed_go_on_as_four_and_one_ends_where_it_would_have_come_alone(config, tmp_path):
  """Same samples in the same order with the same noise: the same weights but for rounding.

  Two processes end by SIGKILL. The four after them find a newer checkpoint that cannot be read, which all of them
  pass over; they end by SIGTERM to one of them, which saves once for all.
  """
  one, alone = tmp_path / "one", config.copy_and_resolve_references()
  alone.train.checkpoint_every = STEPS
  loop.train(Experiment.from_config(alone), one)
  parts = tmp_path / "parts"
  watched = config.copy_and_resolve_references()
  watched.train.update(eval_every=2, sample_every=2)
  two = start(watched, parts, 2, pause=2)
  apart.wait_for(parts / "checkpoints" / "2", two)
  for process in two:
    process.kill()
  apart.finished(two)
  assert steps(parts) == [2]
  assert (parts / "samples" / "2" / "sheet.png").exists()
  damaged = shutil.copytree(parts / "checkpoints" / "2", parts / "checkpoints" / "3")
  for path in (damaged / "params").rglob("d/*"):
    path.write_bytes(path.read_bytes()[::-1])
  four = start(config, parts, 4, pause=6)
  apart.wait_for(tmp_path / "parts.1_of_4_steps", four)
  four[1].terminate()
  assert apart.finished(four) == [0] * 4
  assert (parts / "damaged" / "3" / "params").exists()
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
