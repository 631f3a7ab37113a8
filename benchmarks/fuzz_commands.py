"""Runs command lines that are wrong, and checks that each ends in one line on stderr, exit code 1 and nothing written.

python benchmarks/fuzz_commands.py [--cases=200] [--random_seed=0]

A case takes a command line of train.py, sample.py or `python -m lumiere.*` and spoils it: flags of other programs, misspelt
or without a value, values of another type, far too large or not finite, files that are not there or of another kind, config
fields that do not exist. Programs run in this process. A traceback, an exit code other than 1, more than one line or a new
file is counted as a fault; there may be none.
"""

import collections
import contextlib
import io
import os
import pathlib
import random
import runpy
import sys
import tempfile
import traceback

from absl import flags
from tqdm import tqdm

ROOT = pathlib.Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))  # for configs/ and tests/

from lumiere import cli  # noqa: E402

_CASES = flags.DEFINE_integer("cases", 200, "Wrong command lines.")
_SEED = flags.DEFINE_integer("random_seed", 0, "Of the mistakes.")

NUMBERS = ("-1", "99999999999999", "nan", "inf", "1e309", "x", "", "8.5")
NEEDED = {
  "sample.py": "--prompt=a --workdir={base}",
  "train.py": "--config=configs/t2i_tiny.py --workdir={out} --config.data.data_dir={out}",
  "lumiere.plan": "--config=configs/stunet_tiny.py --cost=abstract",
  "lumiere.convert": "--source={text} --out={out}",
  "lumiere.embed": "--config=configs/stunet_if.py:M --text_encoder={base} --out={out}",
  "lumiere.web": "--workdir={base} --style={base} --port=0",
}


def main():
  """Makes a small run to name, runs the cases and prints the counts; raises RuntimeError if there is a fault."""
  rng, counts, faults = random.Random(_SEED.value), collections.Counter(), []
  with tempfile.TemporaryDirectory() as folder:
    places = make_places(pathlib.Path(folder))
    before = listing(folder)
    for _ in tqdm(range(_CASES.value), disable=None):
      program = rng.choice(tuple(NEEDED))
      arguments = [word.format(**places) for word in NEEDED[program].split()]
      arguments += [word.format(**places) for word in rng.choice(MISTAKES[program])(rng)]
      counts[program] += 1
      fault = run(program, arguments)
      if not fault and (new := listing(folder) - before):
        fault, before = f"{sorted(new)[:3]} is left", before | new
      if fault:
        faults.append(f"{program} {' '.join(arguments)}: {fault}")
  print(
    f"{_CASES.value} command lines: " + ", ".join(f"{n} of {what}" for what, n in counts.items())
  )
  if faults:
    raise RuntimeError(f"{len(faults)} faults: " + "; ".join(faults[:10]))


def number(*names: str):
  """A flag with a number that it cannot take."""
  return lambda rng: [f"--{rng.choice(names)}={rng.choice(NUMBERS)}"]


def value(name: str, *values: str):
  """A flag with one of some wrong values."""
  return lambda rng: [f"--{name}={rng.choice(values)}"]


def words(*choices: str):
  """Arguments as they are."""
  return lambda rng: rng.choice(choices).split()


