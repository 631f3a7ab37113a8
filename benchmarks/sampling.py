"""What sampling costs and what the videos show, by the number of steps and by the noise levels that have guidance.

python benchmarks/sampling.py --num_judged=64 --out=out/sampling

The base that ships makes clips of one thing from held-out captions, with the same noise in every row. Times are those of one video
at a time, without compiling; rows take turns.
"""

import dataclasses
import json
import pathlib
import time

import numpy as np
from absl import flags

from lumiere import cli, pretrained

ROUNDS = 5
# Steps, and the log-SNRs at which there is guidance.
ROWS = (
  (16, ()),
  (16, (-7.0, 0.0)),
  (16, (-7.0, -2.0)),
  (8, ()),
  (8, (-7.0, 0.0)),
  (6, ()),
  (4, ()),
)


def main():
  """Samples, judges, times, prints a table, and writes sampling.json."""
  import jax

  from lumiere import checkpoints
  from lumiere.evaluation import held_out
  from lumiere.sampling.cascade import example_keys
  from lumiere.sampling.generator import Generator

  values = flags.FLAGS
  trained = checkpoints.load_trained(values.model or pretrained.BASE, ("stunet",))
  generator = Generator(
    trained.experiment, trained.step, trained.rebuild, trained.params, trained.frozen
  )
  experiment = trained.experiment
  shape = (experiment.data.num_frames, *experiment.data.size, 3)
  given = {
    split: held_out.HeldOut.load(experiment.data, split, values.num_judged)
    for split in held_out.SPLITS
  }
  rows = []
  for steps, interval in ROWS:
    sampling = dataclasses.replace(experiment.sampling, num_steps=steps, guidance_interval=interval)
    levels = sampling.make_levels().visited(generator.schedule, steps)[:-1]
    guided = sum(sampling.at(level).guidance_scale != 1 for level in levels)
    generator.experiment = dataclasses.replace(experiment, sampling=sampling)
    shares = {
      split: each.judge(list(held_out.sample(generator, each.captions)))
      for split, each in given.items()
    }
    rows.append(dict(steps=steps, interval=interval, guided=guided, sampling=sampling, **shares))
    print(text(rows[-1]), flush=True)
  seconds = {index: [] for index in range(len(rows))}
  caption, keys = generator.encode(given["test"].captions[:1]), example_keys(0, 0, 1)
  for turn in range(1 + ROUNDS):
    for index, row in enumerate(rows):
      begun = time.perf_counter()
      jax.block_until_ready(generator.sample(caption, shape, keys, row["sampling"]))
      if turn:
        seconds[index].append(time.perf_counter() - begun)
  slowest = np.median(seconds[0])
  for index, row in enumerate(rows):
    del row["sampling"]
    row["seconds"] = float(np.median(seconds[index]))
    print(
      f"{text(row)}  {row['seconds']:.2f} s a video, {row['seconds'] / slowest:.2f} of the first"
    )
  out = pathlib.Path(values.out)
  out.mkdir(parents=True, exist_ok=True)
  (out / "sampling.json").write_text(json.dumps(rows, indent=2) + "\n")


def text(row: dict) -> str:
  """A row of the table."""
  where = "from {:g} to {:g}".format(*row["interval"]) if row["interval"] else "everywhere"
  shares = "  ".join(
    f"{name} {row['test'][name]:.1%}, {row['unseen'][name]:.1%}" for name in ("shape", "motion")
  )
  return f"{row['steps']:3d} steps, {row['guided']:2d} guided: {where:<16} {shares}"


if __name__ == "__main__":
  flags.DEFINE_string("model", None, "Run or release of a base; default: the one that ships.")
  flags.DEFINE_string("out", "out/sampling", "Where the figures go.")
  flags.DEFINE_integer("num_judged", 64, "Held-out captions of each split.", 1)
  cli.run(main)
