"""Clips that show nearly the same, found over a whole set by the hashes of three of their frames.

Two hashes of 64 bits that differ in at most r bits agree in at least one of r + 1 bands of them: only clips that share a band
are compared (Manku et al., 2007). Clips that are compared with none of their like cost nothing.
"""

import numpy as np
import scipy.sparse
from jaxtyping import Int, UInt64

# Bits of 64 in which two frames that show the same may differ.
RADIUS = 6


def groups(hashes: UInt64[np.ndarray, "n 3"], radius: int = RADIUS) -> Int[np.ndarray, " n"]:
  """The number of each clip's group: clips are in one group if a chain of near duplicates joins them.

  Two clips are near duplicates if each of their three hashes differs in at most `radius` bits.
  """
  unique, index = np.unique(hashes, axis=0, return_inverse=True)
  edges = [np.zeros((0, 2), np.int64)]
  for band in bands(unique[:, 1], radius):
    order = np.argsort(band, kind="stable")
    bounds = np.flatnonzero(np.diff(band[order], prepend=~band[order[:1]])).tolist()
    for begin, end in zip(bounds, [*bounds[1:], len(order)], strict=True):
      if end - begin > 1:
        edges.append(near_pairs(unique, order[begin:end], radius))
  one, other = np.concatenate(edges).T
  graph = scipy.sparse.coo_array((np.ones(len(one), bool), (one, other)), shape=(len(unique),) * 2)
  _, label = scipy.sparse.csgraph.connected_components(graph, directed=False)
  return label[index.ravel()].astype(np.int64)


def bands(values: UInt64[np.ndarray, " n"], radius: int) -> list[UInt64[np.ndarray, " n"]]:
  """The 64 bits cut into radius + 1 runs of about the same length."""
  edges = np.linspace(0, 64, radius + 2).round().astype(int)
  return [
    (values >> np.uint64(low)) & np.uint64(2 ** int(high - low) - 1)
    for low, high in zip(edges[:-1], edges[1:], strict=True)
  ]


def near_pairs(
  hashes: UInt64[np.ndarray, "n 3"], members: Int[np.ndarray, " m"], radius: int
) -> Int[np.ndarray, "p 2"]:
  """The pairs among `members` that are near duplicates."""
  found = []
  for place, one in enumerate(members[:-1]):
    others = members[place + 1 :]
    near = (np.bitwise_count(hashes[others] ^ hashes[one]) <= radius).all(axis=1)
    found.append(np.stack([np.full(near.sum(), one), others[near]], axis=1))
  return np.concatenate(found)
