"""What a compiled TPU program says of itself."""

import collections
import re

import numpy as np

COLLECTIVES = ("all-gather", "all-reduce", "reduce-scatter", "all-to-all", "collective-permute")


def estimated_cycles(text: str) -> int:
  """The compiler's estimate over all operations of a program, a loop's body once."""
  return sum(map(int, re.findall(r'"estimated_cycles":"(\d+)"', text)))


def collective_bytes(text: str) -> dict[str, float]:
  """Bytes that the collectives of a program give, by kind, a loop's body once."""
  sizes = collections.Counter()
  pattern = re.compile(rf"= (.*?) ({'|'.join(COLLECTIVES)})(-start)?\(")
  for line in text.splitlines():
    found = pattern.search(line)
    if not found:
      continue
    arrays = [
      np.prod([int(n) for n in shape.split(",") if n], dtype=float) * _width(dtype)
      for dtype, shape in re.findall(r"\b([a-z]+\d*)\[([\d,]*)\]", found[1])
    ]
    # Asynchronous ones give (operand, result, ...): the largest is what travels.
    sizes[found[2]] += max(arrays) if found[3] else sum(arrays)
  return dict(sizes)


def temporaries_that_did_not_fit(message: str) -> float | None:
  """Bytes of temporaries that a program wanted whose compilation ended with this message; None if it says nothing."""
  found = re.search(r"HLO temporaries \(([\d.]+)G\)", message)
  return float(found[1]) * 2**30 if found else None


def _width(dtype: str) -> float:
  found = re.search(r"\d+", dtype)
  return int(found[0]) / 8 if found else 1
