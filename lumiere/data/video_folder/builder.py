"""A TFDS dataset of the captioned videos in a folder; for clips of one frame also of its pictures.

A file without a caption, or one that `read_clips` refuses, is skipped, as is a caption without a file; `skipped.json` in the
dataset's folder and the log say
which and why. Files, not clips, are dealt out to the splits: by the hash of their names, so that a file which is added
later moves no other from one split to the other.

Clips are stored as raw uint8: exact and quick to read, at the price of space (80 frames of 128x128 take 3.9 MB).
"""

import collections
import concurrent.futures
import dataclasses
import hashlib
import json
import os
import pathlib
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from absl import logging
from tqdm import tqdm

from lumiere.data import archives, splits
from lumiere.data.video_folder.captions import Found, find_videos, read_captions
from lumiere.data.video_folder.clips import UnusableError, read_clips
from lumiere.data.video_folder.files import VIDEOS
from lumiere.sizes import as_text, size_of

SKIPPED = "skipped.json"


@dataclasses.dataclass
class VideoFolderConfig(tfds.core.BuilderConfig):
  """What makes one dataset of a folder; `name` is derived from the rest and from the files.

  Attributes:
    folder: where the videos are, at any depth, and their captions.
    num_frames: frames of a clip.
    fps: frames per second of a clip.
    resolution: side, or (height, width), of a clip, in pixels.
    seed: of the phases at which frames are picked.
    validation_share: share of the files that are held out, in (0, 1).
  """

  folder: str = ""
  num_frames: int = 16
  fps: float = 8.0
  resolution: int | tuple[int, ...] = 64
  seed: int = 0
  validation_share: float = 0.05

  def __post_init__(self):
    size_of(self.resolution, "resolution")
    if self.num_frames < 1:
      raise ValueError(f"num_frames={self.num_frames} must be 1 or more")
    if self.fps <= 0:
      raise ValueError(f"fps={self.fps} must be positive")
    if self.seed < 0:
      raise ValueError(f"seed={self.seed} must be 0 or more")
    if not 0 < self.validation_share < 1:
      raise ValueError(f"validation_share={self.validation_share} must be between 0 and 1")


