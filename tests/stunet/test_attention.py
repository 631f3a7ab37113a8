"""Softmax attention against JAX's own."""

import jax
import jax.numpy as jnp
import numpy as np

from stunet import attention
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


def test_many_logits_are_computed_in_parts(monkeypatch):
  """Values and gradients are those of all at once; memory is not."""
  query, key, value = (
    jax.random.normal(k, (2, length, 3, 8))
    for k, length in zip(jax.random.split(jax.random.key(0), 3), (256, 270, 270), strict=True)
  )
  mask = jnp.arange(270)[None] < jnp.array([[270], [200]])

  def program():
    loss = lambda *given: jnp.sum(jnp.sin(attend(*given, mask)))
    return jax.jit(jax.value_and_grad(loss, (0, 1, 2))).lower(query, key, value).compile()

  whole = program()
  monkeypatch.setattr(attention, "MOST_LOGITS", 2**16)
  monkeypatch.setattr(attention, "LOGITS_AT_A_TIME", 2**13)  # 16 queries, as 30 divide nothing
  parts = program()
  for found, expected in zip(
    jax.tree.leaves(parts(query, key, value)),
    jax.tree.leaves(whole(query, key, value)),
    strict=True,
  ):
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
  needed = lambda program: program.memory_analysis().temp_size_in_bytes
  assert needed(parts) < needed(whole) / 2
