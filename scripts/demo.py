"""What the model that ships makes of captions and of given pixels, and that every stage trains and resumes.

python scripts/demo.py --out=out/demo

OUT/index.html shows the videos with their captions and figures.
"""

import os
import pathlib
import sys
import tempfile
import time

from absl import flags

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))

from lumiere import cli  # noqa: E402  (runs from anywhere)
from scripts.demo_train import Row, Stage, run_all  # noqa: E402

# Steps of every stage; the second run resumes what the first one left.
STEPS = (2, 3)
# Narrower networks and an optimizer of fewer operations, which compile faster.
SMALLER = ("model.channels=(32,32)", "optimizer.name=adam", "train.batch_size=4")


def main():
  """Samples on one half of the cores and trains on the other."""
  out = pathlib.Path(flags.FLAGS.out)
  begun = time.perf_counter()
  with tempfile.TemporaryDirectory(prefix="lumiere_demo_") as cache:
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", cache)  # resuming compiles nothing again
    rows = run_all(make_stages(out), flags.FLAGS.programs_at_a_time)
  rows.append(Row("in all", time.perf_counter() - begun))
  print(f"\n{'stage':<20}{'time':>8}{'peak memory':>14}", *rows, sep="\n")
  print(
    f"\nOpen {out / 'index.html'} in a browser: it shows the videos and what the judge says of them."
  )


def make_stages(out: pathlib.Path) -> dict[str, Stage]:
  """The programs by name."""
  training = [
    "scripts/train_release.py",
    f"--out={out / 'training'}",
    "--judge_every=0",
    *(f"--override=*:config.{change}" for change in SMALLER),
  ]
  first, second = ([*training, f"--override=*:config.train.num_steps={n}"] for n in STEPS)
  return {
    "showcase": Stage(["scripts/showcase.py", f"--out={out}"]),
    "training": Stage(first),
    "training, resumed": Stage(second, ["training"]),
  }


if __name__ == "__main__":
  flags.DEFINE_string("out", "out/demo", "Folder for the page, videos, images and trainings.")
  flags.DEFINE_integer(
    "programs_at_a_time", 2, "Each has its share of the cores; 1 for an accelerator.", 1
  )
  cli.run(main)
