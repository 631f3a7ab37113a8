"""The kept clips of a curation as a TFDS dataset of encoded videos, written by as many processes as there are.

OUT/records/curated-SPLIT.FORMAT-N-of-M and TFDS's own description beside them: `tfds.builder_from_directory` reads it as
any other dataset. Each of the files is written by one process; those that are there are not written again.
"""

import dataclasses
import functools
import hashlib
import itertools
import json
import pathlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import UInt8

from lumiere.data import frames, tfrecords
from lumiere.data.curated import CONTENT, SIZES
from lumiere.data.curation.runners import Runner
from lumiere.data.frames import encoded

NAME = "curated"
FORMATS = ("array_record", "tfrecord")


@dataclasses.dataclass(frozen=True)
class RecordSettings:
  """How clips are stored.

  Attributes:
    crf: of x264, 0 to 51; 18 is hard to tell from the source.
    side: the shorter side of stored frames, at most; 0: as in the source.
    clips_per_file: of the dataset.
    file_format: of the dataset: "array_record", or "tfrecord" for storage where that cannot be read, such as gs://.
  """

  crf: int = 18
  side: int = 0
  clips_per_file: int = 256
  file_format: str = "array_record"

  def __post_init__(self):
    if not 0 <= self.crf <= 51:
      raise ValueError(f"crf={self.crf} must be between 0 and 51")
    if self.side < 0:
      raise ValueError(f"side={self.side} must be 0 or more")
    if self.clips_per_file < 1:
      raise ValueError(f"clips_per_file={self.clips_per_file} must be 1 or more")
    if self.file_format not in FORMATS:
      raise ValueError(f"file_format={self.file_format!r} must be one of {', '.join(FORMATS)}")


def features():
  """Of an example, for TFDS."""
  import tensorflow_datasets as tfds

  return tfds.features.FeaturesDict(
    {
      "video": tfds.features.Text(doc="an .mp4 file"),
      "caption": tfds.features.Text(),
      "num_frames": np.int32,
      "height": np.int32,
      "width": np.int32,
      "fps": np.float32,
      "source": tfds.features.Text(doc="the file's name in the folder"),
      "start": tfds.features.Scalar(
        np.float32, doc="time of the first frame in the file, in seconds"
      ),
    }
  )


def plan(clips: pd.DataFrame, clips_per_file: int) -> dict[str, list[pd.DataFrame]]:
  """The files of each split: the clips that each is to hold, in the order of the table."""
  kept = clips[clips["reason"] == ""]
  files = {}
  for split, rows in kept.groupby("split", sort=True):
    files[split] = [rows.iloc[i : i + clips_per_file] for i in range(0, len(rows), clips_per_file)]
  return files


def file_name(split: str, file_format: str, number: int, count: int) -> str:
  """As TFDS names it."""
  return f"{NAME}-{split}.{file_format}-{number:05d}-of-{count:05d}"


def write_file(
  path: pathlib.Path,
  rows: pd.DataFrame,
  folder: pathlib.Path,
  num_frames: int,
  fps: float,
  settings: RecordSettings,
):
  """Writes the clips of `rows`, whole or not at all."""
  from tensorflow_datasets.core.example_serializer import ExampleSerializer

  described, partial = features(), path.with_name(f"{path.name}.partial")
  serializer = ExampleSerializer(described.get_serialized_info())
  writer = open_writer(partial, settings.file_format)
  for source, some in itertools.groupby(rows.to_dict("records"), key=lambda row: row["source"]):
    for row, clip in clips_of(folder / source, list(some), num_frames, fps, settings):
      example = dict(caption=row["caption"], fps=fps, source=source, start=row["start"])
      proto = serializer.get_tf_example(described.encode_example(example | clip))
      # Otherwise the order of the features is another one in each process.
      writer.write(proto.SerializeToString(deterministic=True))
  writer.close()
  partial.rename(path)


def open_writer(path: pathlib.Path, file_format: str):
  """What has `write(bytes)` and `close()`."""
  if file_format == "tfrecord":
    import tensorflow as tf

    return tf.io.TFRecordWriter(str(path))
  from array_record.python.array_record_module import ArrayRecordWriter

  return ArrayRecordWriter(str(path), "group_size:1")


def clips_of(
  path: pathlib.Path,
  rows: Sequence[dict[str, Any]],
  num_frames: int,
  fps: float,
  settings: RecordSettings,
) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
  """(row, `video`, `num_frames`, `height` and `width`) of the clips of one file, which is decoded once; rows in order of time.

  Raises:
    ValueError: if the file is not what it was when it was looked at.
  """
  reader = Reader(path)
  for row in rows:
    times = row["start"] + np.arange(num_frames) / fps
    clip = (framed(reader.at(time), row, settings.side) for time in times.tolist())
    first = next(clip)
    height, width = first.shape[:2]
    video = encoded.encode(itertools.chain([first], clip), fps, settings.crf)
    yield row, dict(video=video, num_frames=num_frames, height=height, width=width)


class Reader:
  """The picture that a file shows at a time; times must not go back."""

  def __init__(self, path: pathlib.Path):
    self._path, self._frames, self._frame, self._picture = path, frames.shown(path), None, None

  def at(self, time: float) -> UInt8[np.ndarray, "h w 3"]:
    """Beyond the end, that of the last frame; `time` in seconds."""
    while self._frame is None or (time >= self._frame.until and not self._frame.last):
      try:
        self._frame, self._picture = next(self._frames), None
      except (StopIteration, ValueError) as error:
        raise ValueError(
          f"{self._path} shows nothing at {time:.2f} s: it has changed since it was looked at ({error})"
        ) from error
    if self._picture is None:
      self._picture = self._frame.picture()
    return self._picture


