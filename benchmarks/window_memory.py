"""Peak memory of sampling in windows against the length of the video, for super-resolution or the base.

python benchmarks/window_memory.py [--config=configs/ssr_tiny.py] [--resolution=128] [--steps=2]
python benchmarks/window_memory.py --config=configs/stunet_tiny.py --resolution=64

Windows are those of the config; windows of a base have the length of its training clips and overlap by half. Each length runs in
a process of its own, with random weights. The memory of windows is the same at any length, so that the peak grows by a few arrays
of the video's size: the sampler's state, its condition, and the sums that are reconciled. The last column counts them: the growth
of the peak since the row above, divided by the growth of one float32 video.
"""

import dataclasses
import json
import math
import pathlib
import resource
import subprocess
import sys

from absl import flags
from ml_collections import config_flags

from lumiere import cli

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))  # for configs/

_CONFIG = config_flags.DEFINE_config_file(
  "config", "configs/ssr_tiny.py", "An ssr or stunet experiment."
)
_RESOLUTION = flags.DEFINE_integer(
  "resolution", 128, "Side of the frames that are made, in pixels."
)
_STEPS = flags.DEFINE_integer("steps", 2, "Sampler steps.")
_NUM_FRAMES = flags.DEFINE_integer(
  "num_frames", None, "Measure this length only, and print a line of JSON."
)

SCALES = (1, 4, 8, 16)
MIB = 2**20


def main():
  """Measures one length, or starts a process for each and prints the table."""
  if _NUM_FRAMES.value:
    print(json.dumps(measure(_NUM_FRAMES.value)))
    return
  config = _CONFIG.value
  window = config.sampling.get("window", 0) or config.data.num_frames
  print("length  frames   one video        peak   growth in videos")
  above = None
  for scale in SCALES:
    command = [sys.executable, *sys.argv, f"--num_frames={scale * window}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
      raise RuntimeError(f"{scale * window} frames: {done.stderr.strip()[-500:]}")
    row = json.loads(done.stdout.splitlines()[-1])
    line = (
      f"{scale:>5}x{scale * window:>8}{row['video'] / MIB:>8.1f} MiB{row['peak'] / MIB:>8.1f} MiB"
    )
    if above:
      growth = (row["peak"] - above["peak"]) / (row["video"] - above["video"])
      line += f"{growth:>19.1f}"
    print(line)
    above = row


def measure(num_frames: int) -> dict[str, int]:
  """Bytes of one float32 video and of this process at its peak."""
  import jax
  import jax.numpy as jnp

  from lumiere import weights
  from lumiere.experiment import Experiment
  from lumiere.sampling.cascade import example_keys
  from lumiere.sampling.generator import Generator
  from lumiere.training.stages import Stage

  experiment = Experiment.from_config(_CONFIG.value)
  if experiment.stage not in ("ssr", "stunet"):
    raise ValueError(
      f"--config is of stage {experiment.stage!r}; an 'ssr' or 'stunet' config is expected"
    )
  generator = Generator(experiment, 0, *weights.split(Stage(experiment).build()))
  sampling = dataclasses.replace(experiment.sampling, num_steps=_STEPS.value)
  size, keys = _RESOLUTION.value, example_keys(0, 0, 1)
  if experiment.super_resolution:
    small = size // experiment.super_resolution.factor
    low_res = jnp.zeros((1, num_frames, small, small, 3))
    conditioning = generator.condition_on(low_res, sampling.augmentation_level, keys)
  else:
    conditioning, window = generator.encode([""]), experiment.data.num_frames
    sampling = dataclasses.replace(sampling, window=window, stride=window // 2)
  shape = (num_frames, size, size, 3)
  jax.block_until_ready(generator.sample(conditioning, shape, keys, sampling))
  peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
  return {
    "video": 4 * math.prod(shape),
    "peak": peak * (1 if sys.platform == "darwin" else 1024),
  }


if __name__ == "__main__":
  cli.run(main)
