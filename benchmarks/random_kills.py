"""Kills a tiny training run at random moments, again and again, and checks that nothing is lost.

python benchmarks/random_kills.py --kills=100

Trains once without interruption. Then it starts the same training in another workdir, sends SIGKILL after a random time, starts
it again, and so on. After the last kill the run may finish, and its final weights, averages, optimizer state and data position
are compared with those of the uninterrupted run, bit for bit. The killed run saves a checkpoint after every step, so that many
kills hit a write. One kill in three comes anywhere between the first import and the first step; the others come after one to
four more checkpoints and a random part of a step.
"""

import json
import os
import pathlib
import random
import subprocess
import sys
import tempfile
import time

import jax
import numpy as np
import orbax.checkpoint as ocp
from absl import app, flags

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))  # for configs/

_KILLS = flags.DEFINE_integer("kills", 100, "Number of kills.")
_SEED = flags.DEFINE_integer("seed", 0, "Seed of the moments.")
_STEPS = flags.DEFINE_integer("steps", 400, "Training steps.")

WORLD = "num_train=24,num_held_out=8,resolution=16,num_frames=8,max_things=1,seed=0"
CHILD = """
import json, sys
from lumiere.experiment import Experiment
from lumiere.training import loop
loop.train(Experiment.from_config(json.loads(sys.argv[1])), sys.argv[2])
"""


def config(root: pathlib.Path, steps: int, checkpoint_every: int) -> dict:
  """A text-to-image training of milliseconds a step."""
  from configs import t2i_tiny

  config = t2i_tiny.get_config()
  config.data.update(data_dir=str(root / "data"), resolution=8)
  world = dict(pair.split("=") for pair in WORLD.split(","))
  config.data.moving_shapes = {name: int(value) for name, value in world.items()}
  config.model.update(
    channels=(8, 8), attention_levels=(1,), norm_groups=4, head_dim=8, text_dim=16, pool_heads=2
  )
  config.text.encoder.update(d_model=16, d_kv=8, d_ff=16, num_layers=1, num_heads=2)
  config.train.update(
    num_steps=steps,
    batch_size=4,
    checkpoint_every=checkpoint_every,
    eval_every=0,
    sample_every=0,
    log_every=10,
  )
  return config.to_dict()


def final_state(workdir: pathlib.Path, step: int):
  """All that a checkpoint holds."""
  folder = workdir / "checkpoints" / str(step)
  place = (folder / "data" / "metadata").read_bytes()
  with ocp.StandardCheckpointer() as checkpointer:
    trees = {part: checkpointer.restore(folder / part) for part in ("params", "ema", "opt_state")}
  return jax.tree.map(np.asarray, trees), place


def newest(workdir: pathlib.Path) -> int:
  """The newest finished checkpoint's step, 0 if there is none."""
  return max(
    (int(p.name) for p in (workdir / "checkpoints").glob("*") if p.name.isdigit()), default=0
  )


def start(root: pathlib.Path, name: str, checkpoint_every: int) -> subprocess.Popen:
  """The training in a process of its own; programs are compiled by the first one only."""
  settings = dict(
    PYTHONPATH=sys.path[0],
    JAX_COMPILATION_CACHE_DIR=str(root / "programs"),
    JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS="0",
  )
  text = json.dumps(config(root, _STEPS.value, checkpoint_every))
  command = [sys.executable, "-c", CHILD, text, str(root / name)]
  return subprocess.Popen(
    command, env=os.environ | settings, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
  )


def wait_for_checkpoints(workdir: pathlib.Path, process: subprocess.Popen, count: int) -> float:
  """Returns when there are so many more, or when the process has ended; the seconds that a checkpoint took."""
  begun, first = time.time(), newest(workdir)
  while newest(workdir) < first + count and process.poll() is None:
    time.sleep(0.02)
  return (time.time() - begun) / count


def main(_):
  """Runs everything; exits with an error if a bit differs."""
  with tempfile.TemporaryDirectory() as folder:
    root = pathlib.Path(folder)
    begun = time.time()
    if start(root, "whole", _STEPS.value).wait():
      raise SystemExit("the uninterrupted run failed")
    print(f"uninterrupted: {_STEPS.value} steps in {time.time() - begun:.0f} s", flush=True)

    moments, killed = random.Random(_SEED.value), root / "killed"
    writing, to_first_step = 0, 0.0
    for kill in range(1, _KILLS.value + 1):
      before, process = newest(killed), start(root, "killed", 1)
      if kill > 1 and moments.random() < 1 / 3:
        time.sleep(moments.uniform(0.0, to_first_step))
      else:
        to_first_step = wait_for_checkpoints(killed, process, 1)
        steps = moments.randint(0, 3)
        a_step = wait_for_checkpoints(killed, process, steps) if steps else 1.0
        time.sleep(moments.uniform(0.0, a_step))
      if process.poll() is not None:
        raise SystemExit(
          f"the run failed by itself before kill {kill}"
          if process.returncode
          else f"the run ended after {kill - 1} kills: give it more --steps"
        )
      process.kill()
      process.wait()
      writing += any(not path.name.isdigit() for path in (killed / "checkpoints").glob("*"))
      print(f"kill {kill}: step {before} -> {newest(killed)}", flush=True)
    if start(root, "killed", 1).wait():
      raise SystemExit("the run could not be resumed")
    ours, theirs = (final_state(path, _STEPS.value) for path in (killed, root / "whole"))
    jax.tree.map(np.testing.assert_array_equal, ours[0], theirs[0])
    if ours[1] != theirs[1]:
      raise SystemExit("the place in the data differs")
    print(f"{_KILLS.value} kills, {writing} of them during a write: the same bits as without")


if __name__ == "__main__":
  app.run(main)
