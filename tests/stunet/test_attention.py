"""Softmax attention against JAX's own."""

import jax
import jax.numpy as jnp
import numpy as np

from stunet.attention import attend


def test_attention_is_that_of_jax():
  query, key, value = (
    jax.random.normal(k, (2, length, 3, 8))
    for k, length in zip(jax.random.split(jax.random.key(0), 3), (5, 7, 7), strict=True)
  )
  mask = jnp.arange(7)[None] < jnp.array([[7], [4]])
  for where in (None, mask):
    given = None if where is None else where[:, None, None]
    expected = jax.nn.dot_product_attention(query, key, value, mask=given)
    np.testing.assert_allclose(attend(query, key, value, where), expected, atol=1e-6)
  bias = jax.random.normal(jax.random.key(1), (3, 5, 7))
  given = jax.nn.dot_product_attention(query, key, value, bias[None], mask=mask[:, None, None])
  np.testing.assert_allclose(attend(query, key, value, mask, bias), given, atol=1e-6)
  half = [x.astype(jnp.bfloat16) for x in (query, key, value)]
  rounded = attend(*half, mask)
  assert rounded.dtype == jnp.bfloat16
  np.testing.assert_allclose(rounded.astype(jnp.float32), expected, atol=0.03)
