"""Kills a curation at random moments, again and again, and compares what it leaves with an uninterrupted one, byte for byte.

python benchmarks/curation_kills.py --kills=50
"""

import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time

from absl import flags

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))  # for tests/

from lumiere import cli  # noqa: E402


def main():
  """Runs, kills, compares; fails if a byte differs."""
  from tests.lumiere.data.curation.footage import pan, write

  root, rng = pathlib.Path(tempfile.mkdtemp()), random.Random(flags.FLAGS.seed)
  (root / "videos").mkdir()
  for index in range(flags.FLAGS.num_videos):
    write(root / "videos" / f"{index}.mp4", pan(index, 60), pan(1000 + index, 60))
    (root / "videos" / f"{index}.txt").write_text(f"texture {index}")
  begun = time.perf_counter()
  subprocess.run(
    command(root, "whole"), check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
  )
  took, kills, out = time.perf_counter() - begun, 0, "killed"
  finished = 0
  while True:
    process = subprocess.Popen(
      command(root, out),
      start_new_session=True,
      stdout=subprocess.DEVNULL,
      stderr=subprocess.DEVNULL,
    )
    if kills == flags.FLAGS.kills:
      process.wait()
      break
    try:
      process.wait(rng.uniform(0, 1.2 * took))
      compare(root, out)
      finished += 1
      shutil.rmtree(root / out)  # the next one begins anew
    except subprocess.TimeoutExpired:
      os.killpg(process.pid, signal.SIGKILL)
      process.wait()
      kills += 1
  compare(root, out)
  print(
    f"{kills} kills, {finished + 1} curations that came to their end: all bytes are those of the uninterrupted one"
  )


def command(root: pathlib.Path, out: str) -> list[str]:
  """Of a curation in two processes."""
  given = [f"--videos={root / 'videos'}", f"--out={root / out}", "--num_frames=8", "--fps=8"]
  sizes = ["--files_per_shard=2", "--clips_per_file=4", "--workers=2", "--write", "--report"]
  return [sys.executable, "-m", "lumiere.curate", *given, *sizes]


def compare(root: pathlib.Path, out: str):
  """Raises RuntimeError if a file differs, is missing or too many."""
  one, other = contents(root / "whole"), contents(root / out)
  if wrong := [name for name in one.keys() | other.keys() if one.get(name) != other.get(name)]:
    raise RuntimeError(
      f"{root / out}: {', '.join(sorted(wrong)[:5])} differ from the uninterrupted curation"
    )


def contents(folder: pathlib.Path) -> dict[str, bytes]:
  """Of all files but those that a kill left half-written."""
  files = (p for p in folder.rglob("*") if p.is_file() and not p.name.endswith(".partial"))
  return {str(path.relative_to(folder)): path.read_bytes() for path in files}


if __name__ == "__main__":
  flags.DEFINE_integer("kills", 50, "Number of kills.", 0)
  flags.DEFINE_integer("num_videos", 12, "Videos.", 1)
  flags.DEFINE_integer("seed", 0, "Of the moments.")
  cli.run(main)
