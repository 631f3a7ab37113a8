"""Floating-point operations of a function, counted from its trace: what a utilisation is measured against.

Counted are convolutions and matrix products, two operations a multiply-add; the rest is a few percent. Operations are
those of the model: nothing is recomputed (`model_flops` leaves rematerialisation out), and frozen weights have no
gradient, so that a step of inflation costs less than three times its forward pass.
"""

import dataclasses
import math

import jax
import jax.numpy as jnp
from flax import nnx

from lumiere import weights
from lumiere.experiment import Experiment
from lumiere.training.stages import Stage

# Peak of one device in its fastest dtype for training, bfloat16, in FLOP/s, by `jax.Device.device_kind`: vendors' figures.
PEAK_FLOPS = {
  "TPU v4": 275e12,
  "TPU v5 lite": 197e12,
  "TPU v5e": 197e12,
  "TPU v5": 459e12,
  "TPU v5p": 459e12,
  "TPU v6 lite": 918e12,
  "TPU v6e": 918e12,
  "NVIDIA A100-SXM4-80GB": 312e12,
  "NVIDIA H100 80GB HBM3": 989e12,
  "NVIDIA H200": 989e12,
}


def model_flops(experiment: Experiment, batch, recomputed: bool = False) -> float:
  """Operations of one training step, forward and backward.

  Args:
    experiment: what is trained.
    batch: leaves [b ...] with a shape and a dtype.
    recomputed: whether to count what rematerialisation does again.
  """
  plain = experiment.model if recomputed else dataclasses.replace(experiment.model, remat_levels=())
  stage = Stage(dataclasses.replace(experiment, model=plain))
  rebuild, params, frozen = weights.split(nnx.eval_shape(stage.build))
  # All examples cost the same.
  one = jax.tree.map(lambda x: jax.ShapeDtypeStruct((1, *x.shape[1:]), x.dtype), dict(batch))

  def loss(params, frozen, batch, key):
    return jnp.mean(stage.losses(rebuild(params, frozen), batch, key)[0])

  traced = jax.make_jaxpr(jax.grad(loss))(params, frozen, one, jax.random.key(0))
  return count(traced.jaxpr) * len(next(iter(batch.values())))


def count(jaxpr) -> float:
  """Operations of a jaxpr and of all in it; the body of a `while` counts once, of a `scan` as often as it runs."""
  total = 0.0
  for equation in jaxpr.eqns:
    out = equation.outvars[0].aval if equation.outvars else None
    if equation.primitive.name == "dot_general":
      (contracted, _), _ = equation.params["dimension_numbers"]
      shape = equation.invars[0].aval.shape
      total += 2.0 * out.size * math.prod(shape[axis] for axis in contracted)
    elif equation.primitive.name == "conv_general_dilated":
      kernel = equation.invars[1].aval
      features = kernel.shape[equation.params["dimension_numbers"].rhs_spec[0]]
      # Zeros that a dilated input is filled up with cost nothing.
      total += 2.0 * out.size * kernel.size / features / math.prod(equation.params["lhs_dilation"])
    else:
      repeats = equation.params["length"] if equation.primitive.name == "scan" else 1
      total += repeats * sum(map(count, inner_jaxprs(equation.params)))
  return total


def inner_jaxprs(params) -> list:
  """The jaxprs among an equation's parameters."""
  found = []
  for value in params.values():
    for item in value if isinstance(value, tuple | list) else (value,):
      item = getattr(item, "jaxpr", item)
      if hasattr(item, "eqns"):
        found.append(item)
  return found
