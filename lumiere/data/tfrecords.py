"""TFRecord files by index, for storage where ArrayRecord cannot be read, such as gs://.

A record is its length (8 bytes, little endian), a check of the length (4), its content, and a check of the content (4). Where each
one begins is kept beside the files, so that reading one asks the storage for no more than that.
"""

import json
import struct
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from etils import epath

OFFSETS = "offsets.json"  # of all files of a folder: {name: [place of each record]}
_HEAD, _CHECK = 12, 4


def offsets_of(path: epath.PathLike) -> list[int]:
  """Where the records of a file begin.

  Raises:
    ValueError: if it ends within a record.
  """
  found, place, size = [], 0, epath.Path(path).stat().length
  with epath.Path(path).open("rb") as file:
    while place < size:
      found.append(place)
      file.seek(place)
      head = file.read(_HEAD)
      place += _HEAD + (struct.unpack("<Q", head[:8])[0] if len(head) == _HEAD else 0) + _CHECK
  if place != size:
    raise ValueError(f"{path} ends within a record: it is damaged, or not whole")
  return found


class TFRecords(Sequence):
  """Records by their index."""

  def __init__(
    self, folder: epath.PathLike, names: Sequence[str], parse: Callable[[bytes], dict[str, Any]]
  ):
    """All records of some files.

    Args:
      folder: of the files, with OFFSETS.
      names: of the files, in order.
      parse: from a record to an example.

    Raises:
      ValueError: if OFFSETS does not say where their records begin.
    """
    self._folder, self._names, self._parse = epath.Path(folder), list(names), parse
    known = json.loads((self._folder / OFFSETS).read_text())
    if missing := [name for name in names if name not in known]:
      raise ValueError(
        f"{self._folder / OFFSETS} does not say where the records of {missing[0]} begin"
      )
    counts = [len(known[name]) for name in names]
    self._files = np.repeat(np.arange(len(names)), counts)
    self._places = np.concatenate([np.asarray(known[name], np.int64) for name in names])

  def __len__(self) -> int:
    return len(self._places)

  def __getitem__(self, index: int) -> dict[str, Any]:
    # Opened anew for each: sources are used by several threads, and go to other processes.
    path = self._folder / self._names[self._files[index]]
    with path.open("rb") as file:
      file.seek(int(self._places[index]))
      (length,) = struct.unpack("<Q", file.read(_HEAD)[:8])
      content = file.read(length)
    if len(content) != length:
      raise ValueError(f"{path} ends within a record: it is damaged, or not whole")
    return self._parse(content)
