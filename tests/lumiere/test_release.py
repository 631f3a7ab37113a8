"""Releases: what is saved comes back, in bfloat16; what was changed is refused by name."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lumiere import release, weights
from lumiere.checkpoints import Trained
from lumiere.model import abstract_model
from tests.lumiere.experiments import micro
from tests.stunet.networks import random_weights


@pytest.fixture(scope="module")
def trained():
  experiment = micro("stunet", "data")
  rebuild, params, frozen = abstract_model(experiment)
  values = random_weights(params, 0), random_weights(frozen, 1)
  return Trained(experiment, 7, rebuild, *values, provenance={}, checksum="0" * 16)


def test_a_release_comes_back_rounded_once(trained, tmp_path):
  release.save(trained, tmp_path / "one")
  back = release.load(tmp_path / "one")
  assert back.experiment == trained.experiment and back.step == 7
  for part in release.PARTS:
    jax.tree.map(
      lambda a, b: np.testing.assert_array_equal(np.asarray(jnp.asarray(a, jnp.bfloat16), a.dtype), b),
      getattr(trained, part),
      getattr(back, part),
    )  # fmt: skip
  size = 2 * (weights.count(trained.params) + weights.count(trained.frozen))
  assert size < (tmp_path / "one" / release.WEIGHTS).stat().st_size < size + 40_000
  release.save(back, tmp_path / "two")
  first, second = ((tmp_path / name / release.WEIGHTS).read_bytes() for name in ("one", "two"))
  assert first == second


def test_what_was_changed_or_is_missing_is_refused(trained, tmp_path):
  with pytest.raises(release.ReleaseError, match="is no release"):
    release.load(tmp_path)
  release.save(trained, tmp_path)
  content = bytearray((tmp_path / release.WEIGHTS).read_bytes())
  content[-1] ^= 1
  (tmp_path / release.WEIGHTS).write_bytes(content)
  with pytest.raises(release.ReleaseError, match=r"weights.safetensors is not the file"):
    release.load(tmp_path)
