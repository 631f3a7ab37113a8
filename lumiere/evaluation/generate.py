"""The videos that a benchmark asks for: any number from a list of prompts, in a folder that can be gone on with.

Video i has prompt i modulo their number and depends on (seed, i) only, however the work is split. FOLDER/captions.csv names all.
"""

import csv
import hashlib
import importlib.resources
import pathlib
from collections.abc import Sequence

from tqdm import tqdm

from lumiere import files
from lumiere.data import frames
from lumiere.sampling.cascade import Cascade
from lumiere.sampling.prompts import read_prompts

UCF101 = "ucf101"
_UCF101_FILE = "ucf101_prompts.csv"


def prompts_of(name: str) -> list[str]:
  """Prompts by their name.

  Args:
    name: "ucf101" for a sentence for each of its classes, in the order of the classes; a text file, one prompt a line; or a
      .json file as MSR-VTT's captions are published, of which those of the split "test" are taken, in their order there.

  Raises:
    ValueError: if a file holds no prompt.
    OSError: if it cannot be read.
  """
  if name == UCF101:
    path = importlib.resources.files("lumiere.evaluation.metrics") / _UCF101_FILE
    return [row["prompt"] for row in csv.DictReader(path.read_text().splitlines())]
  if name.endswith(".json"):
    return _msrvtt_captions(pathlib.Path(name))
  return [str(prompt) for prompt in read_prompts((), name)]


def _msrvtt_captions(path: pathlib.Path) -> list[str]:
  """Of {"videos": [{"video_id", "split"}], "sentences": [{"video_id", "caption"}]}."""
  content = files.read_json(path)
  try:
    test = {video["video_id"] for video in content["videos"] if video["split"] == "test"}
    captions = [row["caption"].strip() for row in content["sentences"] if row["video_id"] in test]
  except (KeyError, TypeError, AttributeError) as error:
    raise ValueError(
      f"{path} is not of MSR-VTT's form, lists 'videos' and 'sentences': {error!r}"
    ) from error
  if not captions:
    raise ValueError(f"{path} has no caption of a video with split 'test'")
  return captions


def checksum_of(prompts: Sequence[str]) -> str:
  """16 hexadecimal digits that stand for a list of prompts."""
  return hashlib.sha256("\n".join(prompts).encode()).hexdigest()[:16]


def name_of(index: int) -> str:
  """The file of a video."""
  return f"{index:06d}.mp4"


def generate(
  cascade: Cascade,
  prompts: Sequence[str],
  folder: pathlib.Path,
  count: int,
  *,
  seed: int = 0,
  batch_size: int = 8,
  shard: tuple[int, int] = (0, 1),
) -> int:
  """Makes the videos that are not there yet.

  Args:
    cascade: the model.
    prompts: captions.
    folder: where videos go.
    count: videos in all.
    seed: of all noise.
    batch_size: videos at a time.
    shard: (i, n): only the batches i, i + n, i + 2n, ...

  Returns:
    how many were made.

  Raises:
    ValueError: if the folder has the videos of other prompts.
  """
  folder.mkdir(parents=True, exist_ok=True)
  captions = [prompts[index % len(prompts)] for index in range(count)]
  _write_captions(folder / "captions.csv", captions)
  fps, made = cascade.base.experiment.data.fps, 0
  starts = list(range(0, count, batch_size))[shard[0] :: shard[1]]
  for start in tqdm(starts, unit="batch", disable=None):
    batch = captions[start : start + batch_size]
    paths = [folder / name_of(start + place) for place in range(len(batch))]
    if all(path.exists() for path in paths):
      continue
    padded = batch + batch[-1:] * (batch_size - len(batch))  # one size, one compilation
    videos = cascade.generate(padded, seed=seed, first_index=start)
    for path, video in zip(paths, videos, strict=False):
      partial = path.with_name(f".{path.name}")
      frames.write_video(partial, video, fps)
      partial.replace(path)  # a file is whole or not there
    made += len(batch)
  return made


def _write_captions(path: pathlib.Path, captions: Sequence[str]):
  rows = [["file", "caption"], *([name_of(i), caption] for i, caption in enumerate(captions))]
  if path.exists():
    with path.open(newline="", encoding="utf-8") as file:
      there = list(csv.reader(file))
    shared = min(len(there), len(rows))
    if there[:shared] != rows[:shared]:
      raise ValueError(
        f"{path} names other videos: --videos must be a new folder, or one with the same prompts"
      )
    if len(there) >= len(rows):
      return
  with path.open("w", newline="", encoding="utf-8") as file:
    csv.writer(file).writerows(rows)
