"""Batches of one size each, from clips of several sizes.

Clips are put in groups, one a bucket. The batches of the groups come mixed, in the proportion of the groups' clips and in an
order that the seed decides. With n_g clips in group g, N in all and c_g = n_0 + ... + n_(g-1) before it, the first k batches
hold

    floor(k c_(g+1) / N) - floor(k c_g / N)                                                                          (1)

of group g. Within blocks of batches they are shuffled, so that what batch k is follows from k alone: nothing has to be
remembered, and all processes agree. One group is the plain order of its examples.
"""

import functools
from collections.abc import Sequence

import grain
import numpy as np
from jaxtyping import Integer

from lumiere.sizes import Size

# Of examples.
Indices = Sequence[int] | Integer[np.ndarray, " _n"]
# Batches of a block at most: a group that has fewer than two in so many is no bucket.
LONGEST_BLOCK = 2**20


class GroupedOrder(Sequence):
  """The index of the example at each place of a training without end; `batch_size` places at a time are of one group."""

  def __init__(self, groups: Sequence[Indices], batch_size: int, seed: int, shuffle: bool):
    """The order.

    Args:
      groups: indices of examples, those of a group together; none is empty.
      batch_size: examples of a batch.
      seed: of the order.
      shuffle: whether the examples of a group come in another order in each epoch of it, or always in their own.

    Raises:
      ValueError: if a group is empty, or has too small a share of the examples.
    """
    counts = [len(group) for group in groups]
    if not counts or min(counts) < 1:
      raise ValueError("a group has no examples")
    self._bounds = np.cumsum([0, *counts]).tolist()
    # By equation (1), a group with two batches or more in a block on average has one or more in each.
    self._block = -(-2 * self._bounds[-1] // min(counts))
    if self._block > LONGEST_BLOCK:
      raise ValueError(
        f"data.buckets: one of the sizes has {min(counts)} of {self._bounds[-1]} examples: that is too few for a bucket; leave it out"
      )
    self._batch_size, self._seed = batch_size, seed
    self._streams = []
    for group in groups:
      stream = grain.MapDataset.source(group).seed(seed)
      self._streams.append((stream.shuffle() if shuffle else stream).repeat())

  def __len__(self) -> int:
    return len(self._streams[0]) // self._batch_size * self._batch_size

  def __getitem__(self, place: int) -> int:
    batch, row = divmod(place, self._batch_size)
    group, rank = self._place(batch)
    return int(self._streams[group][rank * self._batch_size + row])

  def _place(self, batch: int) -> tuple[int, int]:
    """(group of a batch, how many batches of that group come before it)."""
    block, index = divmod(batch, self._block)
    before = self._before(block * self._block)
    counts = np.subtract(self._before((block + 1) * self._block), before)
    order = _shuffled_block(self._seed, block, tuple(counts.tolist()))
    group = int(order[index])
    return group, before[group] + int(np.count_nonzero(order[:index] == group))

  def _before(self, batch: int) -> list[int]:
    """Batches of each group among the first `batch` ones, equation (1)."""
    ends = [batch * bound // self._bounds[-1] for bound in self._bounds]
    return [last - first for first, last in zip(ends[:-1], ends[1:], strict=True)]


@functools.lru_cache(maxsize=4)
def _shuffled_block(
  seed: int, block: int, counts: tuple[int, ...]
) -> Integer[np.ndarray, " batches"]:
  """The groups of a block's batches."""
  groups = np.repeat(np.arange(len(counts)), counts)
  return np.random.default_rng([seed, block]).permutation(groups)


def assign(
  sizes: Integer[np.ndarray, "n 2"], buckets: Sequence[Size], max_cut: float
) -> tuple[Integer[np.ndarray, " n"], Integer[np.ndarray, " n"]]:
  """The bucket of each clip: that of which the least is cut off; of several, the one with most pixels.

  Args:
    sizes: height and width of the clips.
    buckets: sizes of batches.
    max_cut: share of a picture that may be cut off.

  Returns:
    (index of the bucket, -1 if the clip fits none; why it fits none: 0 it does, 1 it is too small for all of them, 2 too much of
    it would be cut off).
  """
  order = sorted(range(len(buckets)), key=lambda g: -buckets[g][0] * buckets[g][1])
  height, width = sizes.astype(np.float64).T
  cut = np.full((len(sizes), len(buckets)), np.inf)
  for column, group in enumerate(order):
    rows, columns = buckets[group]
    ratio = height * columns / (width * rows)
    is_large = (height >= rows) & (width >= columns)
    cut[:, column] = np.where(is_large, 1 - np.minimum(ratio, 1 / ratio), np.inf)
  best = cut.argmin(axis=1)
  least = cut[np.arange(len(sizes)), best]
  reason = np.where(np.isinf(least), 1, np.where(least > max_cut, 2, 0))
  return np.where(reason == 0, np.array(order)[best], -1), reason
