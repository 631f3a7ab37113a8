"""Damages the checkpoints of a tiny video run in many ways, and checks that nothing wrong is read and nothing is lost.

python benchmarks/fuzz_checkpoints.py --count=200

Trains a super-resolution image stage and the video stage above it for two steps each, and gives the video run a second
checkpoint. Then, time after time, it damages a file of the newest checkpoint or of the frozen weights and reads the run as
sampling does and as a training that goes on does. What comes out is one of these, and is counted:

    harmless   the values that were written
    refused    one line that names the run
    older      a training: the checkpoint before it, with the damaged one in WORKDIR/damaged as it was

Anything else (other values, another error, more than a minute) ends the benchmark with an error.
"""

import collections
import pathlib
import random
import shutil
import signal
import sys
import tempfile

from absl import app, flags, logging

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))  # for configs/

_COUNT = flags.DEFINE_integer("count", 200, "How often something is damaged.")
_SEED = flags.DEFINE_integer("seed", 0, "Of what is damaged, and how.")

NEWEST = "checkpoints/3"


def flip(content: bytearray, draw: random.Random) -> bytes:
  """One bit."""
  content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
  return content


def overwrite(content: bytearray, draw: random.Random) -> bytes:
  """A run of bytes, by others."""
  first = draw.randrange(len(content))
  length = min(draw.randrange(1, 600), len(content) - first)
  content[first : first + length] = draw.choice([bytes(length), draw.randbytes(length)])
  return content


def exchange(content: bytearray, draw: random.Random) -> bytes:
  """Two numbers, by each other."""
  if len(content) < 8:
    return flip(content, draw)
  first, second = (4 * draw.randrange(len(content) // 4) for _ in range(2))
  content[first : first + 4], content[second : second + 4] = (
    content[second : second + 4],
    content[first : first + 4],
  )
  return content


def cut(content: bytearray, draw: random.Random) -> bytes:
  """The end is missing."""
  return content[: draw.randrange(len(content))]


def remove(content: bytearray, draw: random.Random) -> None:
  """The whole file is."""


KINDS = (flip, flip, overwrite, exchange, cut, remove)


def train(root: pathlib.Path) -> pathlib.Path:
  """A video run with checkpoints of steps 2 and 3."""
  from lumiere.training import loop
  from tests.lumiere.experiments import micro

  loop.train(micro("ssr_image", root / "data", num_steps=2), root / "image")
  settings = dict(num_steps=3, max_checkpoints=2)
  loop.train(micro("ssr", root / "data", root / "image", **settings), root / "video")
  return root / "video"


class Place:
  """A loader's place."""

  def __iter__(self):
    return self

  def __next__(self):
    raise StopIteration

  def set_state(self, state):
    """Keeps it."""
    self.state = dict(state)


def sampled(workdir: pathlib.Path):
  """Everything that sampling reads."""
  from lumiere import checkpoints, checksums

  trained = checkpoints.load_trained(workdir, ("ssr",))
  sums = [checksums.inspect(tree)[0] for tree in (trained.params, trained.frozen)]
  return trained.step, sums, trained.experiment


def resumed(workdir: pathlib.Path):
  """Everything that a training reads when it goes on."""
  from lumiere import checkpoints, checksums
  from lumiere import mesh as meshes
  from lumiere.training import start
  from lumiere.training.stages import Stage

  record, place = checkpoints.find_record(workdir), Place()
  with checkpoints.Checkpoints(workdir) as manager:
    run = start.go_on(Stage(record.experiment), manager, meshes.one_device(), place)
  sums = [checksums.inspect(tree)[0] for tree in (run.state, run.frozen)]
  return int(run.state.step), sums, (record.experiment, record.provenance, place.state)


def outcome(read, workdir: pathlib.Path, written: dict) -> str:
  """What comes of reading; raises AssertionError if it is what must not be."""
  from lumiere import checkpoints

  signal.alarm(60)
  try:
    found = read(workdir)
  except checkpoints.CheckpointError as error:
    assert str(workdir) in str(error) and "\n" not in str(error), error
    assert not (workdir / "damaged").exists()
    return "refused"
  finally:
    signal.alarm(0)
  assert found == written[found[0]], f"other values were read, of step {found[0]}"
  return "harmless" if found[0] == 3 else "older"


def main(_):
  """Trains, damages, counts."""
  from lumiere import trees

  logging.set_verbosity(logging.FATAL)
  draw, counts = random.Random(_SEED.value), collections.Counter()
  with tempfile.TemporaryDirectory() as folder:
    whole = train(pathlib.Path(folder))
    trees.PAUSE = 0.0
    run = whole.with_name("run")
    written = {read: {3: read(whole)} for read in (sampled, resumed)}
    shutil.copytree(whole, run)
    shutil.rmtree(run / NEWEST)
    for read in written:
      written[read][2] = read(run)
    for _ in range(_COUNT.value):
      shutil.rmtree(run)
      shutil.copytree(whole, run)
      part = draw.choice([NEWEST, NEWEST, "frozen"])
      files = sorted(path for path in (run / part).rglob("*") if path.is_file())
      path, kind = draw.choice(files), draw.choice(KINDS)
      content = kind(bytearray(path.read_bytes()), draw)
      if content is None:
        path.unlink()
      else:
        path.write_bytes(content)
      damaged = {p.name: p.read_bytes() for p in (run / NEWEST).rglob("*") if p.is_file()}
      for read in (sampled, resumed):
        try:
          counts[part, read.__name__, outcome(read, run, written[read])] += 1
        except BaseException:
          print(f"{kind.__name__} {path.relative_to(run)}", file=sys.stderr)
          raise
      if (aside := run / "damaged" / "3").exists():
        kept = {p.name: p.read_bytes() for p in aside.rglob("*") if p.is_file()}
        assert kept == damaged, "what was moved aside has changed"
  for part, read, result in sorted(counts):
    print(f"{part:<14} {read:<8} {result:<9} {counts[part, read, result]:>5}")
  print(f"{_COUNT.value} damaged files: nothing wrong was read, nothing was lost")


if __name__ == "__main__":
  app.run(main)
