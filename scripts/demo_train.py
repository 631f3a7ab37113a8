"""Every stage trained in miniature, from nothing: prepares the data, trains, generates videos and scores them.

python scripts/demo_train.py --out=out/demo_train

Training runs that are finished are not repeated: a second call continues where the first one stopped.
"""

import dataclasses
import graphlib
import importlib
import json
import os
import pathlib
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent import futures

from absl import flags
from ml_collections import config_flags

ROOT = pathlib.Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))  # for configs/

from benchmarks import judge  # noqa: E402
from lumiere import cli  # noqa: E402
from scripts import style_pictures  # noqa: E402


@dataclasses.dataclass(frozen=True)
class Stage:
  """One of our programs.

  Attributes:
    command: its file and flags.
    after: stages that must have ended before.
  """

  command: Sequence[str]
  after: Sequence[str] = ()


# config: (run that it starts from, steps): as many steps as a quarter of an hour allows. Some of the configs train longer by
# themselves, and their conditional base starts from an unconditional one.
TRAININGS = {
  "t2i_tiny": (None, 650),
  "ssr_image_tiny": (None, 350),
  "ssr_tiny": ("ssr_image_tiny", 150),
  "stunet_masked_tiny": ("t2i_tiny", 350),
  "t2i_style_tiny": ("t2i_tiny", 150),
}
PROMPTS = (
  "a red circle moves to the left quickly on black",
  "a yellow square spins clockwise slowly on navy",
  "a cyan triangle bounces up and down fast on gray",
  "a magenta circle gets bigger quickly on black",
  "one green square drifts down slowly on gray",
  "a white triangle orbits counterclockwise fast on navy",
)


def main():
  """Runs the stages and prints their time and memory."""
  out, runs = pathlib.Path(flags.FLAGS.out), pathlib.Path(flags.FLAGS.runs)
  out.mkdir(parents=True, exist_ok=True)
  begun = time.perf_counter()
  prepare(out)
  table = [Row("data", time.perf_counter() - begun)]
  table += run_all(make_stages(runs, out), flags.FLAGS.programs_at_a_time)
  table.append(Row("in all", time.perf_counter() - begun))
  results = json.loads((out / "judge.json").read_text())
  report = {"stages": [dataclasses.asdict(row) for row in table], **results}
  (out / "report.json").write_text(json.dumps(report, indent=2) + "\n")
  print(f"\n{'stage':<20}{'time':>8}{'peak memory':>14}", *table, sep="\n")
  print(judge.tables(results))
  print(f"\nVideos, sheet.png, applications.png and report.json are in {out}")


def make_stages(runs: pathlib.Path, out: pathlib.Path) -> dict[str, Stage]:
  """All programs by name, in order of priority."""
  stages = {}
  for name, (parent, num_steps) in TRAININGS.items():
    command = ["train.py", f"--config=configs/{name}.py", f"--workdir={runs / name}"]
    command.append(f"--config.train.num_steps={num_steps}")
    if name == "t2i_style_tiny":
      command.append(f"--config.data.folder={out / 'pictures'}")
    if parent:
      command.append(f"--config.init_from={runs / parent}")
    stages[name] = Stage([*command, *overrides(name)], [parent] if parent else [])
  models = [f"--workdir={runs / 'stunet_masked_tiny'}", f"--ssr_workdir={runs / 'ssr_tiny'}"]
  trained, style = ("stunet_masked_tiny", "ssr_tiny"), "t2i_style_tiny"
  judged = [f"--num_judged={flags.FLAGS.num_judged}", f"--num_refined={flags.FLAGS.num_refined}"]
  prompts = [f"--prompt={prompt}" for prompt in PROMPTS]
  return stages | {
    "judge": Stage(["benchmarks/judge.py", *models, *judged, f"--out={out}"], trained),
    "applications": Stage(
      ["scripts/applications_sheet.py", *models, f"--style={runs / style}", f"--out={out}"],
      (*trained, style),
    ),
    "sample": Stage(["sample.py", *prompts, *models, f"--out={out}"], trained),
  }


def overrides(name: str) -> list[str]:
  """The flags that --override gives a training."""
  pairs = [value.split(":", 1) for value in flags.FLAGS.override]
  if bad := [pair for pair in pairs if len(pair) < 2 or pair[0] not in (*TRAININGS, "*")]:
    raise ValueError(
      f"--override={':'.join(bad[0])!r} must be NAME:config.field=value, NAME one of *, {', '.join(TRAININGS)}"
    )
  return [f"--{change}" for target, change in pairs if target in (name, "*")]


