"""The parts that every block is made of."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from stunet.blocks import conv3x3


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
