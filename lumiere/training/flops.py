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
from jax.sharding import AxisType

from lumiere import weights
from lumiere.experiment import Experiment
from lumiere.training.stages import Stage
from stunet import layout

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


def model_flops(experiment: Experiment, batch) -> float:
  """Operations of one training step, forward and backward, over all devices; nothing is recomputed.

  Args:
    experiment: what is trained.
    batch: leaves [b ...] with a shape and a dtype.
  """
  plain = dataclasses.replace(experiment.model, remat_levels=())
  traced = trace_gradient(dataclasses.replace(experiment, model=plain))
  return count(traced) * len(next(iter(batch.values())))  # all examples cost the same


def trace_gradient(experiment: Experiment, frames: int = 1):
  """The jaxpr that gives one example's gradient, with its rematerialisation, on `frames` devices that share a clip."""
  stage = Stage(experiment)
  rebuild, params, frozen = weights.split(nnx.eval_shape(stage.build))
  one = {
    name: jax.ShapeDtypeStruct((1, *x.shape[1:]), x.dtype)
    for name, x in stage.batch_shapes().items()
  }

  def loss(params, frozen, batch, key):
    return jnp.mean(stage.losses(rebuild(params, frozen), batch, key)[0])

  with sharing_a_clip(frames):
    return jax.make_jaxpr(jax.grad(loss))(params, frozen, one, jax.random.key(0)).jaxpr


def sharing_a_clip(frames: int):
  """The context in which traces are those of devices of no kind, of which `frames` share a clip."""
  mesh = jax.sharding.AbstractMesh((1, 1, frames), layout.AXES, (AxisType.Auto,) * 3)
  return jax.sharding.use_abstract_mesh(mesh)


def count(jaxpr) -> float:
  """Operations of a jaxpr and of all in it.

  The body of a `while` counts once, of a `scan` as often as it runs; of a `shard_map`, what one device does.
  """
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
