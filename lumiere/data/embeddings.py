"""Precomputed caption states, found by their captions.

    FOLDER/ENCODER-LENGTH/NAME.npy    states of up to ROWS captions, float16; ENCODER is the text encoder's checksum
    FOLDER/index.npz                  the file and row of each caption, which encoder it is, which datasets are covered

A caption is found by a hash of its text, so that it has states once, wherever and however often it is in a dataset.
`lumiere.embed` writes them, `WithText` reads them: an example then brings `text` and `text_mask` instead of tokens. The
index is written last: states without one are not used.
"""

import dataclasses
import functools
import hashlib
import json
import zlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from etils import epath

from lumiere.data.buckets import Indices

ROWS = 256


@dataclasses.dataclass(frozen=True)
class Encoder:
  """Whose states they are.

  Attributes:
    checksum: of the text encoder, `lumiere.pretrained_text.checksum_of`.
    max_length: tokens of a caption.
  """

  checksum: str
  max_length: int

  def __str__(self) -> str:
    return f"{self.checksum}-{self.max_length}"


@dataclasses.dataclass(frozen=True, eq=False)
class Index:
  """What is in a folder.

  Attributes:
    folder: the folder.
    encoder: whose states they are.
    datasets: digests of the datasets all of whose captions have states.
    keys: of captions, ascending.
    files: names of the files.
    places: of each key, (which file, which row).
  """

  folder: epath.Path
  encoder: Encoder
  datasets: tuple[str, ...]
  keys: np.ndarray
  files: np.ndarray
  places: np.ndarray

  @classmethod
  def read(cls, folder: epath.PathLike) -> "Index":
    """The index of a folder; raises ValueError if there is none."""
    folder = epath.Path(folder)
    if not (folder / "index.npz").exists():
      raise ValueError(
        f"config.data.embeddings: {folder / 'index.npz'} is missing; python -m lumiere.embed writes or completes it"
      )
    try:
      with (folder / "index.npz").open("rb") as file, np.load(file) as arrays:
        about = json.loads(str(arrays["about"]))
        arrays = {name: arrays[name] for name in ("keys", "files", "places")}
    except Exception as error:  # zip files fail in many ways
      raise ValueError(
        f"config.data.embeddings: {folder / 'index.npz'} is damaged ({error}); python -m lumiere.embed writes it anew"
      ) from error
    return cls(folder, Encoder(**about["encoder"]), tuple(about["datasets"]), **arrays)

  def __getitem__(self, caption: str | bytes) -> dict[str, np.ndarray]:
    """`text` [l d] and `text_mask` [l] of a caption; raises ValueError if it has no states."""
    key = key_of(caption)
    place = np.searchsorted(self.keys, key)
    if place == len(self.keys) or self.keys[place] != key:
      raise ValueError(
        f"config.data.embeddings: {self.folder} holds no states of the caption {caption!r}: the dataset has changed; "
        "python -m lumiere.embed adds them"
      )
    file, row = self.places[place]
    path = self.folder / str(self.encoder) / str(self.files[file])
    found = load(path)[row]
    text, mask = np.array(found["text"]), np.array(found["text_mask"])
    if found["key"] != key or found["checksum"] != _checksum(text, mask):
      raise ValueError(
        f"config.data.embeddings: {path} is damaged; delete it, python -m lumiere.embed makes it again"
      )
    return {"text": text.astype(np.float32), "text_mask": mask}


@dataclasses.dataclass(frozen=True)
class WithText(Sequence):
  """A source whose examples bring the states of their captions.

  Attributes:
    source: the examples.
    index: of the states.
  """

  source: Sequence
  index: Index

  @property
  def groups(self) -> Sequence[Indices] | None:
    """Indices of the examples that may share a batch; None if all may."""
    return getattr(self.source, "groups", None)

  def __len__(self) -> int:
    return len(self.source)

  def __getitem__(self, index: int) -> dict[str, Any]:
    example = dict(self.source[index])
    null = {f"null_{name}": value for name, value in self._null.items()}
    return example | self.index[example["caption"]] | null

  @functools.cached_property
  def _null(self) -> dict[str, np.ndarray]:
    return self.index[""]


def key_of(caption: str | bytes) -> np.uint64:
  """The number that a caption is found by."""
  text = caption if isinstance(caption, bytes) else caption.encode()
  return np.frombuffer(hashlib.blake2b(text, digest_size=8).digest(), "<u8")[0]


def save_states(
  folder: epath.PathLike,
  encoder: Encoder,
  captions: Sequence[str | bytes],
  states: Mapping[str, np.ndarray],
):
  """Writes a file of states; it is there whole or not at all. `write_index` makes it known.

  Args:
    folder: see the head of this file.
    encoder: whose states they are.
    captions: their captions.
    states: `text` [b l d] and `text_mask` [b l].
  """
  text, mask = np.asarray(states["text"], np.float16), np.asarray(states["text_mask"], bool)
  row = [("key", "<u8"), ("checksum", "<u4"), ("text", "<f2", text.shape[1:]), ("text_mask", "?", mask.shape[1:])]  # fmt: skip
  rows = np.zeros(len(captions), row)
  rows["text"], rows["text_mask"] = text, mask
  rows["key"] = [key_of(caption) for caption in captions]
  rows["checksum"] = [_checksum(*pair) for pair in zip(text, mask, strict=True)]
  name = hashlib.blake2b(rows["key"].tobytes(), digest_size=8).hexdigest()
  path = epath.Path(folder) / str(encoder) / f"{name}.npy"
  path.parent.mkdir(parents=True, exist_ok=True)
  with path.with_suffix(".partial").open("wb") as file:
    np.save(file, rows)
  path.with_suffix(".partial").replace(path)


def write_index(folder: epath.PathLike, encoder: Encoder, datasets: Sequence[str] = ()):
  """Makes the states of an encoder that are in `folder` known; `datasets` is for `Index.datasets`."""
  folder = epath.Path(folder)
  load.cache_clear()
  names, keys, places = [], [], []
  for path, found in files_of(folder, encoder):
    places += [(len(names), row) for row in range(len(found))]
    keys.append(found["key"])
    names.append(path.name)
  keys, places = np.concatenate(keys), np.array(places, np.int32)
  keys, first = np.unique(keys, return_index=True)
  about = {"encoder": dataclasses.asdict(encoder), "datasets": list(datasets)}
  with (folder / "index.partial").open("wb") as file:
    np.savez(file, about=json.dumps(about), keys=keys, files=np.array(names), places=places[first])
  (folder / "index.partial").replace(folder / "index.npz")


def files_of(folder: epath.Path, encoder: Encoder | str) -> Iterator[tuple[epath.Path, np.ndarray]]:
  """The files of an encoder's states, and their rows; unreadable ones are left out."""
  for path in sorted((folder / str(encoder)).glob("*.npy")):
    try:
      yield path, load(path)
    except ValueError:
      continue


@functools.lru_cache(maxsize=64)
def load(path: epath.Path) -> np.ndarray:
  """A file's rows, mapped into memory if it is a local one: names go with contents, a file never changes."""
  if "://" not in str(path):
    return np.load(path, mmap_mode="r")
  with path.open("rb") as file:
    return np.load(file)


def _checksum(text: np.ndarray, mask: np.ndarray) -> int:
  return zlib.crc32(mask.tobytes(), zlib.crc32(text.tobytes()))
