"""Damages the workdir of a run, and checks that what sampling and a resume read is what was written, or is refused.

python benchmarks/fuzz_checkpoints.py [--cases=100] [--seed=0]

A small video run is trained, frozen weights included. A case takes one of its files and changes bits, cuts it off, empties it,
removes it, overwrites it with zeros or with another file's bytes. Sampling and a resume may then read the very same values,
or end in a CheckpointError of one line that names the workdir. Other values, other errors, and a checkpoint that is gone
afterwards are counted as faults; there may be none.
"""

import collections
import contextlib
import io
import pathlib
import random
import shutil
import sys
import tempfile
import traceback

from absl import flags
from tqdm import tqdm

ROOT = pathlib.Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))  # for configs/ and tests/

from lumiere import cli  # noqa: E402

_CASES = flags.DEFINE_integer("cases", 100, "Damaged files.")
_SEED = flags.DEFINE_integer("seed", 0, "Of the damage.")


def main():
  """Runs the cases and prints the counts; raises RuntimeError if there is a fault."""
  from lumiere import trees
  from lumiere.training import loop
  from tests.lumiere.experiments import micro

  trees.PAUSE = 0.0  # before the second try
  rng, counts, faults = random.Random(_SEED.value), collections.Counter(), []
  with tempfile.TemporaryDirectory() as name:
    folder = pathlib.Path(name)
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
      loop.train(micro("t2i", folder / "data", num_steps=2), folder / "t2i")
      loop.train(micro("stunet", folder / "data", folder / "t2i"), folder / "run")
    run = folder / "run"
    whole = {reader: read(run) for reader, read in readers().items()}
    parts = [run / "checkpoints", run / "frozen"]
    files = sorted(path for part in parts for path in part.rglob("*") if path.is_file())
    for index in tqdm(range(_CASES.value), disable=None):
      copy = shutil.copytree(run, folder / "copies" / str(index))
      path = rng.choice(files)
      how = damage(copy / path.relative_to(run), files, rng)
      for reader, read in readers().items():
        outcome, fault = check(read, copy, whole[reader])
        counts[f"{reader}: {outcome}"] += 1
        if fault:
          faults.append(f"{reader}, {path.relative_to(run)} {how}: {fault}")
      shutil.rmtree(copy)
  print(
    f"{_CASES.value} workdirs; " + ", ".join(f"{what} {n}" for what, n in sorted(counts.items()))
  )
  if faults:
    raise RuntimeError(f"{len(faults)} faults: " + "; ".join(faults[:10]))


def damage(path: pathlib.Path, files: list[pathlib.Path], rng: random.Random) -> str:
  """Damages a file; returns how."""
  content = bytearray(path.read_bytes())
  how = rng.choice(("flipped", "flipped", "cut", "emptied", "removed", "zeros", "another's"))
  place = rng.randrange(len(content)) if content else 0
  if how == "removed":
    path.unlink()
    return how
  if how == "flipped" and content:
    content[place] ^= 1 << rng.randrange(8)
  elif how == "cut":
    del content[place:]
  elif how == "emptied":
    content.clear()
  elif how == "zeros":
    content[place:] = bytes(len(content) - place)
  elif how == "another's":
    content = rng.choice(files).read_bytes()
  path.write_bytes(content)
  return how


def readers() -> dict:
  """What reads a workdir: `read(workdir)` gives its step and sums of all that was read."""
  from lumiere import checkpoints, checksums
  from lumiere import mesh as meshes
  from lumiere.training import start
  from lumiere.training.stages import Stage

  class Place:
    """Of a loader."""

    def set_state(self, state):
      """Keeps it."""
      self.state = dict(state)

  def sample(workdir):
    trained = checkpoints.load_trained(workdir, ("stunet",))
    return trained.step, [checksums.inspect(tree)[0] for tree in (trained.params, trained.frozen)]

  def resume(workdir):
    record, place = checkpoints.find_record(workdir), Place()
    with checkpoints.Checkpoints(workdir) as manager:
      run = start.go_on(Stage(record.experiment), manager, meshes.one_device(), place)
    sums = [checksums.inspect(tree)[0] for tree in (run.state, run.frozen)]
    return int(run.state.step), sums, place.state

  return {"sampling": sample, "resume": resume}


def check(read, workdir: pathlib.Path, whole) -> tuple[str, str]:
  """("same", "refused", "older" or "fault", what is wrong)."""
  from lumiere.checkpoints import CheckpointError

  try:
    found = read(workdir)
  except CheckpointError as error:
    message = str(error)
    fine = str(workdir) in message and "\n" not in message
    return ("refused", "") if fine else ("fault", repr(message))
  except Exception:
    return "fault", traceback.format_exc(limit=-2)
  if found == whole:
    return "same", ""
  # A resume that cannot read the newest checkpoint takes the one before it, and keeps what it could not read.
  if found[0] < whole[0] and (workdir / "damaged").exists():
    return "older", ""
  return "fault", f"step {found[0]} for {whole[0]}, or other values"


if __name__ == "__main__":
  cli.run(main)
