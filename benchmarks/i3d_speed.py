"""Videos per second of I3D, ours and PyTorch's, in one run on the same machine.

python -m pip install -c constraints.txt -e '.[parity]'
python benchmarks/i3d_speed.py

Both with random weights; clips of 16 frames of 224x224 pixels. PyTorch runs on this machine's CPU, JAX on what it finds.
"""

import pathlib
import sys
import time

import numpy as np
from absl import flags

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))  # for tests/

from lumiere import cli  # noqa: E402


def main():
  """Measures and prints a table."""
  import jax
  import jax.numpy as jnp
  import torch
  from flax import nnx

  from lumiere import weights
  from lumiere.evaluation.metrics.i3d import I3D
  from tests.parity import i3d_reference

  batch, rounds = flags.FLAGS.batch_size, flags.FLAGS.rounds
  clips = np.random.default_rng(0).uniform(-1, 1, (batch, 16, 224, 224, 3)).astype(np.float32)
  rebuild, params, frozen = weights.split(I3D(rngs=nnx.Rngs(0)))
  compiled = jax.jit(lambda params, x: rebuild(params, frozen)(x))
  ours, x = lambda x: jax.block_until_ready(compiled(params, x)), jnp.asarray(clips)
  network = i3d_reference.I3D().eval()
  y = torch.from_numpy(clips.transpose(0, 4, 1, 2, 3).copy())
  theirs = torch.inference_mode()(lambda y: network(y))
  print(
    f"{batch} clips at a time, {torch.get_num_threads()} threads, {jax.devices()[0].device_kind}"
  )
  seconds = {"JAX": [], "PyTorch": []}
  ours(x), theirs(y)
  for _ in range(rounds):  # in turns, so that what else the machine does meets both
    for name, call, given in (("JAX", ours, x), ("PyTorch", theirs, y)):
      begun = time.perf_counter()
      call(given)
      seconds[name].append(time.perf_counter() - begun)
  for name, measured in seconds.items():
    print(f"{name:<10}{batch / np.median(measured):8.3f} videos/s")
  print(f"ratio     {np.median(seconds['PyTorch']) / np.median(seconds['JAX']):8.2f}")


if __name__ == "__main__":
  flags.DEFINE_integer("batch_size", 2, "Clips at a time.", 1)
  flags.DEFINE_integer("rounds", 5, "Of either.", 1)
  cli.run(main)
