"""Counted operations against closed forms."""

import dataclasses

import jax
import jax.numpy as jnp
import pytest

from lumiere.training import flops
from lumiere.training.stages import Stage
from tests.lumiere.experiments import micro


def counted(function, *shapes):
  arguments = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes]
  return flops.count(jax.make_jaxpr(function)(*arguments).jaxpr)


def convolve(x, kernel, stride=1):
  return jax.lax.conv_general_dilated(
    x, kernel, (stride, stride), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
  )


IMAGE, KERNEL = (2, 8, 8, 3), (3, 3, 3, 5)
FORWARD = 2 * (2 * 8 * 8) * (3 * 3 * 3) * 5


def test_products_and_convolutions():
  assert counted(lambda a, b: a @ b, (4, 7), (7, 5)) == 2 * 4 * 7 * 5
  assert counted(lambda a, b: jnp.einsum("bij,bjk->bik", a, b), (3, 4, 7), (3, 7, 5)) == 3 * 280
  assert counted(convolve, IMAGE, KERNEL) == FORWARD
  assert counted(lambda x, k: convolve(x, k, 2), IMAGE, KERNEL) == FORWARD / 4


def test_a_frozen_kernel_costs_twice_and_a_trained_one_thrice_its_forward_pass():
  loss = lambda x, k: jnp.sum(convolve(x, k) ** 2)
  assert counted(jax.grad(loss, argnums=0), IMAGE, KERNEL) == 2 * FORWARD
  assert counted(jax.grad(loss, argnums=(0, 1)), IMAGE, KERNEL) == 3 * FORWARD


def test_what_is_run_again_counts_again():
  twice = lambda x: jax.lax.scan(lambda c, _: (c @ c, None), x, None, length=6)[0]
  assert counted(twice, (4, 4)) == 6 * 2 * 4**3
  layer = lambda x, k: jnp.sin(jnp.sin(x @ k) @ k)
  loss = lambda x, k: jnp.sum(jax.checkpoint(layer)(x, k))
  plain = lambda x, k: jnp.sum(layer(x, k))
  both = lambda f: counted(jax.grad(f, argnums=(0, 1)), (4, 4), (4, 4))
  assert both(plain) == 6 * 2 * 4**3
  assert both(loss) > both(plain)


def test_a_gradient_is_counted_without_being_traced():
  """As its trace has it: through strides, explicit padding, functions, loops, branches and stopped gradients."""

  def loss(p, x):
    kernel, square, frozen = p["kernel"], p["square"], jnp.ones((8, 8))
    x = jax.lax.conv_general_dilated(
      x, kernel, (2, 2), [(1, 1), (1, 1)], dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
    x = jax.lax.conv_general_dilated(
      x @ frozen, kernel, (1, 1), [(2, 2), (0, 0)], dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
    x, other = jax.jit(lambda x, y: (x @ frozen, y @ frozen))(x, frozen)
    x = x @ (other @ frozen)
    x = jax.lax.scan(lambda c, _: (c @ square, None), x, None, length=5)[0]
    # Through constants, what is carried, what is gone through and what is kept of it, each trained or not.
    x, kept = jax.lax.scan(lambda c, k: (c @ k @ frozen, c @ square), x, p["stack"])
    still = jax.lax.scan(lambda c, k: (c @ k, None), frozen, jnp.ones((3, 8, 8)))[0]
    x = x + (kept @ still).sum(axis=0)
    x = jax.lax.cond(x.sum() > 0, lambda x, w: x @ w, lambda x, w: x, x, square)
    x = x + jax.checkpoint(lambda x: x @ square)(jax.lax.stop_gradient(x))
    return jnp.sum(x**2)

  shapes = {"kernel": (3, 3, 8, 8), "square": (8, 8), "stack": (4, 8, 8)}
  arguments = (
    {name: jnp.ones(shape) for name, shape in shapes.items()},
    jnp.ones((2, 16, 16, 8)),
  )
  jaxpr = jax.make_jaxpr(loss)(*arguments).jaxpr
  counted_so, _ = flops.count_with_gradient(jaxpr, [True, True, True, False])
  assert counted_so == flops.count(jax.make_jaxpr(jax.grad(loss))(*arguments).jaxpr)


@pytest.mark.parametrize("stage", ["t2i", "stunet", "ssr"])
def test_a_models_step_is_that_of_its_gradient(stage):
  experiment = micro(stage, "nowhere")
  batch = Stage(experiment).batch_shapes()
  assert flops.model_flops(experiment, batch) == 8 * flops.count(flops.trace_gradient(experiment))


def test_a_models_step_is_per_example_and_without_what_is_recomputed():
  experiment = micro("t2i", "nowhere")
  batch = Stage(experiment).batch_shapes()
  whole = flops.model_flops(experiment, batch)
  half = flops.model_flops(
    experiment, jax.tree.map(lambda x: x.update(shape=(4, *x.shape[1:])), batch)
  )
  assert whole == pytest.approx(2 * half)
  again = dataclasses.replace(
    experiment, model=dataclasses.replace(experiment.model, remat_levels=(0, 1))
  )
  assert flops.model_flops(again, batch) == whole
  assert whole < 8 * flops.count(flops.trace_gradient(again)) < 1.5 * whole
