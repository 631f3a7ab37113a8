"""Trains the weights that are released, stage after stage, from nothing: no dataset is needed, clips are drawn as they are used.

python scripts/train_release.py --out=runs/release

The same command goes on where it was stopped. After each stage its averaged weights are written to OUT/candidates/STAGE, and
on the way every `--judge_every` steps what held-out captions show is judged: OUT/curve.json, OUT/STAGE.png and a line here.
"""

import dataclasses
import importlib
import json
import os
import pathlib
import shutil
import sys
import time

import jax
from absl import flags
from ml_collections import config_flags

ROOT = pathlib.Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))  # for configs/

from lumiere import cli  # noqa: E402
from scripts import style_pictures  # noqa: E402

# Each stage and the one whose network it starts from, in the order of training.
STAGES = {
  "t2i": None,
  "t2i_style": "t2i",
  "stunet": "t2i",
  "ssr_image": None,
  "ssr": "ssr_image",
}
# The configs are for hours on two cores. One GPU takes larger batches in less time than a CPU draws their clips in: by many
# processes.
ON_GPU = {
  "t2i": dict(num_steps=8000, batch_size=256, checkpoint_every=1000),
  "stunet": dict(num_steps=8000, batch_size=64, checkpoint_every=1000),
  "ssr_image": dict(num_steps=3000, batch_size=128, checkpoint_every=1000),
  "ssr": dict(num_steps=1500, batch_size=32, checkpoint_every=500),
}


def main():
  """Trains the stages that are asked for, in order."""
  from lumiere import processes
  from lumiere.training.log import quiet_terminal

  processes.share_cores()
  values = flags.FLAGS
  out = pathlib.Path(values.out)
  if unknown := [name for name in values.stages if name not in STAGES]:
    raise ValueError(f"--stages={unknown[0]}: stages are {', '.join(STAGES)}")
  experiments = {name: experiment_of(name, out) for name in values.stages}
  quiet_terminal()
  for name, experiment in experiments.items():
    begun = time.perf_counter()
    step = train(name, experiment, out, values.num_judged)
    took = f"{(time.perf_counter() - begun) / 60:.1f} minutes"
    print(f"== {name}: step {step} of {experiment.train.num_steps}, {took}", flush=True)
    if step < experiment.train.num_steps:
      break  # by a signal; a later stage would start from half of this one


def experiment_of(name: str, out: pathlib.Path):
  """The experiment of a stage, with its --override; raises ValueError if it cannot be."""
  from lumiere.experiment import Experiment

  values = flags.FlagValues()
  config = importlib.import_module(f"configs.{name}_release").get_config()
  config.init_from = str(out / STAGES[name]) if STAGES[name] else ""
  config.train.sample_every = flags.FLAGS.judge_every
  if config.data.dataset == "video_folder":
    config.data.folder = str(out / "pictures")
  if flags.FLAGS.budget == "gpu":
    config.train.update(ON_GPU.get(name, {}))
    config.data.num_workers = max(1, (os.cpu_count() or 1) - 2)
  argv = [sys.argv[0], *(f"--{change}" for change in overrides(name))]
  config_flags.DEFINE_config_dict("config", config, flag_values=values, sys_argv=argv)
  values(argv)
  return Experiment.from_config(config)


def overrides(name: str) -> list[str]:
  """What --override says of a stage."""
  pairs = [value.split(":", 1) for value in flags.FLAGS.override]
  if bad := [pair for pair in pairs if len(pair) < 2 or pair[0] not in (*STAGES, "*")]:
    raise ValueError(
      f"--override={':'.join(bad[0])!r} must be STAGE:config.field=value, STAGE one of *, {', '.join(STAGES)}"
    )
  return [change for target, change in pairs if target in (name, "*")]


def train(name: str, experiment, out: pathlib.Path, num_judged: int) -> int:
  """Trains a stage to its end, unless it is there or a signal stops it, and writes its candidate; returns the step."""
  from lumiere.release.make import make
  from lumiere.training import loop
  from lumiere.training.log import RunLog

  if experiment.data.folder and not pathlib.Path(experiment.data.folder).exists():
    style_pictures.draw(pathlib.Path(experiment.data.folder))
  curve = Curve(out, name, num_judged)
  with RunLog() as log:
    log.write_to(out / name)
    loop.train(experiment, out / name, show=curve.show)
  candidate = out / "candidates" / name
  shutil.rmtree(candidate, ignore_errors=True)
  scores = curve.last_scores()
  return make(out / name, candidate, scores=scores, license="apache-2.0")["step"]


@dataclasses.dataclass
class Curve:
  """What the judge says of a stage's checkpoints, by step, on disk.

  Attributes:
    out: folder of the whole training.
    name: the stage.
    num_judged: captions of each split.
  """

  out: pathlib.Path
  name: str
  num_judged: int

  def show(self, stage, generator, workdir, writer):
    """Called by the loop: samples, and judges a base; see `lumiere.training.loop.Show`."""
    from lumiere.evaluation import curves, held_out
    from lumiere.training import samples

    samples.write(stage, generator, workdir, writer)
    if stage.experiment.is_super_resolution or stage.experiment.data.folder:
      return  # what a style makes is not of the judge's world
    begun = time.perf_counter()
    results = held_out.judge_base(generator, self.num_judged)
    if not jax.process_index():
      points = self.add(generator.step, results)
      curves.draw(self.out / f"{self.name}.png", lines(points), "steps")
      seconds = time.perf_counter() - begun
      print(f"{self.name} {generator.step}: {text(results)}  ({seconds:.0f} s)", flush=True)

  def last_scores(self) -> dict[str, dict[str, float]]:
    """Of the newest point, by split; empty if nothing was judged."""
    path = self.out / "curve.json"
    points = json.loads(path.read_text()).get(self.name, {}) if path.exists() else {}
    return points[max(points, key=int)] if points else {}

  def add(self, step: int, results: dict) -> dict[str, dict]:
    """Adds a point; returns all points of the stage, by step."""
    path = self.out / "curve.json"
    stages = json.loads(path.read_text()) if path.exists() else {}
    points = stages.setdefault(self.name, {})
    points[str(step)] = results
    path.write_text(json.dumps(stages, indent=2) + "\n")
    return points


def lines(points: dict[str, dict]) -> dict[str, list[tuple[float, float]]]:
  """{split and field: [(step, share)]} of a stage's points."""
  found = {}
  for step in sorted(points, key=int):
    for split, shares in points[step].items():
      for field, share in shares.items():
        found.setdefault(f"{field}, {split}", []).append((int(step), share))
  return found


def text(results: dict) -> str:
  """Shares on one line."""
  parts = []
  for split, shares in results.items():
    parts.append(f"{split}: " + " ".join(f"{name} {share:.1%}" for name, share in shares.items()))
  return "  ".join(parts)


if __name__ == "__main__":
  flags.DEFINE_string("out", "runs/release", "Where trainings, candidates and curves go.")
  flags.DEFINE_list("stages", list(STAGES), "Stages to train, in this order.")
  flags.DEFINE_integer("num_judged", 128, "Held-out captions of each split to judge by.", 1)
  flags.DEFINE_integer("judge_every", 1000, "Steps between judgements; 0 for none.", 0)
  flags.DEFINE_enum(
    "budget",
    "cpu",
    ["cpu", "gpu"],
    "Batches and steps for hours on two cores, or for minutes on one GPU.",
  )
  flags.DEFINE_multi_string(
    "override", [], "STAGE:config.field=value for one stage, *:config.field=value for all."
  )
  cli.run(main)
