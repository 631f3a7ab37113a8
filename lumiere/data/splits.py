"""Which files of a dataset are held out: by the hash of their names, so that a file that is added later moves no other one."""

import hashlib
from collections.abc import Iterable


def place_of(name: str) -> float:
  """Of a file among all files that there may be, in [0, 1)."""
  return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8]) / 2**64


def held_out(names: Iterable[str], share: float | int) -> set[str]:
  """The files that are held out: about `share` of them; of two or more files neither none nor all, if `share` is not 0."""
  names = sorted(names, key=place_of)
  count = sum(place_of(name) < share for name in names)
  return set(names[: min(max(count, 1), len(names) - 1)]) if share else set()
