"""The ways of resizing, against closed forms and TensorFlow."""

import jax.numpy as jnp
import numpy as np
import pytest

from lumiere.evaluation.metrics.resizing import KINDS, resize


def line(values, width: int, kind: str) -> list[float]:
  frame = np.tile(np.array(values, np.float32)[None, None, :, None], (1, 2, 1, 1))
  return np.asarray(resize(jnp.asarray(frame), 2, width, kind))[0, 0, :, 0].tolist()


def test_closed_forms():
  assert line([0, 1], 4, "tf1") == pytest.approx([0, 0.5, 1, 1])
  assert line([0, 1], 4, "half_pixel") == pytest.approx([0, 0.25, 0.75, 1])
  assert line([0, 1], 4, "aligned") == pytest.approx([0, 1 / 3, 2 / 3, 1])
  assert line([0, 1, 2, 3], 2, "aligned") == pytest.approx([0, 3])
  assert line([0, 1, 2, 3], 2, "tf1") == pytest.approx([0, 2])
  assert line([0, 1, 2, 3], 2, "half_pixel") == pytest.approx([0.5, 2.5])
  # A triangle of twice the width, cut off at the edges: weights 3, 3, 1 of 7.
  assert line([0, 7, 14, 21], 2, "antialiased") == pytest.approx([(3 * 7 + 14) / 7 * 1.0, 16.0])


@pytest.mark.parametrize("size", [(5, 7), (13, 4)])
def test_tf1_is_what_tensorflow_1_computes(size):
  import tensorflow as tf

  frames = np.random.default_rng(0).uniform(0, 255, (2, 9, 6, 3)).astype(np.float32)
  theirs = tf.raw_ops.ResizeBilinear(images=frames, size=size).numpy()
  np.testing.assert_allclose(resize(jnp.asarray(frames), *size, "tf1"), theirs, atol=1e-3)
  theirs = tf.image.resize(frames, size).numpy()
  np.testing.assert_allclose(resize(jnp.asarray(frames), *size, "half_pixel"), theirs, atol=1e-3)
  theirs = tf.image.resize(frames, size, antialias=True).numpy()
  np.testing.assert_allclose(resize(jnp.asarray(frames), *size, "antialiased"), theirs, atol=1e-3)


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_size_changes_nothing(kind):
  frames = jnp.ones((1, 3, 4, 3))
  assert resize(frames, 3, 4, kind) is frames
