"""Groups of near duplicates: all pairs within the radius, found without comparing all pairs."""

import numpy as np
import scipy.sparse

from lumiere.data.curation import duplicates


def brute_force(hashes, radius):
  near = (np.bitwise_count(hashes[:, None] ^ hashes[None]) <= radius).all(axis=-1)
  return scipy.sparse.csgraph.connected_components(scipy.sparse.coo_array(near))[1]


def flipped(rng, hashes, bits):
  """The same hashes with some bits of each changed."""
  out = hashes.copy()
  for place in np.ndindex(out.shape):
    for bit in rng.choice(64, rng.integers(bits + 1), replace=False):
      out[place] ^= np.uint64(1) << np.uint64(bit)
  return out


def test_groups_are_those_of_all_pairs():
  rng = np.random.default_rng(0)
  seeds = rng.integers(0, 2**64, (60, 3), np.uint64)
  hashes = np.concatenate(
    [seeds, flipped(rng, seeds[:30], 4), flipped(rng, seeds[:15], 9), seeds[:5]]
  )
  found = duplicates.groups(hashes, 6)
  expected = brute_force(hashes, 6)
  assert 60 <= len(set(found)) < len(hashes)
  np.testing.assert_array_equal(found[:, None] == found, expected[:, None] == expected)


def test_equal_clips_are_one_group_at_radius_0_and_near_ones_are_not():
  hashes = np.array([[1, 2, 3], [1, 2, 3], [1, 2, 2]], np.uint64)
  assert (
    len(set(duplicates.groups(hashes, 0)[:2])) == 1 and len(set(duplicates.groups(hashes, 0))) == 2
  )
  assert len(set(duplicates.groups(hashes, 1))) == 1


def test_bands_hold_all_bits():
  values = np.array([2**64 - 1, 0], np.uint64)
  for radius in (0, 1, 6):
    found = duplicates.bands(values, radius)
    assert len(found) == radius + 1
    assert sum(int(np.bitwise_count(band[0])) for band in found) == 64
    assert all(band[1] == 0 for band in found)


def test_one_clip_is_a_group_of_its_own():
  assert duplicates.groups(np.array([[5, 5, 5]], np.uint64)).tolist() == [0]
