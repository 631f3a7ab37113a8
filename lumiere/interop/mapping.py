"""Fits the tensors of a file to the weights of a model, before any of them is read.

Every weight of ours must be there with its shape; what else the file holds is reported with the reason why it is not used.
"""

import dataclasses
import math
import re
from collections.abc import Mapping

from flax import traverse_util

from lumiere.interop.names import Module, Source, source_of
from lumiere.interop.tensors import Tensor
from lumiere.weights import Deferred, Weights

FLOATS = ("float16", "bfloat16", "float32", "float64")


@dataclasses.dataclass(frozen=True)
class Fit:
  """What `fit` found.

  Attributes:
    weights: our tree, its leaves `Deferred`.
    sources: where they lie: path -> source.
    unused: tensors that no weight of ours is in -> why.
  """

  weights: Weights
  sources: Mapping[str, Source]
  unused: Mapping[str, str]

  def report(self) -> str:
    """One line for each weight and each unused tensor."""
    width = max(map(len, self.sources))
    rows = []
    for path, source in self.sources.items():
      module = source.module
      part = f" (part {module.part + 1} of {module.parts})" if module.parts > 1 else ""
      rows.append(f"mapped  {path:<{width}}  {source.key}{part}  {list(source.shape)}")
    rows += [f"unused  {key}  ({why})" for key, why in sorted(self.unused.items())]
    return "\n".join(rows)

  def summary(self) -> str:
    """How many, in one line."""
    leaves = traverse_util.flatten_dict(self.weights).values()
    keys = {source.key for source in self.sources.values()}
    count = sum(math.prod(leaf.shape) for leaf in leaves)
    return f"{len(keys)} tensors mapped to {len(leaves)} weights ({count / 1e6:.1f}M numbers), {len(self.unused)} unused"


def fit(
  abstract: Weights,
  tensors: Mapping[str, Tensor],
  modules: Mapping[str, Module],
  unused: Mapping[re.Pattern, str],
) -> Fit:
  """Finds the tensor of each weight.

  Args:
    abstract: our weights, or their shapes.
    tensors: what the file has.
    modules: the naming scheme, a table of `lumiere.interop.names`.
    unused: names that may be left over -> why.

  Raises:
    ValueError: names the first weight whose tensor is missing, of another shape or not of floating point, or the first
      tensor left over that is not expected.
  """
  leaves, sources = {}, {}
  for path, leaf in sorted(traverse_util.flatten_dict(abstract).items()):
    name = "/".join(path)
    source = source_of(name, leaf.shape, modules)
    tensor = tensors.get(source.key)
    if tensor is None:
      raise ValueError(f"{source.key} is missing (it would be {name}, {list(source.shape)})")
    if not source.fits(tensor.shape):
      raise ValueError(
        f"{source.key} has shape {list(tensor.shape)}, {list(source.shape)} expected for {name}"
      )
    if tensor.dtype not in FLOATS:
      raise ValueError(f"{source.key} holds {tensor.dtype}; {', '.join(FLOATS)} are read")
    leaves[path] = Deferred(
      leaf.shape, lambda tensor=tensor, source=source: source.load(tensor.read())
    )
    sources[name] = source
  rest = {}
  for key in tensors.keys() - {source.key for source in sources.values()}:
    why = next((why for pattern, why in unused.items() if pattern.fullmatch(key)), None)
    if why is None:
      raise ValueError(f"{key} {list(tensors[key].shape)} has no place in this network")
    rest[key] = why
  return Fit(traverse_util.unflatten_dict(leaves), sources, rest)


def check_count(layers: int, tensors: Mapping[str, Tensor]):
  """Raises ValueError if a network of so many layers must have more tensors; to build it for that may take for ever."""
  if layers > len(tensors):
    raise ValueError(f"{len(tensors)} tensors are there, for a network of {layers} layers or more")


def merge(first: Fit, second: Fit, name: str) -> Fit:
  """The report of two networks in one file; the second's paths begin with `name`."""
  sources = dict(first.sources) | {f"{name}/{path}": s for path, s in second.sources.items()}
  taken = {source.key for source in sources.values()}
  unused = {key: why for key, why in first.unused.items() if key not in taken}
  return Fit({**first.weights, name: second.weights}, sources, unused)
