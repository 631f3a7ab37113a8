"""The videos of a dataset that TFDS has prepared, such as its UCF101, as `folder.Video` has those of files.

They are read one after another, as they lie in its records. TFDS keeps frames without their times: `Protocol.fps` cannot be
followed, and frames are taken as they are (those of UCF101 as its files have them, 25 a second in nearly all).
"""

import dataclasses
import hashlib
import pathlib
from collections.abc import Iterator

import numpy as np
from jaxtyping import UInt8

from lumiere.evaluation.metrics.folder import cut, fitted
from lumiere.evaluation.metrics.protocol import Protocol


@dataclasses.dataclass(frozen=True)
class Stored:
  """A video in memory.

  Attributes:
    name: split and place in it.
    frames: all of its frames.
  """

  name: str
  frames: UInt8[np.ndarray, "t h w 3"] = dataclasses.field(compare=False, repr=False)

  def checksum(self) -> str:
    """Of the frames, 32 hexadecimal digits."""
    digest = hashlib.blake2b(str(self.frames.shape).encode(), digest_size=16)
    digest.update(np.ascontiguousarray(self.frames))
    return digest.hexdigest()

  def clip(self, protocol: Protocol) -> UInt8[np.ndarray, "t h w 3"]:
    """Its frames; raises ValueError, naming the video, if it is too short."""
    return np.stack([fitted(frame, protocol) for frame in cut(self.frames, protocol, self.name)])

  def named(self) -> "Stored":
    """The same without its frames, to be kept."""
    return Stored(self.name, self.frames[:0])


class Prepared:
  """The videos of one split of a dataset."""

  def __init__(self, folder: pathlib.Path, split: str):
    """Raises ValueError if the folder cannot be read as a dataset, or has no such split or no videos."""
    import tensorflow_datasets as tfds

    try:
      self._builder = tfds.builder_from_directory(folder)
    except Exception as error:  # of many kinds
      raise ValueError(f"{folder} cannot be read as a dataset of TFDS: {error}") from error
    if split not in self._builder.info.splits:
      names = ", ".join(self._builder.info.splits)
      raise ValueError(f"{folder} has no split {split!r}, only {names}")
    if len(dict(self._builder.info.features.shape).get("video", ())) != 4:
      raise ValueError(f"the examples of {folder} have no 'video' of [frames, height, width, 3]")
    self._split = split

  def __str__(self):
    return f"{self._builder.info.full_name}, split {self._split}: {len(self)} videos"

  def __len__(self) -> int:
    return self._builder.info.splits[self._split].num_examples

  def __iter__(self) -> Iterator[Stored]:
    import tensorflow_datasets as tfds

    # Other features, such as captions, are not decoded.
    kept = tfds.decode.PartialDecoding({"video": True})
    examples = self._builder.as_dataset(split=self._split, shuffle_files=False, decoders=kept)
    for index, example in enumerate(tfds.as_numpy(examples)):
      yield Stored(f"{self._split}/{index:06d}", np.asarray(example["video"]))


def is_prepared(folder: pathlib.Path) -> bool:
  """Whether TFDS has prepared a dataset there."""
  return (folder / "dataset_info.json").is_file()
