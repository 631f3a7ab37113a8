"""The clips that `lumiere.curate --write` has stored, as a source of examples: decoded where they are looked at, at the size that
the stage needs. The base and super-resolution read the same records."""

import json
from collections.abc import Sequence
from typing import Any

from etils import epath

from lumiere.data.frames.encoded import EncodedClip
from lumiere.data.tfrecords import TFRecords

# Beside the dataset: its clips' `num_frames`, `fps` and shortest side, and what it was written from.
CONTENT = "content.json"


def builder_of(folder: epath.PathLike, *, num_frames: int, fps: float | int, resolution: int):
  """The TFDS builder of the dataset in `folder`, as `lumiere.curate` has it in --out.

  Raises:
    ValueError: if there is none, or its clips are shorter, smaller or of another frame rate.
  """
  import tensorflow_datasets as tfds

  records = epath.Path(folder) / "records"
  if not (records / "dataset_info.json").exists():
    raise ValueError(
      f"config.data.folder={folder}: no stored clips in it; python -m lumiere.curate --out={folder} --write ... stores them"
    )
  content = json.loads((records / CONTENT).read_text())
  if num_frames > content["num_frames"]:
    raise ValueError(
      f"config.data.num_frames={num_frames} must be at most {content['num_frames']}, the length of the clips in {folder}"
    )
  if fps != content["fps"]:
    raise ValueError(
      f"config.data.fps={fps:g} must be {content['fps']:g}, that of the clips in {folder}"
    )
  if resolution > content["side"]:
    raise ValueError(
      f"config.data.resolution={resolution} must be at most {content['side']}, the shortest side of the clips in {folder}"
    )
  return tfds.builder_from_directory(records)


def records_of(builder, split: str) -> Sequence:
  """The examples of a split as they were stored, by their index; from a local disk, or anywhere that `epath` reads from."""
  info = builder.info
  if info.file_format.value == "array_record":
    return builder.as_data_source(split=split)
  return TFRecords(
    builder.data_dir, info.splits[split].filenames, info.features.deserialize_example_np
  )


class Curated(Sequence):
  """Examples of a split by their index: `video` is an `EncodedClip`, the rest is as it was stored."""

  def __init__(self, source: Sequence, resolution: int):
    """`source`: of `records_of`; `resolution`: height and width of the clips, in pixels."""
    self._source, self._resolution = source, resolution

  def __len__(self) -> int:
    return len(self._source)

  def __getitem__(self, index: int) -> dict[str, Any]:
    if not 0 <= index < len(self):  # at which iterating ends
      raise IndexError(f"index {index} must be in [0, {len(self)})")
    example = self._source[index]
    clip = EncodedClip(example["video"], int(example["num_frames"]), self._resolution)
    return example | {"video": clip}
