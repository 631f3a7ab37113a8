"""Times a training or sampling step on this machine's devices, and compares it with the plan.

python benchmarks/step_time.py --config=configs/stunet_base.py --topology=h100:1 --config.train.batch_size=1 \
  '--config.model.remat_levels=(0,1,2)'
python benchmarks/step_time.py --step=sample --config=configs/stunet_base.py --topology=h100:1

It is the step of `train.py` or `sample.py`, with random weights and batches. Peak memory is reported if the device's allocator
counts it. Set XLA_PYTHON_CLIENT_MEM_FRACTION=0.9 if the step needs most of a GPU.
"""

import functools
import sys
import time
from pathlib import Path

from absl import flags
from ml_collections import config_flags

from lumiere import cli

sys.path.insert(0, str(Path(__file__).parents[1]))  # for configs/

_CONFIG = config_flags.DEFINE_config_file("config", None, "The experiment whose step is timed.")
_STEP = flags.DEFINE_enum("step", "train", ["train", "sample"], "Which step.")
_CLIPS = flags.DEFINE_integer("clips", 1, "--step=sample: clips at a time.", lower_bound=1)
_NUM_FRAMES = flags.DEFINE_integer(
  "num_frames", 0, "--step=sample: frames of a clip; 0: as trained."
)
_STEPS = flags.DEFINE_integer(
  "steps", 10, "Number of timed steps, after two others.", lower_bound=1
)
_TOPOLOGY = flags.DEFINE_string("topology", None, "Compare with the plan for these chips.")

GIB = 2**30


def main():
  """Compiles, measures and prints."""
  import jax

  from lumiere import checkpoints
  from lumiere import mesh as meshes
  from lumiere.planning import dry_steps, plan
  from lumiere.training.flops import PEAK_FLOPS

  if _CONFIG.value is None:
    raise ValueError("--config is missing: give one, such as --config=configs/stunet_base.py")
  experiment = checkpoints.read_experiment(_CONFIG.value)
  sampled = {}
  if _STEP.value == "sample":
    frames = _NUM_FRAMES.value or experiment.data.num_frames
    sampled = {"clips": _CLIPS.value, "frames": frames}
  planned = None
  if _TOPOLOGY.value:
    planned = plan.make_plan(experiment, _TOPOLOGY.value, compiled=False, **sampled)
    if planned.num_chips != jax.device_count():
      raise ValueError(
        f"--topology={_TOPOLOGY.value} has {planned.num_chips} chips, this machine {jax.device_count()}"
      )

  mesh = meshes.make_mesh(experiment.mesh)
  if sampled:
    step = dry_steps.sample_step(experiment, mesh, sampled["clips"], sampled["frames"])
  else:
    step = dry_steps.train_step(experiment, mesh)
  with jax.set_mesh(mesh):
    begun = time.perf_counter()
    compiled = step.function.trace(*step.arguments).lower().compile()
    compiling = time.perf_counter() - begun
    counted = compiled.memory_analysis()
    wanted = counted.argument_size_in_bytes + counted.temp_size_in_bytes
    print(f"compiled in {compiling:.0f} s: {wanted / GIB:.2f} GiB a device", flush=True)
    seconds = time_steps(compiled, step.arguments, 2 if sampled else 0, _STEPS.value)

  device = jax.devices()[0]
  rate = step.model_flops / jax.device_count() / seconds
  used = f"{rate / 1e12:.1f} TFLOP/s a device"
  if peak := PEAK_FLOPS.get(device.device_kind):
    used += f", {rate / peak:.1%} of {peak / 1e12:.0f}"
  print(f"{jax.device_count()} x {device.device_kind}: {seconds:.4f} s a step, {used}")
  if stats := device.memory_stats():
    print(f"at its peak {stats['peak_bytes_in_use'] / GIB:.2f} GiB of the first device were in use")
  if planned:
    print(f"\nthe plan for {_TOPOLOGY.value}:\n{planned.report(experiment.train.num_steps)}")


def time_steps(compiled, arguments, carried: int, count: int) -> float:
  """Seconds of a step, as the mean of so many that are dispatched one after another, as training does.

  Args:
    compiled: the step.
    arguments: shapes of its arguments.
    carried: index of the argument that the step donates and returns.
    count: number of steps to time.
  """
  import jax

  arguments = list(jax.tree.map(drawn, arguments))
  for repeats in (2, count):  # the first two also load the program
    jax.block_until_ready(arguments)
    begun = time.perf_counter()
    for _ in range(repeats):
      result = compiled(*arguments)
      arguments[carried] = result[0] if carried == 0 else result
    jax.block_until_ready(arguments)
  return (time.perf_counter() - begun) / count


def drawn(like):
  """A random array of that shape, dtype and sharding."""
  import jax

  return drawing(like.shape, like.dtype, like.sharding)(jax.random.key(0))


@functools.cache
def drawing(shape, dtype, sharding):
  """A function that draws floats from [0, 0.02), which suits weights, inputs and second moments; other dtypes are ones."""
  import jax
  import jax.numpy as jnp

  def draw(key):
    if jnp.issubdtype(dtype, jax.dtypes.prng_key):
      return jax.random.split(key, shape)
    if jnp.issubdtype(dtype, jnp.floating):
      return 0.02 * jax.random.uniform(key, shape, dtype)
    return jnp.ones(shape, dtype)

  return jax.jit(draw, out_shardings=sharding)


if __name__ == "__main__":
  cli.run(main)
