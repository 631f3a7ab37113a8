"""Memory of activations, estimated from a trace alone.

Without the compiler it is not known what it will keep in memory. The assumption is that it keeps the results of products,
convolutions and reductions from where they are computed to their last use, and fuses elementwise operations into the
operations that read their results. Elementwise results of several large arrays are kept too, as keeping all of those arrays
would cost more.
"""

import math

from lumiere.training.flops import inner_jaxprs

# Operations whose results are kept; so are the results of rematerialised parts and loops that contain one of them.
KEPT = {
  "conv_general_dilated",
  "dot_general",
  "reduce_sum",
  "concatenate",
  "all_gather",
  "all_to_all",
  "ppermute",
}
INLINED = {"jit", "shard_map"}


class Value:
  """An array of the program: its bytes, and the kept arrays that it is computed from."""

  def __init__(self, aval):
    self.size = float(math.prod(aval.shape) * aval.dtype.itemsize) if hasattr(aval, "shape") else 0
    self.is_activation = len(getattr(aval, "shape", ())) > 2  # what has fewer axes is small
    self.origins: set[Value] = set()


def peak_bytes(jaxpr, but_results: bool = False) -> float:
  """Peak bytes of activations that are alive when a jaxpr runs in its order; arguments are not counted.

  Args:
    jaxpr: inside a `shard_map` arrays have the sizes of one device's part.
    but_results: whether to exclude the results too, for example a step's gradients, which are counted elsewhere.
  """
  steps = []
  results = inlined(jaxpr, [None] * len(jaxpr.invars), steps)
  outputs = {value for value in results if value is not None}

  last_use, inner = {}, []
  for index, (name, given, made, bodies) in enumerate(steps):
    used = set().union(*(value.origins for value in given if value is not None))
    last_use |= dict.fromkeys(used, index)
    inner.append(max(map(peak_bytes, bodies), default=0.0))
    kept = name in KEPT or inner[-1] > 0
    for value in made:
      large = {origin for origin in used if 4 * origin.size >= value.size}
      if not value.is_activation or (but_results and value in outputs):
        continue
      value.origins = {value} if kept or len(large) > 1 else large
  for value in outputs:
    last_use |= dict.fromkeys(value.origins, len(steps))

  ends = [[] for _ in range(len(steps) + 1)]
  for value, index in last_use.items():
    ends[index].append(value)
  alive = peak = 0.0
  for index, (_, _, made, _) in enumerate(steps):
    alive += sum(value.size for value in made if value in last_use)
    peak = max(peak, alive + inner[index])
    alive -= sum(value.size for value in ends[index])
  return peak


def inlined(jaxpr, arguments: list[Value | None], steps: list) -> list[Value | None]:
  """Appends (operation, arguments, results, jaxprs in it) in order, calls inlined; returns the jaxpr's results.

  None stands for what is not computed here: arguments of the outermost jaxpr, and constants.
  """
  values = dict(zip(jaxpr.invars, arguments, strict=True))
  read = lambda variables: [None if hasattr(v, "val") else values.get(v) for v in variables]
  for equation in jaxpr.eqns:
    name, bodies = equation.primitive.name, inner_jaxprs(equation.params)
    if name in INLINED:
      made = inlined(bodies[0], read(equation.invars), steps)
    else:
      made = [Value(variable.aval) for variable in equation.outvars]
      steps.append((name, read(equation.invars), made, bodies))
    values.update(zip(equation.outvars, made, strict=True))
  return read(jaxpr.outvars)
