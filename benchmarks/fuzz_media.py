"""Reads damaged media, caption and prompt files, and checks that each is read or refused in one clear line.

python benchmarks/fuzz_media.py [--cases=300] [--seed=0]

A case takes one of the files that the tests read and cuts it off, changes bytes anywhere or in its header, overwrites a
run of bytes or removes one. Media go through the readers of pictures, videos and masks and of the folder dataset, texts
through those of captions and prompts. Whatever is not a ValueError of one line, or takes more than a minute, is counted as
a fault; there may be none. (A changed byte in a compressed picture often gives other colours, as it does in
every player: that cannot be seen.)
"""

import collections
import pathlib
import random
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable

from absl import flags, logging
from tqdm import tqdm

ROOT = pathlib.Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from lumiere import cli  # noqa: E402

_CASES = flags.DEFINE_integer("cases", 300, "Damaged files.")
_SEED = flags.DEFINE_integer("seed", 0, "Of the damage.")

FILES = ROOT / "tests" / "lumiere" / "data" / "cases"
TEXTS = (".txt", ".jsonl", ".csv")
CAPTIONS = 'file,caption\nclip.mp4,a red circle\n"b c.mp4","a ""blue"" square, small"\n'
SECONDS = 60


def main():
  """Runs the cases and prints the counts; raises RuntimeError if there is a fault."""
  logging.set_verbosity(logging.ERROR)  # what is lost of a file is warned of
  signal.signal(signal.SIGALRM, hang)
  rng, counts, faults = random.Random(_SEED.value), collections.Counter(), []
  with tempfile.TemporaryDirectory() as name:
    folder = pathlib.Path(name)
    (folder / "captions.csv").write_text(CAPTIONS)
    sources = sorted(FILES.iterdir()) + [folder / "captions.csv"]
    for index in tqdm(range(_CASES.value), disable=None):
      source = rng.choice(sources)
      path = folder / str(index) / source.name
      path.parent.mkdir()
      path.write_bytes(damaged(source.read_bytes(), rng))
      for reader, read in readers(path).items():
        outcome, fault = check(read, path.name)
        counts[f"{reader}: {outcome}"] += 1
        if fault:
          faults.append(f"{reader} of case {index}, {source.name}: {fault}")
  print(f"{_CASES.value} files; " + ", ".join(f"{what} {n}" for what, n in sorted(counts.items())))
  if faults:
    raise RuntimeError(f"{len(faults)} faults: " + "; ".join(faults[:10]))


def damaged(content: bytes, rng: random.Random) -> bytes:
  """A copy with one kind of damage."""
  content = bytearray(content)
  place, kind = rng.randrange(len(content)), rng.randrange(5)
  if kind == 0:
    del content[place:]
  elif kind == 1:
    for _ in range(rng.randrange(1, 60)):
      content[rng.randrange(len(content))] = rng.randrange(256)
  elif kind == 2:
    run = rng.randbytes(rng.randrange(1, 400))
    content[place : place + len(run)] = run
  elif kind == 3:
    del content[place : place + rng.randrange(1, 300)]
  else:
    for _ in range(rng.randrange(1, 20)):
      content[rng.randrange(min(len(content), 300))] = rng.randrange(256)
  return bytes(content)


def readers(path: pathlib.Path) -> dict[str, Callable]:
  """What reads files of this kind."""
  from lumiere.data import frames
  from lumiere.data.video_folder.captions import find_videos, read_captions
  from lumiere.data.video_folder.clips import read_clips
  from lumiere.sampling.prompts import read_prompts

  if path.suffix == ".txt":
    return {"prompts": lambda: read_prompts([], str(path))}
  if path.suffix in TEXTS:
    captions = path.rename(path.with_name(f"captions{path.suffix}"))
    (captions.parent / "clip.mp4").touch()
    return {"captions": lambda: read_captions(captions.parent, find_videos(captions.parent))}
  clips = dict(num_frames=4, fps=8, resolution=16, seed=0)
  return {
    "picture": lambda: frames.read_image(path),
    "video": lambda: frames.read_video(path, 8, lambda frame: frames.fit(frame, 16)),
    "mask": lambda: frames.read_mask(path, 8),
    "clips": lambda: list(read_clips(path.parent, path.name, **clips)),
  }


def check(read: Callable, name: str) -> tuple[str, str]:
  """("read", "refused" or "fault", what is wrong)."""
  signal.alarm(SECONDS)
  try:
    read()
    return "read", ""
  except ValueError as error:
    message = str(error)
    return ("refused", "") if "\n" not in message else ("fault", f"{name}: {message!r}")
  except BaseException:
    return "fault", traceback.format_exc(limit=-2)
  finally:
    signal.alarm(0)


def hang(*_):
  """Ends what takes too long."""
  raise TimeoutError(f"more than {SECONDS} s")


if __name__ == "__main__":
  cli.run(main)
