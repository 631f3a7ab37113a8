"""The parts that every block is made of."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from stunet.blocks import conv3x3, group_norm


@pytest.mark.parametrize("size", [(1, 1), (1, 2), (2, 1), (2, 2), (2, 3), (4, 4)])
def test_a_convolution_is_the_sum_over_its_taps_whatever_the_size(size):
  """By definition, over a picture with a border of zeros; and so are its gradients."""
  conv, (height, width) = conv3x3(5, 7, jnp.float32, nnx.Rngs(0)), size
  conv.bias[...] = jnp.arange(7.0)
  x = jax.random.normal(jax.random.key(1), (3, *size, 5))

  def by_definition(x, kernel):
    padded = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    taps = (
      padded[:, i : i + height, j : j + width] @ kernel[i, j] for i in range(3) for j in range(3)
    )
    return sum(taps) + jnp.arange(7.0)[None, None, None]

  def ours(x, kernel):
    changed = nnx.clone(conv)
    changed.kernel[...] = kernel
    return changed(x)

  kernel = conv.kernel[...]
  np.testing.assert_allclose(conv(x), by_definition(x, kernel), atol=1e-5)
  squared = lambda function: lambda *given: jnp.sum(jnp.sin(function(*given)))
  found = jax.grad(squared(ours), (0, 1))(x, kernel)
  expected = jax.grad(squared(by_definition), (0, 1))(x, kernel)
  for one, other in zip(found, expected, strict=True):
    np.testing.assert_allclose(one, other, atol=1e-5)


@pytest.mark.parametrize("shape", [(3, 4, 6, 12), (3, 5, 12)], ids=["pictures", "captions"])
@pytest.mark.parametrize("scaled", [False, True])
def test_a_norm_is_that_of_flax_then_scale_and_shift(shape, scaled):
  """And so are its gradients; features are not centred, as they never are."""
  norm = group_norm(12, 4, jnp.float32, nnx.Rngs(0))
  norm.scale[...], norm.bias[...] = jnp.linspace(0.5, 2, 12), jnp.linspace(-1, 1, 12)
  x = 3 + 2 * jax.random.normal(jax.random.key(1), shape)
  scale, shift = jax.random.normal(jax.random.key(2), (2, 3, 12))

  def by_definition(x, scale, shift):
    y = nnx.GroupNorm.__call__(norm, x)
    places = tuple(range(1, x.ndim - 1))
    return (
      y * (1 + jnp.expand_dims(scale, places)) + jnp.expand_dims(shift, places) if scaled else y
    )

  def ours(x, scale, shift):
    return norm(x, (scale, shift) if scaled else None)

  np.testing.assert_allclose(ours(x, scale, shift), by_definition(x, scale, shift), atol=2e-5)
  squared = lambda function: lambda *given: jnp.sum(jnp.sin(function(*given)))
  found = jax.grad(squared(ours), (0, 1, 2))(x, scale, shift)
  expected = jax.grad(squared(by_definition), (0, 1, 2))(x, scale, shift)
  for one, other in zip(found, expected, strict=True):
    np.testing.assert_allclose(one, other, atol=1e-5 * np.abs(other).max())


def test_a_norm_has_the_epsilon_that_is_asked_for():
  x = 1e-3 * jnp.array([1.0, -1.0])[None, :, None]
  for epsilon in (1e-5, 1e-6):
    y = group_norm(1, 1, jnp.float32, nnx.Rngs(0), epsilon=epsilon)(x)
    np.testing.assert_allclose(y[0, 0, 0], 1e-3 / np.sqrt(1e-6 + epsilon), rtol=1e-5)


def test_a_norm_of_half_precision_has_statistics_of_full():
  x = (300 + jax.random.normal(jax.random.key(0), (2, 8, 8, 4))).astype(jnp.bfloat16)
  y = group_norm(4, 2, jnp.bfloat16, nnx.Rngs(0))(x)
  assert y.dtype == jnp.bfloat16
  exact = group_norm(4, 2, jnp.float32, nnx.Rngs(0))(x.astype(jnp.float32))
  np.testing.assert_allclose(y.astype(jnp.float32), exact, rtol=2**-8)