COMMON = (
  words("--nothing=1", "--verbose", "more", "-x", "--sede=1", "--=3", "--config.train.num_steps"),
  value("traceback", "perhaps"),
)
MISTAKES = {
  "sample.py": (
    *COMMON,
    number("steps", "num_frames", "batch_size", "seed", "base_window", "data", "fsdp", "frames"),
    value("fps", "0", "-1", "nan", "1e12", "1e-9"),
    value("guidance_scale", "-1", "nan", "inf", "x"),
    value("sampler", "euler", ""),
    value("format", "avi", ""),
    value("style", "{base}", "{out}", "{text}"),
    value("step", "7", "-1", "x"),
    value("ssr_workdir", "{base}", "{out}", "{text}"),
    value("prompts_file", "{out}", "{binary}", "{text}/no", "{base}"),
    value("text_encoder", "{base}", "{out}"),
    value("style_strength", "0.5", "2", "x"),
    words("--base_stride=2", "--ssr_steps=2", "--window=8", "--stride=4", "--image={picture}"),
    words("fill --video={picture} --border=1,2,3,x", "fill --video={binary} --box=0,0,8,8", "fill"),
    words("animate --image={binary}", "animate --image={picture} --at=99", "animate"),
    words("edit --video={text} --strength=0.5", "edit --strength=2", "edit --video={picture}/no"),
    words("extend", "extend --num_frames=-4", "extend --num_frames=7 --video={picture}"),
  ),
  "train.py": (
    *COMMON,
    value("config", "{text}", "{binary}", "{out}", "configs", "configs/t2i_tiny.py:Q", ""),
    lambda rng: [f"--config.{rng.choice(FIELDS)}={rng.choice(NUMBERS)}"],
    words("--config.trian.num_steps=1", "--config.data.folder.x=1", "--config.model=3"),
    words(
      "--config.stage=video", "--config.data.dataset=video_folder", "--config.init_from={text}"
    ),
    words("--process_id=1", "--num_processes=2", "--config.data.dataset=imagenet"),
  ),
  "lumiere.plan": (
    *COMMON,
    value("topology", "v9:4x4", "v5p", "v5p:0x4", "h100:x", "", "v5p:4x4x4x"),
    number("clips", "num_frames"),
    value("cost", "free", ""),
    words("--config.mesh.fsdp=7", "--config.temporal.head_dim=7", "--record"),
  ),
  "lumiere.convert": (
    words("", "--architecture=sd", "--to=torch", "--variant=fp16", "--report=x"),
    value("source", "{out}", "{binary}", "{base}", ""),
    *COMMON,
  ),
  "lumiere.embed": (
    *COMMON,
    words(""),
    value("text_encoder", "{out}", "{text}", ""),
    number("batch_size"),
  ),
  "lumiere.web": (*COMMON, words(""), number("port"), value("workdir", "{out}", "{text}", "")),
}
FIELDS = (
  "train.num_steps", "train.batch_size", "train.ema_decay", "optimizer.learning_rate", "data.resolution", "data.fps",
  "data.num_frames", "model.channels", "model.head_dim", "model.norm_groups", "text.max_length", "seed", "mesh.fsdp",
)  # fmt: skip


def make_places(folder: pathlib.Path) -> dict[str, str]:
  """What command lines name: a trained base, a text file, a binary one, a picture, and `out`, which is not there."""
  import numpy as np

  from lumiere.data import frames
  from lumiere.training import loop
  from tests.lumiere.experiments import micro

  quiet = dict(num_steps=1, checkpoint_every=1)
  with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
    loop.train(micro("t2i", folder / "data", **quiet), folder / "t2i")
    loop.train(micro("stunet", folder / "data", folder / "t2i", **quiet), folder / "base")
  (folder / "text").write_text("not what was expected\n")
  (folder / "binary").write_bytes(random.Random(0).randbytes(1000))
  frames.write_image(folder / "picture.png", np.zeros((8, 8, 3), np.uint8))
  names = {
    "base": "base",
    "text": "text",
    "binary": "binary",
    "picture": "picture.png",
    "out": "out",
  }
  return {name: str(folder / path) for name, path in names.items()}


def listing(folder: str) -> set[str]:
  """All files in a folder."""
  return {os.path.join(path, name) for path, _, names in os.walk(folder) for name in names}


def run(program: str, arguments: list[str]) -> str:
  """What is wrong with how a program ends; empty if nothing is."""
  known, before = set(flags.FLAGS), sys.argv
  out, err, code = io.StringIO(), io.StringIO(), 0
  sys.argv = [program, *arguments]
  try:
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
      if program.endswith(".py"):
        runpy.run_path(str(ROOT / program), run_name="__main__")
      else:
        runpy.run_module(program, run_name="__main__", alter_sys=True)
  except SystemExit as stop:
    code = stop.code or 0
  except BaseException:
    return traceback.format_exc(limit=-2)
  finally:
    sys.argv = before
    for name in set(flags.FLAGS) - known:
      delattr(flags.FLAGS, name)
    flags.FLAGS.unparse_flags()
    flags.FLAGS(["fuzz_commands"])
  lines = [line for line in err.getvalue().splitlines() if line.strip()]
  errors = [line for line in lines if line.startswith("error: ")]
  if code != 1:
    return f"exit code {code}, {lines[-1:]}"
  if len(errors) != 1 or "Traceback" in err.getvalue():
    return f"{len(errors)} errors in {len(lines)} lines: {lines[-1:]}"
  return ""


if __name__ == "__main__":
  cli.run(main)