def framed(
  picture: UInt8[np.ndarray, "h w 3"], row: dict[str, Any], side: int
) -> UInt8[np.ndarray, "h2 w2 3"]:
  """A frame without the black bars of its clip, of even sides, area-averaged to a shorter side of at most `side`, if that is not 0."""
  height, width = picture.shape[:2]
  top, left = round(row["top"] * height), round(row["left"] * width)
  bottom, right = height - round(row["bottom"] * height), width - round(row["right"] * width)
  picture = picture[top:bottom, left:right]
  return frames.fit(picture, *stored_size(*picture.shape[:2], side))


def stored_size(height: int, width: int, side: int) -> tuple[int, int]:
  """Height and width of stored frames, from those of a picture without its bars; `side` as in `RecordSettings`."""
  scale = min(1.0, side / min(height, width)) if side else 1.0
  even = lambda length: max(round(length * scale / 2), 1) * 2 if scale < 1 else length // 2 * 2
  return even(height), even(width)


def write_sizes(path: pathlib.Path, files: dict[str, list[pd.DataFrame]], side: int):
  """About the height and width of the clips of each split, in their order: give or take a pixel where bars are cut off."""
  sizes = {}
  for split, parts in files.items():
    rows = pd.concat(parts)
    pairs = zip(rows["height"].tolist(), rows["width"].tolist(), strict=True)
    sizes[split] = np.array([stored_size(*pair, side) for pair in pairs], np.uint16)
  np.savez(path, **sizes)


def describe(records: pathlib.Path, file_format: str):
  """Writes TFDS's description of the files that are there."""
  import tensorflow_datasets as tfds

  template = tfds.core.ShardedFileTemplate(
    dataset_name=NAME, data_dir=str(records), filetype_suffix=file_format
  )
  splits, offsets = [], {}
  for split in ("train", "validation"):
    paths = sorted(records.glob(f"{NAME}-{split}.{file_format}-*-of-*"))
    if paths:
      lengths = [count(path, offsets) for path in paths]
      size = sum(path.stat().st_size for path in paths)
      splits.append(
        tfds.core.SplitInfo(
          name=split, shard_lengths=lengths, num_bytes=size, filename_template=template
        )
      )
  tfds.folder_dataset.write_metadata(
    data_dir=str(records),
    features=features(),
    split_infos=splits,
    filename_template=template,
    description="Clips of a curation, as encoded videos.",
    version="1.0.0",
    check_data=False,
  )

  if offsets:
    (records / tfrecords.OFFSETS).write_text(json.dumps(offsets) + "\n")


def count(path: pathlib.Path, offsets: dict[str, list[int]]) -> int:
  """The records of a file; of a TFRecord file `offsets` is told where they begin."""
  if "tfrecord" in path.name:
    offsets[path.name] = tfrecords.offsets_of(path)
    return len(offsets[path.name])
  from array_record.python.array_record_module import ArrayRecordReader

  return ArrayRecordReader(str(path)).num_records()


def write(
  clips: pd.DataFrame,
  folder: pathlib.Path,
  records: pathlib.Path,
  num_frames: int,
  fps: float,
  settings: RecordSettings,
  runner: Runner,
) -> str:
  """Writes what is missing of a dataset; returns what it holds, for people.

  Args:
    clips: the table, with what was decided.
    folder: of the videos.
    records: where the dataset goes.
    num_frames: of a clip.
    fps: of a clip.
    settings: how clips are stored.
    runner: who writes the files.

  Raises:
    ValueError: if no clip is kept, or `records` was written for other clips or settings.
  """
  files = plan(clips, settings.clips_per_file)
  if not files:
    raise ValueError("no clip is kept: there is nothing to write")
  columns = ["source", "clip", "start", "top", "bottom", "left", "right", "caption", "split"]
  kept = pd.concat(itertools.chain(*files.values()))
  asked = {
    "num_frames": num_frames,
    "fps": fps,
    "clips": hashlib.sha256(kept[columns].to_json().encode()).hexdigest(),
    "settings": dataclasses.asdict(settings),
  }
  path = records / CONTENT
  if not path.exists():
    records.mkdir(parents=True, exist_ok=True)
    # First, so that a write which is stopped here is begun anew.
    write_sizes(records / SIZES, files, settings.side)
    path.write_text(json.dumps(asked, indent=2) + "\n")
  elif json.loads(path.read_text()) != asked:
    raise ValueError(f"{records} holds other clips, or was written with other settings: remove it")
  paths = {
    records / file_name(split, settings.file_format, number, len(parts)): rows
    for split, parts in files.items()
    for number, rows in enumerate(parts)
  }
  runner(
    [
      functools.partial(write_file, path, rows, folder, num_frames, fps, settings)
      for path, rows in paths.items()
      if not path.exists()
    ],
    "Writing the clips",
  )
  describe(records, settings.file_format)
  size = sum(path.stat().st_size for path in paths)
  return f"{records}: {len(kept)} clips, {size / len(kept) / 1e3:.1f} kB each"
