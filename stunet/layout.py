"""How a network is laid out on a device mesh: what is split over which axis, and how data moves along the axes.

Axes of the mesh, and what is split over them (`AXES`, `RULES`):

    data      examples
    fsdp      examples too, and every weight with its gradient, average and optimizer state
    frames    the time axis of activations: one clip on several devices

A network runs under `jax.set_mesh`. Without a mesh, or on axes of size 1, the functions here do nothing. Over `data` and
`fsdp` the compiler splits the work by itself, as the leading axis of every array is the examples. Weights are gathered
layer by layer where they are used (`gathered`), in the dtype of the computation; their gradients are reduced and split again.

Over `frames` the network is partitioned by hand, inside one `shard_map` (`over_frames_axis`). Image layers and norms see one
frame at a time and need no communication. A temporal convolution takes one frame from either neighbour (`with_neighbours`).
Temporal attention exchanges frames for places, that is pixels, and back (`to_places`, `to_frames`). A level whose frames do
not divide evenly is computed whole by every device of the axis (`whole`, `own_frames`); such levels are the coarsest and cheapest.
"""

import functools

import jax
import jax.numpy as jnp
from flax import nnx
from jax.sharding import PartitionSpec
from jaxtyping import Array, Float

DATA, FSDP, FRAMES = AXES = ("data", "fsdp", "frames")

# What an axis of an array holds -> the mesh axes that it is split over. The only such table.
RULES = {"examples": (DATA, FSDP), "frames": FRAMES, "weights": FSDP}


def spec(*names: str | None) -> PartitionSpec:
  """The PartitionSpec of an array whose axes hold `names`, entries of `RULES` or None."""
  return PartitionSpec(*(RULES[name] if name else None for name in names))


def weight_spec(shape: tuple[int, ...], parts: int) -> PartitionSpec:
  """The PartitionSpec of a weight, or of a statistic of one, over an `fsdp` axis of that many parts.

  Kernels [..., in, out] are split along their inputs, or else their outputs, or else another axis. Outputs come second, as
  they lie along a TPU's vector lanes, where short arrays are slow. Vectors, and what does not divide, are replicated.
  """
  if parts > 1 and len(shape) > 1:
    for axis in (len(shape) - 2, len(shape) - 1, *range(len(shape) - 2)):
      if shape[axis] % parts == 0:
        return spec(*(None,) * axis, "weights")
  return PartitionSpec()


def axis_size(name: str) -> int:
  """Number of devices along an axis of the current mesh; 1 without a mesh."""
  return jax.sharding.get_abstract_mesh().shape.get(name, 1)


def gathered(module, dtype):
  """`module` with whole weights on every device. Call it inside the function that is rematerialised.

  Args:
    module: an `nnx.Module`, or a pytree of some.
    dtype: of the module's computation; kernels are sent in it.
  """
  parts = axis_size(FSDP)
  if parts == 1:
    return module
  graph, state = nnx.split(module)

  def gather(weight):
    split = weight_spec(weight.shape, parts)
    return weight if split == PartitionSpec() else _gather(weight.astype(dtype), split)

  return nnx.merge(graph, jax.tree.map(gather, state))


@functools.partial(jax.custom_vjp, nondiff_argnums=(1,))
def _gather(weight, split: PartitionSpec):
  return jax.lax.with_sharding_constraint(weight, PartitionSpec())


def _scatter(split: PartitionSpec, _, gradient):
  # Reduced first, then split. Told only where the gradient belongs, the compiler would split the layer's work by channels
  # rather than examples, and gather the activations of all examples for that.
  whole_gradient = jax.lax.with_sharding_constraint(gradient, PartitionSpec())
  return (jax.lax.with_sharding_constraint(whole_gradient, split),)


# Written out, so that the gradient leaves the layer as it lies in the optimizer.
_gather.defvjp(lambda weight, split: (_gather(weight, split), None), _scatter)


def over_frames_axis(function):
  """`function(x, *others) -> y` on each device's own frames of x and y [b t ...]; the others are whole on every device.

  Inside, `frames` is an axis for collectives; the compiler still splits the work over the other axes.
  """
  if axis_size(FRAMES) == 1:
    return function
  own, all_of_it = PartitionSpec(None, FRAMES), PartitionSpec()
  return lambda x, *others: jax.shard_map(
    function, in_specs=(own, *(all_of_it,) * len(others)), out_specs=own, axis_names={FRAMES}
  )(x, *others)


def with_neighbours(
  x: Float[Array, "b t *place c"], axis: str | None
) -> Float[Array, "b t2 *place c"]:
  """Adds one frame at either end: those of the neighbouring devices along `axis`, zeros at the ends of the clip."""
  if axis is None:
    return jnp.pad(x, ((0, 0), (1, 1), *((0, 0),) * (x.ndim - 2)))
  n = jax.lax.axis_size(axis)
  # A device that is sent nothing receives zeros.
  before = jax.lax.ppermute(x[:, -1:], axis, [(i, i + 1) for i in range(n - 1)])
  after = jax.lax.ppermute(x[:, :1], axis, [(i + 1, i) for i in range(n - 1)])
  return jnp.concatenate([before, x, after], axis=1)


def to_places(x: Float[Array, "b t p c"], axis: str | None) -> Float[Array, "b t2 p2 c"]:
  """Own frames of all places -> all frames of own places."""
  return x if axis is None else _all_to_all(x, axis, 2, 1)


def to_frames(x: Float[Array, "b t p c"], axis: str | None) -> Float[Array, "b t2 p2 c"]:
  """All frames of own places -> own frames of all places."""
  return x if axis is None else _all_to_all(x, axis, 1, 2)


def whole(x: Float[Array, "b t *rest"]) -> Float[Array, "b t2 *rest"]:
  """Own frames -> all frames."""
  return _by_examples(lambda x: jax.lax.all_gather(x, FRAMES, axis=1, tiled=True), x)


def own_frames(x: Float[Array, "b t *rest"]) -> Float[Array, "b t2 *rest"]:
  """All frames -> own frames."""
  count = x.shape[1] // jax.lax.axis_size(FRAMES)
  return jax.lax.dynamic_slice_in_dim(x, jax.lax.axis_index(FRAMES) * count, count, axis=1)


def over_examples(tree):
  """Arrays [b ...] with their examples split over the mesh where they divide evenly."""
  parts = axis_size(DATA) * axis_size(FSDP)
  if parts == 1:
    return tree

  def split(x):
    if len(x) % parts:
      return x
    others = (PartitionSpec.UNCONSTRAINED,) * (x.ndim - 1)
    return jax.lax.with_sharding_constraint(x, PartitionSpec(RULES["examples"], *others))

  return jax.tree.map(split, tree)


def _all_to_all(x, axis: str, split: int, joined: int):
  return _by_examples(lambda x: jax.lax.all_to_all(x, axis, split, joined, tiled=True), x)


def _by_examples(communicate, x):
  """`communicate(x)`, each device with its own examples: left to itself the compiler gathers them all for this."""
  parts = axis_size(DATA) * axis_size(FSDP)
  if parts == 1 or len(x) % parts:
    return communicate(x)
  own = spec("examples")
  return jax.shard_map(communicate, in_specs=own, out_specs=own, axis_names={DATA, FSDP})(x)