def prepare(out: pathlib.Path):
  """Prepares the dataset that all training runs share, and the images of the style."""
  from lumiere.data import sources
  from lumiere.experiment import Experiment

  print("== data", flush=True)
  values, name = flags.FlagValues(), "stunet_masked_tiny"
  config = importlib.import_module(f"configs.{name}").get_config()
  argv = [sys.argv[0], *overrides(name)]
  config_flags.DEFINE_config_dict("config", config, flag_values=values, sys_argv=argv)
  values(argv)
  sources.make_source(Experiment.from_config(config).data, "train")
  if not (out / "pictures").exists():
    style_pictures.draw(out / "pictures")


@dataclasses.dataclass(frozen=True)
class Row:
  """Time and peak memory of a finished stage; memory is None where it was not measured."""

  stage: str
  seconds: float
  peak_bytes: int | None = None

  def __str__(self) -> str:
    peak = f"{self.peak_bytes / 2**30:.1f} GiB" if self.peak_bytes else ""
    return f"{self.stage:<20}{self.seconds:>6.0f} s{peak:>14}"


def run_all(stages: Mapping[str, Stage], at_a_time: int) -> list[Row]:
  """Runs programs, each after those that it needs, up to `at_a_time` at once.

  Steps of networks this small hardly gain from a second core, so each program gets its own share of the cores.

  Returns:
    a row per program, in the order in which they finished.

  Raises:
    RuntimeError: if one fails; the others are stopped first.
  """
  order = graphlib.TopologicalSorter({name: stage.after for name, stage in stages.items()})
  order.prepare()
  cores = max(1, (os.cpu_count() or 1) // at_a_time)
  rows, pending, processes = [], set(), []
  with futures.ThreadPoolExecutor(at_a_time) as pool:
    try:
      while order.is_active():
        for name in sorted(order.get_ready(), key=list(stages).index):
          pending.add(pool.submit(run, name, stages[name].command, cores, processes))
        done, pending = futures.wait(pending, return_when=futures.FIRST_COMPLETED)
        for future in done:
          rows.append(future.result())
          order.done(rows[-1].stage)
    except BaseException:
      pool.shutdown(wait=False, cancel_futures=True)
      for process in processes:
        process.terminate()  # trainings save first
      raise
  return rows


def run(name: str, command: Sequence[str], cores: int, processes: list[subprocess.Popen]) -> Row:
  """Runs a program to its end and prefixes its output with its name; adds its process to `processes`."""
  print(f"== {name}: python {' '.join(command)}", flush=True)
  begun = time.perf_counter()
  with subprocess.Popen(
    [sys.executable, *command],
    cwd=ROOT,
    # NPROC is XLA's number of threads. Progress bars would mix, as several programs run at once.
    env=os.environ | {"NPROC": str(cores), "TQDM_DISABLE": "1"},
    text=True,
    stdout=subprocess.PIPE,
    stderr=subprocess.STDOUT,
  ) as process:
    processes.append(process)
    for line in process.stdout:
      print(f"{name:<18} | {line}", end="", flush=True)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
  if process.returncode:
    raise RuntimeError(f"stage {name} failed; its message is above")
  # Kilobytes on Linux, bytes on a Mac.
  unit = 1 if sys.platform == "darwin" else 1024
  return Row(name, round(time.perf_counter() - begun, 1), usage.ru_maxrss * unit)


if __name__ == "__main__":
  flags.DEFINE_string("out", "out/demo_train", "Folder for videos, images and the report.")
  flags.DEFINE_string("runs", "runs", "Folder for the training runs.")
  # The configs hold out 256.
  flags.DEFINE_integer("num_judged", 64, "Held-out captions to judge by.", 1, 256)
  flags.DEFINE_integer(
    "num_refined", 16, "Number of their videos that are upsampled and judged again.", 1
  )
  flags.DEFINE_integer(
    "programs_at_a_time", 2, "Each has its share of the cores; 1 for an accelerator.", 1
  )
  flags.DEFINE_multi_string(
    "override", [], "NAME:config.field=value for one training, *:config.field=value for all."
  )
  cli.run(main)
