"""Batches of one group each, in the groups' proportions, whatever the number of processes."""

import collections
import itertools

import numpy as np
import pytest

from lumiere.data.buckets import GroupedOrder, assign
from lumiere.data.loader import make_loader

GROUPS = [[0, 3, 6, 9, 12], range(1, 40, 3), [2, 5]]
OF = {index: group for group, indices in enumerate(GROUPS) for index in indices}


def batches_of(order, batch_size, first, count):
  places = range(first * batch_size, (first + count) * batch_size)
  return np.array([order[place] for place in places]).reshape(count, batch_size)


def test_a_batch_is_of_one_group_and_groups_come_in_their_proportions():
  order = GroupedOrder(GROUPS, 4, seed=0, shuffle=True)
  batches = batches_of(order, 4, 0, 600)
  groups = [{OF[index] for index in batch} for batch in batches.tolist()]
  assert all(len(group) == 1 for group in groups)
  counts = collections.Counter(next(iter(group)) for group in groups)
  for group, indices in enumerate(GROUPS):
    assert counts[group] == pytest.approx(600 * len(indices) / 20, abs=1.01)
  # In any run of some length, too.
  for first in range(0, 560, 40):
    some = collections.Counter(next(iter(group)) for group in groups[first : first + 40])
    assert all(some[g] == pytest.approx(40 * len(GROUPS[g]) / 20, abs=11) for g in range(3))


def test_each_group_is_gone_through_whole_and_anew():
  order = GroupedOrder(GROUPS, 4, seed=1, shuffle=True)
  flat = batches_of(order, 4, 0, 300).ravel().tolist()
  for group, indices in enumerate(GROUPS):
    seen = [index for index in flat if OF[index] == group]
    size = len(indices)
    epochs = [tuple(seen[i : i + size]) for i in range(0, len(seen) - size, size)]
    assert all(sorted(epoch) == sorted(indices) for epoch in epochs)
    assert size < 4 or len(set(epochs)) > 1


def test_the_order_is_the_seeds_and_any_batch_is_found_without_those_before():
  order, again = (GroupedOrder(GROUPS, 4, seed=2, shuffle=True) for _ in range(2))
  batches = batches_of(order, 4, 0, 50)
  np.testing.assert_array_equal(batches_of(again, 4, 37, 13), batches[37:])
  other = batches_of(GroupedOrder(GROUPS, 4, seed=3, shuffle=True), 4, 0, 50)
  kinds = lambda batches: [OF[batch[0]] for batch in batches.tolist()]
  assert kinds(batches) != kinds(other)


def test_one_group_is_the_order_of_its_examples():
  order = GroupedOrder([range(10)], 4, seed=0, shuffle=False)
  assert [order[place] for place in range(24)] == [*range(10), *range(10), *range(4)]


def test_groups_that_cannot_be():
  with pytest.raises(ValueError, match="a group has no examples"):
    GroupedOrder([[1], []], 4, seed=0, shuffle=False)
  with pytest.raises(ValueError, match="1 of 10000001 examples: that is too few"):
    GroupedOrder([range(10**7), [10**7]], 4, seed=0, shuffle=False)


def test_processes_share_batches_and_a_resumed_loader_goes_on_within_a_bucket():
  source = [{"tokens": np.array([index])} for index in range(40)]
  options = dict(batch_size=4, seed=5, shuffle=True, groups=GROUPS)
  take = lambda batches, count: np.stack([next(batches)["tokens"] for _ in range(count)])
  whole = take(iter(make_loader(source, **options)), 30)
  parts = [
    take(iter(make_loader(source, process_index=p, process_count=2, **options)), 30)
    for p in range(2)
  ]
  np.testing.assert_array_equal(whole, np.concatenate(parts, axis=1))
  first = iter(make_loader(source, **options))
  take(first, 11)
  resumed = iter(make_loader(source, **options))
  resumed.set_state(first.get_state())
  np.testing.assert_array_equal(take(resumed, 19), whole[11:])


def test_a_clip_goes_where_the_least_of_it_is_cut_off():
  buckets = [(24, 40), (40, 24), (32, 32), (12, 20)]
  sizes = np.array([(90, 160), (160, 90), (100, 110), (12, 20), (8, 90), (100, 1000), (47, 80)])
  assigned, reasons = assign(sizes, buckets, max_cut=0.25)
  assert assigned.tolist() == [0, 1, 2, 3, -1, -1, 0]
  assert reasons.tolist() == [0, 0, 0, 0, 1, 2, 0]
  everything, _ = assign(sizes, buckets, max_cut=0.99)
  assert everything.tolist() == [0, 1, 2, 3, -1, 0, 0]
  # Independent of how the buckets are listed.
  for other in itertools.permutations(buckets):
    found, _ = assign(sizes, other, 0.25)
    assert [other[g] if g >= 0 else None for g in found.tolist()] == [
      buckets[g] if g >= 0 else None for g in assigned.tolist()
    ]
