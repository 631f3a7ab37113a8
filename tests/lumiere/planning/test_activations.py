"""Estimated memory of small programs, by hand."""

import jax
import jax.numpy as jnp

from lumiere.planning.activations import peak_bytes

BYTES = 2 * 8 * 8 * 4


def peak(function, **options):
  x, k = (jax.ShapeDtypeStruct(shape, jnp.float32) for shape in ((2, 8, 8), (8, 8)))
  return peak_bytes(jax.make_jaxpr(function)(x, k).jaxpr, **options) / BYTES


def test_each_product_of_a_chain_is_held_until_the_next_one_has_used_it():
  assert peak(lambda x, k: ((x @ k) @ k) @ k) == 2
  assert peak(lambda x, k: (x @ k) @ k, but_results=True) == 1


def test_elementwise_work_is_not_kept_but_keeps_what_it_is_done_on():
  def late(x, k):
    first = x @ k
    wanted = jnp.sin(first)
    return ((jnp.cos(first) @ k) @ k) * wanted

  assert (
    peak(late) == 3
  )  # the first product beside two of its successors, or the last one and the result of both


def test_sums_of_two_arrays_are_kept_instead_of_both():
  def residual(x, k):
    h = x @ k
    h = h + h @ k
    return (h @ k) @ k + h

  assert peak(residual) == 3


def test_rematerialised_parts_keep_their_arguments_only():
  part = lambda x, k: jnp.sin(jnp.sin(x @ k) @ k) @ k
  loss = lambda part: jax.grad(lambda x, k: jnp.sum(part(part(part(x, k), k), k)), argnums=(0, 1))
  assert peak(loss(jax.checkpoint(part))) < peak(loss(part))