class VideoFolder(tfds.core.GeneratorBasedBuilder):
  """See the head of this file. Made by `load_or_prepare`."""

  VERSION = tfds.core.Version("1.1.0")
  RELEASE_NOTES = {
    "1.0.0": "First version.",
    "1.1.0": "Frames are upright, of square pixels and over black; the last one is shown for its own duration.",
  }
  pkg_dir_path = None

  def _info(self) -> tfds.core.DatasetInfo:
    config = self.builder_config
    video = (config.num_frames, *size_of(config.resolution), 3)
    return tfds.core.DatasetInfo(
      builder=self,
      description="Captioned clips of the video files in a folder.",
      features=tfds.features.FeaturesDict(
        {
          "video": tfds.features.Tensor(
            shape=video, dtype=np.uint8, encoding=tfds.features.Encoding.BYTES
          ),
          "caption": tfds.features.Text(),
          "fps": np.float32,
          "source": tfds.features.Text(
            doc="the file's name in the folder, or its path if it lies elsewhere"
          ),
          "start": tfds.features.Scalar(
            np.float32, doc="time of the first frame in the file, in seconds"
          ),
        }
      ),
    )

  def _split_generators(self, dl_manager) -> dict[str, Iterator]:
    folder = pathlib.Path(self.builder_config.folder)
    found = find_videos(folder)
    self._captions, self._skipped = read_captions(folder, found), dict(found.skipped)
    self._skipped |= {name: "no caption" for name in found.videos if name not in self._captions}
    names = [name for name in found.videos if name in self._captions]
    # Which file is held out depends on which give clips, so that all are decoded before any is written.
    self._decoded = tempfile.TemporaryDirectory(prefix="decoded_", dir=self.data_path.parent)
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
      starts = pool.map(self._decode, names)
      bar = tqdm(starts, desc="Reading the videos", total=len(names), unit="video", disable=None)
      self._starts = dict(zip(names, bar, strict=True))
    usable = [name for name in names if self._starts[name]]
    if not usable:
      why = summary(self._skipped) or f"there is no video in it ({', '.join(VIDEOS)})"
      raise ValueError(f"folder={str(folder)!r} gives no clips: {why}")
    held_out = splits.held_out(usable, self.builder_config.validation_share)
    ordered = sorted(usable, key=splits.place_of)
    parts = {
      "train": [name for name in ordered if name not in held_out],
      "validation": [name for name in ordered if name in held_out],
    }
    return {split: self._generate_examples(names) for split, names in parts.items() if names}

  def _generate_examples(self, names: list[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    # Into the folder that becomes the dataset when all splits are done; each writes the same.
    skipped = [{"file": name, "reason": reason} for name, reason in sorted(self._skipped.items())]
    (self.data_path / SKIPPED).write_text(json.dumps(skipped, indent=2, ensure_ascii=False))
    for name in names:
      for count, start in enumerate(self._starts[name]):
        path = self._path(name, count)
        yield (
          f"{name}:{count:06d}",
          {
            "video": np.load(path),
            "caption": self._captions[name],
            "fps": self.builder_config.fps,
            "source": name,
            "start": start,
          },
        )
        path.unlink()

  def _path(self, name: str, count: int) -> pathlib.Path:
    """Of a clip that has been decoded and not yet written."""
    digest = hashlib.sha256(name.encode()).hexdigest()[:32]
    return pathlib.Path(self._decoded.name) / f"{digest}_{count:06d}.npy"

  def _decode(self, name: str) -> list[float]:
    """Decodes all clips of a file; returns when each begins. `_skipped` says why there are none, or no more of them."""
    config, starts = self.builder_config, []
    settings = {key: getattr(config, key) for key in ("num_frames", "fps", "resolution", "seed")}
    try:
      for clip in read_clips(pathlib.Path(config.folder), name, **settings):
        np.save(self._path(name, len(starts)), clip.video)
        starts.append(clip.start)
    except UnusableError as error:
      kept = f" (after {len(starts)} clips, which are kept)" if starts else ""
      self._skipped[name] = f"{error}{kept}"
    return starts

  def clear(self):
    """Removes what has been decoded and was not written."""
    if "_decoded" in vars(self):
      self._decoded.cleanup()


def load_or_prepare(
  folder: str | os.PathLike,
  data_dir: str | os.PathLike,
  *,
  num_frames: int,
  fps: float,
  resolution: int | Sequence[int],
  seed: int = 0,
  validation_share: float = 0.05,
) -> VideoFolder:
  """The dataset of a folder, prepared under `data_dir` if it is not there yet.

  Other settings, or files that were added, removed or changed since, make another dataset. Its splits are "train" and,
  if two or more files give clips, "validation". See `VideoFolderConfig` for the arguments.

  Raises:
    FileNotFoundError: if there is no such folder.
    ValueError: if an argument is out of range, captions cannot be read, or no file gives a clip; says why.
  """
  folder = pathlib.Path(folder).expanduser().resolve()
  settings = dict(
    num_frames=num_frames,
    fps=float(fps),
    resolution=size_of(resolution, "resolution"),
    seed=seed,
    validation_share=validation_share,
  )
  shape, digest = (
    as_text(settings["resolution"]),
    fingerprint(folder, find_videos(folder), settings),
  )
  name = f"{num_frames}x{shape}_{fps:g}fps_{digest}"
  builder = VideoFolder(
    config=VideoFolderConfig(name=name, folder=str(folder), **settings),
    data_dir=os.fspath(data_dir),
    file_format="array_record",
  )
  if not builder.is_prepared():
    try:
      builder.download_and_prepare()
    finally:
      builder.clear()
    skipped = json.loads((builder.data_path / SKIPPED).read_text())
    for entry in skipped:
      logging.warning("Skipped %s: %s", entry["file"], entry["reason"])
    clips = sum(split.num_examples for split in builder.info.splits.values())
    logging.info(
      "%s: %d clips; %d files skipped (%s)",
      folder,
      clips,
      len(skipped),
      builder.data_path / SKIPPED,
    )
  return builder


def fingerprint(folder: pathlib.Path, found: Found, settings: Mapping[str, Any]) -> str:
  """Changes with the settings, and with the names, sizes or times of the videos and of the files with captions."""
  files = []
  for name in [*found.videos, *found.texts]:
    files.append((name, *archives.stamp(folder / name)))
  return hashlib.sha256(json.dumps([str(folder), dict(settings), files]).encode()).hexdigest()[:12]


def summary(skipped: Mapping[str, str]) -> str:
  """For each kind of reason the number of files, and the first of them with its reason."""
  kinds = collections.defaultdict(list)
  for name, reason in sorted(skipped.items()):
    kinds[reason.split(":")[0]].append(f"{name}: {reason}")
  return "; ".join(f"{len(found)} x {kind} ({found[0]})" for kind, found in kinds.items())
