"""How long a command takes from nothing to its result: at its first start, which compiles, and at its second.

python benchmarks/startup.py --out=out/startup

Each command has a cache folder of its own, which is empty at the first start. sample.py writes its video file; train.py trains
one step, on data that was prepared before, and writes a checkpoint.
"""

import json
import os
import pathlib
import shutil
import subprocess
import sys
import time

from absl import flags

from lumiere import cli

ROOT = pathlib.Path(__file__).parents[1]
PROMPT = "--prompt=a red circle bounces on navy"


def main():
  """Runs the commands, prints a table, and writes startup.json."""
  out = pathlib.Path(flags.FLAGS.out).resolve()
  shutil.rmtree(out, ignore_errors=True)
  out.mkdir(parents=True)
  data = f"--config.data.data_dir={out / 'data'}"
  one_step = ["--config.train.num_steps=1", "--config.train.sample_every=0", "--config.train.eval_every=0"]  # fmt: skip
  stages = {
    "t2i": ["train.py", "--config=configs/t2i_tiny.py", data, *one_step],
    "stunet": ["train.py", "--config=configs/stunet_tiny.py", data, *one_step],
  }
  image = out / "t2i"
  run([*stages["t2i"], f"--workdir={image}"], out / "unmeasured")  # also prepares the data
  commands = {
    "sample.py, to the file": lambda turn: ["sample.py", PROMPT, f"--out={out / f'video{turn}'}"],
    "train.py, one step of t2i_tiny": lambda turn: [*stages["t2i"], f"--workdir={out / f't{turn}'}"],
    "train.py, one step of stunet_tiny": lambda turn: [
      *stages["stunet"], f"--config.init_from={image}", f"--workdir={out / f's{turn}'}"
    ],
  }  # fmt: skip
  results = {}
  for name, command in commands.items():
    cache = out / "cache" / name.replace("/", "_")
    results[name] = [run(command(turn), cache) for turn in range(flags.FLAGS.starts)]
    later = results[name][1:]
    print(
      f"{name:<36} first {results[name][0]:5.1f} s, then {min(later):5.1f} to {max(later):.1f} s"
    )
  (out / "startup.json").write_text(json.dumps(results, indent=2) + "\n")


def run(command: list[str], cache: pathlib.Path) -> float:
  """Seconds that a command takes with a cache folder."""
  environment = {name: value for name, value in os.environ.items() if not name.startswith("JAX_")}
  begun = time.perf_counter()
  subprocess.run(
    [sys.executable, *command],
    cwd=ROOT,
    env=environment | {"LUMIERE_CACHE": str(cache)},
    check=True,
    stdout=subprocess.DEVNULL,
    stderr=subprocess.DEVNULL,
  )
  return time.perf_counter() - begun


if __name__ == "__main__":
  flags.DEFINE_string("out", "out/startup", "Where the figures go.")
  flags.DEFINE_integer("starts", 3, "Starts of each command, of which the first compiles.", 2)
  cli.run(main)
