"""A curation on disk, which goes on where it was stopped.

OUT/settings.json              what is cut from which files
OUT/looked/N.sources.parquet   of so many files, and N.clips.parquet beside it, written before: what was looked at
OUT/looked/N.score.NAME.parquet   scores of one's own
OUT/sources.parquet            of all files
OUT/clips.parquet              of all clips, with what was decided
OUT/records/                   the clips that were kept, as a dataset
OUT/report/                    a page about all of it

Tables are written whole or not at all, and depend on the files and the settings alone: after a kill, or from several machines,
they are the same, byte for byte.
"""

import dataclasses
import functools
import hashlib
import json
import pathlib
from collections.abc import Sequence

import cv2
import pandas as pd

from lumiere.data import archives
from lumiere.data.curation import captions as table_captions
from lumiere.data.curation import records, report, scores, table
from lumiere.data.curation.captions import Caption
from lumiere.data.curation.decide import KEPT, decide, file_counts, kinds
from lumiere.data.curation.look import ClipSettings, look
from lumiere.data.curation.runners import Runner
from lumiere.data.video_folder.captions import Found, find_videos, read_captions

SETTINGS = "settings.json"


@dataclasses.dataclass(frozen=True)
class Job:
  """What is to be done.

  Attributes:
    folder: of the videos.
    out: where the tables go.
    settings: of the clips.
    found: videos and captions.
    files_per_shard: files of one table in OUT/looked.
  """

  folder: pathlib.Path
  out: pathlib.Path
  settings: ClipSettings
  found: Found
  files_per_shard: int

  @classmethod
  def make(
    cls, folder: pathlib.Path, out: pathlib.Path, settings: ClipSettings, files_per_shard: int
  ) -> "Job":
    """A new job, or one that goes on; `folder` may also be an archive, or a table of files.

    Raises:
      FileNotFoundError: if there is no such folder.
      ValueError: if there is no video in it, the table cannot be read, or `out` is of another job: names what differs.
    """
    found = videos_of(folder)
    if not found.videos:
      raise ValueError(f"--videos={folder}: there is no video in it")
    folder = folder.parent if is_table(folder) else folder
    job = cls(folder, out, settings, found, files_per_shard)
    asked = job.described()
    path = out / SETTINGS
    if path.exists():
      before = json.loads(path.read_text())
      if differ := [name for name in asked if asked[name] != before.get(name)]:
        changes = ", ".join(
          f"{name}: {asked[name]} here, {before.get(name)} there" for name in differ
        )
        raise ValueError(
          f"--out={out} was made with other settings or files ({changes}): give another folder"
        )
    else:
      (out / "looked").mkdir(parents=True, exist_ok=True)
      partial = path.with_name(f"{SETTINGS}.partial")
      partial.write_text(json.dumps(asked, indent=2) + "\n")
      partial.rename(path)
    return job

  def described(self) -> dict[str, object]:
    """What the tables depend on."""
    files = [(name, archives.stamp(self.folder / name)[0]) for name in self.found.videos]
    digest = hashlib.sha256(json.dumps(files).encode()).hexdigest()[:16]
    return dataclasses.asdict(self.settings) | {
      "files_per_shard": self.files_per_shard,
      "videos": len(files),
      "names and sizes": digest,
    }

  @property
  def num_shards(self) -> int:
    """How many tables OUT/looked is to have."""
    return -(-len(self.found.videos) // self.files_per_shard)

  def path(self, shard: int, kind: str) -> pathlib.Path:
    """Of a table in OUT/looked."""
    return self.out / "looked" / f"{shard:06d}.{kind}.parquet"

  def missing(self) -> list[int]:
    """The shards that have not been looked at."""
    return [n for n in range(self.num_shards) if not self.path(n, "sources").exists()]

  def look(self, runner: Runner, part: tuple[int, int] = (1, 1)):
    """Looks at what is missing; of `part` = (i, n) the i-th of n parts alone, i from 1 on."""
    size, tasks = self.files_per_shard, []
    for n in self.missing():
      if n % part[1] == part[0] - 1:
        names, paths = (
          self.found.videos[n * size : (n + 1) * size],
          (self.path(n, "sources"), self.path(n, "clips")),
        )
        # No more than a shard's own names go to another process.
        tasks.append(functools.partial(look_at, self.folder, names, self.settings, *paths))
    runner(tasks, "Looking at the videos")

  def score(self, spec: str, runner: Runner, captions: pathlib.Path | None = None):
    """Gives all clips a score of one's own, see `scores`; what has one is not scored again.

    Raises:
      ValueError: if there is no such function, or a clip gets no number.
    """
    name, _ = scores.load(spec)
    texts, _ = self.captions(captions)
    tasks = []
    for shard in range(self.num_shards):
      path = self.path(shard, f"score.{name}")
      if not path.exists():
        clips = table.read(self.path(shard, "clips")).to_pandas()
        clips["caption"] = table_captions.of_clips(clips, texts)
        tasks.append(functools.partial(scores.write, path, clips, self.folder, spec))
    runner(tasks, f"Scoring the clips: {name}")

  def captions(self, path: pathlib.Path | None) -> tuple[dict[str, list[Caption]], list[str]]:
    """(captions by source, what is to be said of them): those of a table come before those in the folder."""
    beside = read_captions(self.folder, self.found)
    texts = {source: [Caption(text)] for source, text in beside.items()}
    if path is None:
      return texts, []
    found, missing = table_captions.read(path, self.found.videos)
    count = sum(map(len, found.values()))
    said = (
      f"{path}: {count} captions of {len(found)} files, {missing} rows of files that are not there"
    )
    return texts | found, [said]

  def decide(
    self,
    rules: Sequence[str],
    *,
    radius: int,
    held_out: float,
    captions: pathlib.Path | None = None,
  ) -> str:
    """Writes the tables of all files and clips; returns what came of them, for people.

    Args:
      rules: that clips have to follow.
      radius: bits in which near duplicates may differ.
      held_out: share of the files for validation.
      captions: a table of captions, which come before those in the folder.

    Raises:
      ValueError: if shards are missing, or a rule cannot be understood.
    """
    if missing := self.missing():
      raise ValueError(
        f"{len(missing)} of {self.num_shards} shards have not been looked at, the first is {missing[0]}"
      )
    shards = range(self.num_shards)
    sources = table.read(*(self.path(n, "sources") for n in shards))
    clips = table.read(*(self.path(n, "clips") for n in shards)).to_pandas()
    for first in sorted(self.out.glob("looked/000000.score.*.parquet")):
      name = first.name.split(".")[2]
      paths = [self.path(n, f"score.{name}") for n in shards]
      if not all(path.exists() for path in paths):
        raise ValueError(f"only some clips have the score {name!r}: --score=MODULE:{name} goes on")
      found = table.read(*paths).to_pandas()
      clips = clips.merge(found.rename(columns={"score": name}), "left", ["source", "clip"])
    texts, lines = self.captions(captions)
    if skipped := self.found.skipped:
      first, why = next(iter(skipped.items()))
      lines.append(f"{len(skipped)} names skipped, the first is {first}: {why}")
    clips = decide(clips, texts, rules, radius=radius, held_out=held_out)
    table.write(self.out / "sources.parquet", sources)
    table.write(self.out / "clips.parquet", table.from_pandas(clips))
    return "\n".join([*lines, summary(sources.to_pandas(), clips)])

  def sources(self) -> pd.DataFrame:
    """The table of files, when it has been decided."""
    return table.read(self.out / "sources.parquet").to_pandas()

  def clips(self) -> pd.DataFrame:
    """The table of clips, when it has been decided."""
    return table.read(self.out / "clips.parquet").to_pandas()

  def write(self, settings: records.RecordSettings, runner: Runner) -> str:
    """Writes the clips that were kept as a dataset, OUT/records; returns what it holds, for people."""
    clip = self.settings
    return records.write(
      self.clips(), self.folder, self.out / "records", clip.num_frames, clip.fps, settings, runner
    )

  def report(self, rules: Sequence[str]) -> pathlib.Path:
    """Writes a page about what was decided, OUT/report; returns it."""
    clip = self.settings
    return report.write(
      self.out / "report",
      self.sources(),
      self.clips(),
      self.folder,
      rules,
      clip.num_frames,
      clip.fps,
    )


def is_table(path: pathlib.Path) -> bool:
  """Whether a path is that of a table, as for captions."""
  return path.suffix in table_captions.SUFFIXES and path.is_file()


def videos_of(path: pathlib.Path) -> Found:
  """What is in a folder or an archive, or what a table lists."""
  if not is_table(path):
    return find_videos(path)
  names, skipped = table_captions.files_of(path)
  return Found(names, {}, {}, [], skipped)


def look_at(
  folder: pathlib.Path,
  names: Sequence[str],
  settings: ClipSettings,
  sources_path: pathlib.Path,
  clips_path: pathlib.Path,
):
  """Writes the two tables of some files."""
  cv2.setNumThreads(1)  # the processes are what is parallel
  sources, clips = [], []
  for name in names:
    source, found = look(folder, name, settings)
    sources.append(source)
    clips += found
  table.write(clips_path, clips, table.CLIPS)
  table.write(sources_path, sources, table.SOURCES)  # last: it says that the shard is done


def summary(sources: pd.DataFrame, clips: pd.DataFrame) -> str:
  """How many files and clips went where, as lines."""
  minutes, num_shots = sources["duration"].sum() / 60, sources["shots"].sum()
  lines = [f"{len(sources)} files, {minutes:.1f} minutes, {num_shots} shots"]
  lines += [f"  {count} {kind}" for kind, count in file_counts(sources).items()]
  lines.append(f"{len(clips)} clips")
  for kind, count in kinds(clips).value_counts(sort=False).items():
    if count or kind == KEPT:
      lines.append(f"  {count} {kind}" if kind == KEPT else f"  {count} dropped: {kind}")
  return "\n".join(lines)
