"""The clips that `lumiere.curate --write` has stored, as a source of examples: decoded where they are looked at, at the size that
the stage needs. The base and super-resolution read the same records, and so do trainings of one shape and of several."""

import dataclasses
import json
from collections.abc import Sequence
from typing import Any

import numpy as np
from etils import epath
from jaxtyping import Integer

from lumiere.data.buckets import assign
from lumiere.data.frames.encoded import EncodedClip
from lumiere.data.tfrecords import TFRecords
from lumiere.sections import DataConfig
from lumiere.sizes import Size, as_text

# Beside the dataset: its clips' `num_frames` and `fps`, and what it was written from; and about the height and width of each.
CONTENT, SIZES = "content.json", "sizes.npz"
# Clips that fit no bucket and are named.
NAMED = 5


def builder_of(config: DataConfig):
  """The TFDS builder of the dataset in `config.folder`, as `lumiere.curate` has it in --out.

  Raises:
    ValueError: if there is none, or its clips are shorter, or of another frame rate.
  """
  import tensorflow_datasets as tfds

  folder = config.folder
  records = epath.Path(folder) / "records"
  if not (records / "dataset_info.json").exists():
    raise ValueError(
      f"config.data.folder={folder}: no stored clips in it; python -m lumiere.curate --out={folder} --write ... stores them"
    )
  content = json.loads((records / CONTENT).read_text())
  if config.num_frames > content["num_frames"]:
    raise ValueError(
      f"config.data.num_frames={config.num_frames} must be at most {content['num_frames']}, the length of the clips in {folder}"
    )
  if config.fps != content["fps"]:
    raise ValueError(
      f"config.data.fps={config.fps:g} must be {content['fps']:g}, that of the clips in {folder}"
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


@dataclasses.dataclass(frozen=True)
class Curated(Sequence):
  """Examples of a split by their index: `video` is an `EncodedClip` of its bucket's size, the rest is as it was stored.

  Attributes:
    stored: all examples, of `records_of`.
    kept: their indices, without those that fit no bucket.
    assigned: the bucket of each of these.
    buckets: sizes, (height, width).
  """

  stored: Sequence
  kept: Integer[np.ndarray, " n"]
  assigned: Integer[np.ndarray, " n"]
  buckets: tuple[Size, ...]

  @property
  def groups(self) -> list[Integer[np.ndarray, " _m"]]:
    """Indices of the examples of each bucket that has some."""
    groups = [np.flatnonzero(self.assigned == bucket) for bucket in range(len(self.buckets))]
    return [group for group in groups if len(group)]

  def __len__(self) -> int:
    return len(self.kept)

  def __getitem__(self, index: int) -> dict[str, Any]:
    if not 0 <= index < len(self):  # at which iterating ends
      raise IndexError(f"index {index} must be in [0, {len(self)})")
    example = self.stored[int(self.kept[index])]
    size = self.buckets[self.assigned[index]]
    return example | {"video": EncodedClip(example["video"], int(example["num_frames"]), size)}


def open_split(builder, split: str, config: DataConfig) -> Curated:
  """The clips of a split, in the sizes that a training has.

  Raises:
    ValueError: if there are no buckets and a clip is smaller than `resolution`, or if no clip fits one of the buckets.
  """
  sizes, buckets = sizes_of(builder, split), config.training_sizes
  assigned, reasons = assign(sizes, buckets, config.max_cut if config.buckets else 1.0)
  if not config.buckets and reasons.any():
    least = tuple(sizes.min(axis=0).tolist())
    raise ValueError(
      f"config.data.resolution={as_text(buckets[0])} must be at most {as_text(least)}, the least height and width of the clips in "
      f"{config.folder}"
    )
  for bucket, size in enumerate(buckets):
    if split == "train" and not (assigned == bucket).any():
      raise ValueError(
        f"config.data.buckets: no clip in {config.folder} fits {as_text(size)}; leave it out, or raise max_cut={config.max_cut}"
      )
  kept = np.flatnonzero(assigned >= 0)
  return Curated(records_of(builder, split), kept, assigned[kept], buckets)


def sizes_of(builder, split: str) -> Integer[np.ndarray, "n 2"]:
  """About the height and width of each clip of a split as it is stored, in the order of the records."""
  with (epath.Path(builder.data_dir) / SIZES).open("rb") as file:
    return np.load(file)[split].astype(np.int64)


def left_out(builder, config: DataConfig) -> str:
  """Says how many clips of the train split fit no bucket, why, and which are the first; empty if all do."""
  if not config.buckets:
    return ""
  _, reasons = assign(sizes_of(builder, "train"), config.training_sizes, config.max_cut)
  if not reasons.any():
    return ""
  stored, first = records_of(builder, "train"), np.flatnonzero(reasons)[:NAMED].tolist()
  named = ", ".join(f"{stored[i]['source'].decode()} at {stored[i]['start']:.1f} s" for i in first)
  return (
    f"{np.count_nonzero(reasons)} of {len(reasons)} clips fit no bucket and are left out: {np.count_nonzero(reasons == 1)} are "
    f"smaller than all buckets, of {np.count_nonzero(reasons == 2)} more than max_cut={config.max_cut:.0%} would be cut off; "
    f"the first are {named}"
  )
