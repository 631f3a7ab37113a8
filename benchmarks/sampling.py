"""What sampling costs and what the videos show, by the number of steps and by the noise levels that have guidance.

python benchmarks/sampling.py --num_judged=64 --out=out/sampling
python benchmarks/sampling.py --num_judged=64 --distilled=runs/release/told --distilled=runs/release/four

The base that ships makes clips of one thing from held-out captions, with the same noise in every row, and so do networks that were
distilled from it, in several numbers of steps. Times are those of one video at a time, without compiling; rows take turns.
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
# Steps of a network that is distilled, beside those of its config.
DISTILLED = (16, 8, 6)


def main():
  """Samples, judges, times, prints a table, and writes sampling.json."""
  import jax

  from lumiere.evaluation import held_out
  from lumiere.sampling.cascade import example_keys, load_generator
  from lumiere.sampling.generator import is_guided

  values = flags.FLAGS
  base = values.model or pretrained.BASE
  generators = {name: load_generator(name, "stunet") for name in (base, *values.distilled)}
  experiment = generators[base].experiment
  shape = (experiment.data.num_frames, *experiment.data.size, 3)
  given = {
    split: held_out.HeldOut.load(experiment.data, split, values.num_judged)
    for split in held_out.SPLITS
  }
  runs = [
    (base, steps, interval) for steps, interval in ROWS if not values.distilled or not interval
  ]
  for name in values.distilled:
    own = generators[name].experiment
    halved = own.distillation.halves_steps
    runs += [(name, s, ()) for s in ((own.sampling.num_steps,) if halved else DISTILLED)]
  rows, settings = [], []
  for name, steps, interval in runs:
    generator = generators[name]
    own = generator.experiment
    sampling = dataclasses.replace(own.sampling, num_steps=steps, guidance_interval=interval)
    levels = sampling.make_levels().visited(generator.schedule, steps)[:-1]
    calls = sum(1 + is_guided(own, sampling.at(level)) for level in levels)
    generator.experiment = dataclasses.replace(own, sampling=sampling)
    shares = {
      split: each.judge(list(held_out.sample(generator, each.captions)))
      for split, each in given.items()
    }
    model = "ships" if name == base else pathlib.Path(name).name
    rows.append(dict(model=model, steps=steps, interval=interval, calls=calls, **shares))
    settings.append((generator, sampling))
    print(text(rows[-1]), flush=True)
  seconds, keys = {index: [] for index in range(len(rows))}, example_keys(0, 0, 1)
  for turn in range(1 + ROUNDS):
    for index, (generator, sampling) in enumerate(settings):
      caption = generator.encode(given["test"].captions[:1])
      begun = time.perf_counter()
      jax.block_until_ready(generator.sample(caption, shape, keys, sampling))
      if turn:
        seconds[index].append(time.perf_counter() - begun)
  slowest = np.median(seconds[0])
  for index, row in enumerate(rows):
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
  return f"{row['model']:8} {row['steps']:3d} steps, {row['calls']:2d} calls: {where:<16} {shares}"


if __name__ == "__main__":
  flags.DEFINE_string("model", None, "Run or release of a base; default: the one that ships.")
  flags.DEFINE_multi_string(
    "distilled", [], "Runs of configs/distill_*, beside which the base has no rows with intervals."
  )
  flags.DEFINE_string("out", "out/sampling", "Where the figures go.")
  flags.DEFINE_integer("num_judged", 64, "Held-out captions of each split.", 1)
  cli.run(main)
