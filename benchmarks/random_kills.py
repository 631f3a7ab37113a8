"""Kills a tiny training at random moments, again and again, and checks that nothing is lost.

python benchmarks/random_kills.py --kills=100

Trains once without interruption; then starts the same training in another workdir, sends SIGKILL after a random time,
starts it again, and so on. When all kills are spent it lets the run end and compares the final weights, averages, optimizer
state and place in the data with the uninterrupted run's, bit for bit. Checkpoints are taken at every step, so that many
kills fall into a write.
"""

import json
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

_KILLS = flags.DEFINE_integer("kills", 100, "How often the run is killed.")
_SEED = flags.DEFINE_integer("seed", 0, "Of the moments.")
_STEPS = flags.DEFINE_integer("steps", 400, "Steps of the training.")

WORLD = "num_train=24,num_held_out=8,resolution=16,num_frames=8,max_things=1,seed=0"
CHILD = """
import json, sys
from lumiere.experiment import Experiment
from lumiere.training import loop
loop.train(Experiment.from_config(json.loads(sys.argv[1])), sys.argv[2])
"""


def config(root: pathlib.Path, steps: int) -> dict:
  """A text-to-image training of milliseconds a step, with a checkpoint after each."""
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
    num_steps=steps, batch_size=4, checkpoint_every=1, eval_every=0, sample_every=0, log_every=10
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


def main(_):
  """Runs everything; exits with an error if a bit differs."""
  with tempfile.TemporaryDirectory() as folder:
    root = pathlib.Path(folder)
    command = [sys.executable, "-c", CHILD, json.dumps(config(root, _STEPS.value))]
    run = lambda name: subprocess.Popen(
      [*command, str(root / name)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    begun = time.time()
    if run("whole").wait():
      raise SystemExit("the uninterrupted run failed")
    alone = time.time() - begun
    print(f"uninterrupted: {_STEPS.value} steps in {alone:.0f} s", flush=True)

    moments = random.Random(_SEED.value)
    writing = 0
    for kill in range(1, _KILLS.value + 1):
      process = run("killed")
      before = newest(root / "killed")
      # From the first import to well into stepping.
      time.sleep(moments.uniform(0.0, 1.5 * alone * min(1.0, 40 / _STEPS.value) + 6.0))
      if process.poll() is not None:
        if process.returncode:
          raise SystemExit(f"the run failed by itself before kill {kill}")
        print(f"the run ended after {kill - 1} kills: give it more --steps")
        break
      process.kill()
      process.wait()
      unfinished = [p for p in (root / "killed" / "checkpoints").glob("*") if not p.name.isdigit()]
      writing += bool(unfinished)
      print(f"kill {kill}: step {before} -> {newest(root / 'killed')}", flush=True)
    if run("killed").wait():
      raise SystemExit("the run could not be resumed")
    ours, theirs = (final_state(root / name, _STEPS.value) for name in ("killed", "whole"))
    jax.tree.map(np.testing.assert_array_equal, ours[0], theirs[0])
    if ours[1] != theirs[1]:
      raise SystemExit("the place in the data differs")
    print(f"{kill} kills, {writing} of them during a write: the same bits as without")


if __name__ == "__main__":
  app.run(main)
