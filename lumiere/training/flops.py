"""Floating-point operations of a function, counted from its trace, as the basis of utilisation.

Only convolutions and matrix products are counted, with two operations per multiply-add; the rest is a few percent. These are
the operations of the model: nothing is recomputed, and frozen weights have no gradient, so that a training step of an
inflated network costs less than three times its forward pass.
"""

import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax.extend.core import Var
from jax.sharding import AxisType

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
  loss, arguments = one_loss(experiment, batch)
  with sharing_a_clip(1):
    traced = jax.make_jaxpr(loss)(*arguments).jaxpr
  params, *others = map(jax.tree.leaves, arguments)
  trained = [True] * len(params) + [False] * sum(map(len, others))
  flops, _ = count_with_gradient(traced, trained)
  return flops * len(next(iter(batch.values())))  # all examples cost the same


def trace_gradient(experiment: Experiment, frames: int = 1):
  """The jaxpr that gives one example's gradient, with its rematerialisation, on `frames` devices that share a clip."""
  loss, arguments = one_loss(experiment, Stage(experiment).batch_shapes())
  with sharing_a_clip(frames):
    return jax.make_jaxpr(jax.grad(loss))(*arguments).jaxpr


def one_loss(experiment: Experiment, batch):
  """(one example's loss as a function of its trained weights and other arguments, their shapes)."""
  stage = Stage(experiment)
  rebuild, params, frozen = stage.abstract()
  one = {name: jax.ShapeDtypeStruct((1, *x.shape[1:]), x.dtype) for name, x in batch.items()}

  def loss(params, frozen, batch, key):
    return jnp.mean(stage.losses(rebuild, params, frozen, batch, key)[0])

  return loss, (params, frozen, one, jax.random.key(0))


def sharing_a_clip(frames: int):
  """The context in which traces are those of devices of no kind, of which `frames` share a clip."""
  mesh = jax.sharding.AbstractMesh((1, 1, frames), layout.AXES, (AxisType.Auto,) * 3)
  return jax.sharding.use_abstract_mesh(mesh)


def count(jaxpr) -> float:
  """Operations of a jaxpr and of all in it.

  The body of a `while` counts once, of a `scan` as often as it runs; of a `shard_map`, what one device does.
  """
  return count_with_gradient(jaxpr, [False] * len(jaxpr.invars))[0]


def count_with_gradient(jaxpr, trained: Sequence[bool]) -> tuple[float, list[bool]]:
  """Operations of a jaxpr as `count` has them, and of its gradient.

  A product brings another one for each of its two factors that depends on what is trained, also where a stopped
  gradient behind it would make that superfluous.

  Args:
    jaxpr: of what is differentiated.
    trained: for each of its arguments, whether with respect to it.

  Returns:
    (operations, for each result whether it depends on what is trained).
  """
  depends = {
    variable for variable, is_trained in zip(jaxpr.invars, trained, strict=True) if is_trained
  }
  of = lambda atom: isinstance(atom, Var) and atom in depends
  total = 0.0
  for equation in jaxpr.eqns:
    given = list(map(of, equation.invars))
    name, parameters, repeats = equation.primitive.name, equation.params, 1
    found = [any(given) and name != "stop_gradient"] * len(equation.outvars)
    forward, *backward = _products(equation)
    total += forward + sum(cost for cost, wanted in zip(backward, given, strict=False) if wanted)
    if name == "scan":
      # What is carried may depend on all that went in, some rounds later.
      repeats, carried = parameters["length"], _carried(equation)
      given[carried] = [any(given)] * len(given[carried])
    for inner in inner_jaxprs(parameters):
      # Leading arguments, such as the choice of a branch, do not go into it; where it has others, they may depend on all.
      into = [any(given)] * len(inner.invars) + given
      operations, results = count_with_gradient(inner, into[len(into) - len(inner.invars) :])
      total += repeats * operations
      if len(results) == len(found):
        found = results
    depends |= {
      variable
      for variable, is_found in zip(equation.outvars, found, strict=True)
      if is_found and jnp.issubdtype(variable.aval.dtype, jnp.inexact)
    }
  return total, list(map(of, jaxpr.outvars))


def _carried(equation) -> slice:
  """Which arguments of a scan are carried from round to round. Before them come constants, after them what is gone through."""
  (body,) = inner_jaxprs(equation.params)
  # JAX's own names for these numbers differ between its versions. What is gone through, and what is kept of each round, has
  # one more axis outside than inside.
  through = sum(
    outside.aval.ndim > inside.aval.ndim
    for outside, inside in zip(equation.invars, body.invars, strict=True)
  )
  carried = sum(
    outside.aval.ndim == inside.aval.ndim
    for outside, inside in zip(equation.outvars, body.outvars, strict=True)
  )
  end = len(equation.invars) - through
  return slice(end - carried, end)


def _products(equation) -> tuple[float, float, float]:
  """Operations of a product or a convolution, and of the gradients of its two factors; 0 for all else."""
  parameters, name = equation.params, equation.primitive.name
  if name == "dot_general":
    (contracted, _), _ = parameters["dimension_numbers"]
    shape = equation.invars[0].aval.shape
    once = 2.0 * equation.outvars[0].aval.size * math.prod(shape[axis] for axis in contracted)
    return once, once, once
  if name == "conv_general_dilated":
    x, kernel, out = (v.aval for v in (*equation.invars, *equation.outvars))
    of_outputs, of_inputs = (
      kernel.shape[axis] for axis in parameters["dimension_numbers"].rhs_spec[:2]
    )
    # Zeros that a dilated input is filled up with cost nothing; the input's gradient is one of those by the strides.
    once = 2.0 * out.size * kernel.size / of_outputs / math.prod(parameters["lhs_dilation"])
    of_x = 2.0 * x.size * kernel.size / of_inputs / math.prod(parameters["window_strides"])
    return once, of_x, once
  return 0.0, 0.0, 0.0


def inner_jaxprs(params) -> list:
  """The jaxprs among an equation's parameters."""
  found = []
  for value in params.values():
    for item in value if isinstance(value, tuple | list) else (value,):
      item = getattr(item, "jaxpr", item)
      if hasattr(item, "eqns"):
        found.append(item)
  return found
