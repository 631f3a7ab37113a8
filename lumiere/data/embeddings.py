"""Precomputed caption states, beside the dataset that they belong to.

    FOLDER/null.npz                states of the empty caption
    FOLDER/SPLIT/00000.npz ...     states of ROWS examples each, in the order of the source, float16

`lumiere.embed` writes them, `WithText` reads them: an example then brings `text` and `text_mask` instead of tokens.
"""

import dataclasses
import functools
import pathlib
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np

ROWS = 256


@dataclasses.dataclass(frozen=True)
class WithText(Sequence):
  """A source whose examples bring the states of their captions.

  Attributes:
    source: the examples.
    folder: their states, of this split.
  """

  source: Sequence
  folder: pathlib.Path

  def __post_init__(self):
    for path in (self.folder.parent / "null.npz", shard_path(self.folder, len(self.source) - 1)):
      if not path.is_file():
        raise ValueError(
          f"config.data.embeddings: {path} is missing; python -m lumiere.embed writes or completes it"
        )

  def __len__(self) -> int:
    return len(self.source)

  def __getitem__(self, index: int) -> dict[str, Any]:
    example = dict(self.source[index])
    shard, row = load_shard(shard_path(self.folder, index)), index % ROWS
    if shard["checksum"][row] != checksum(example["caption"]):
      raise ValueError(
        f"config.data.embeddings: example {index} in {self.folder} was made from another caption than "
        f"{example['caption']!r}; the dataset has changed"
      )
    null = load_shard(self.folder.parent / "null.npz")
    return example | {
      "text": shard["text"][row].astype(np.float32),
      "text_mask": shard["text_mask"][row],
      "null_text": null["text"][0].astype(np.float32),
      "null_text_mask": null["text_mask"][0],
    }


def shard_path(folder: pathlib.Path, index: int) -> pathlib.Path:
  """Where example `index` of a split is."""
  return folder / f"{index // ROWS:05d}.npz"


def checksum(caption: str | bytes) -> int:
  """Of a caption."""
  return zlib.crc32(caption if isinstance(caption, bytes) else caption.encode())


def save_shard(path: pathlib.Path, captions: Sequence[str | bytes], states: dict[str, np.ndarray]):
  """Writes a file; it is there whole or not at all."""
  path.parent.mkdir(parents=True, exist_ok=True)
  partial = path.with_suffix(".partial")
  with partial.open("wb") as file:
    np.savez(
      file,
      text=np.asarray(states["text"], np.float16),
      text_mask=np.asarray(states["text_mask"]),
      checksum=np.array([checksum(caption) for caption in captions], np.uint32),
    )
  partial.rename(path)


@functools.lru_cache(maxsize=8)
def load_shard(path: pathlib.Path) -> dict[str, np.ndarray]:
  """A file's arrays."""
  with np.load(path) as file:
    return dict(file)
