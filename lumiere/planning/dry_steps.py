"""The steps of `train.py` and `sample.py`, as shapes on a mesh of devices that need not exist."""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import NamedSharding

from lumiere import mesh as meshes
from lumiere.experiment import Experiment
from lumiere.model import abstract_model
from lumiere.planning import activations
from lumiere.sampling.generator import Generator, is_guided, windows_at_a_time
from lumiere.state import init_state
from lumiere.training import flops
from lumiere.training.optimizers import make_optimizer
from lumiere.training.stages import Stage
from lumiere.training.step import make_train_step
from stunet import layout


@dataclasses.dataclass(frozen=True)
class DryStep:
  """A step, and its costs as far as they are known without a compiler.

  Attributes:
    function: jitted.
    arguments: its arguments: shapes with shardings.
    memory: bytes per chip of the arguments, by kind.
    model_flops: operations of the model over all chips; nothing is counted twice.
    chip_flops: operations of one chip, including what is recomputed and what several chips compute alike.
    estimated: estimated further bytes per chip, by kind.
  """

  function: Callable
  arguments: tuple[Any, ...]
  memory: dict[str, float]
  model_flops: float
  chip_flops: float
  estimated: dict[str, float]


def train_step(experiment: Experiment, mesh: meshes.AnyMesh) -> DryStep:
  """The training step; raises ValueError if the batch does not divide over the mesh."""
  meshes.check_divides(experiment, mesh)
  stage, config = Stage(experiment), experiment.train
  rebuild, params, frozen = stage.abstract()
  optimizer = make_optimizer(experiment.optimizer, config.num_steps)
  state = jax.eval_shape(lambda params: init_state(params, optimizer), params)
  kept = jnp.dtype(config.frozen_dtype)
  frozen = jax.tree.map(
    lambda leaf: jax.ShapeDtypeStruct(leaf.shape, kept if leaf.ndim > 1 else leaf.dtype), frozen
  )
  state, frozen = meshes.abstract((state, frozen), mesh)
  batch = {
    name: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=meshes.batch_sharding(name, mesh))
    for name, x in stage.batch_shapes().items()
  }
  shardings = meshes.weight_shardings(state, mesh)
  traced = flops.trace_gradient(experiment, mesh.shape[layout.FRAMES])
  examples = config.batch_size / sharing(mesh)
  return DryStep(
    make_train_step(stage, rebuild, optimizer, shardings),
    (state, frozen, batch),
    {
      "parameters": bytes_per_chip(state.params),
      "average": bytes_per_chip(state.ema),
      "optimizer": bytes_per_chip(state.opt_state),
      "frozen parameters": bytes_per_chip(frozen),
      "batch": bytes_per_chip(batch),
    },
    flops.model_flops(experiment, batch),
    flops.count(traced) * examples,
    {
      "gradients": bytes_per_chip(state.params),
      "activations": activations.peak_bytes(traced, but_results=True)
      * examples
      / config.num_microbatches,
    },
  )


def sample_step(
  experiment: Experiment, mesh: meshes.AnyMesh, num_clips: int, num_frames: int
) -> DryStep:
  """One step of the sampler with the config's `sampling`, for so many clips at a time."""
  sampling, stage = experiment.sampling, Stage(experiment)
  rebuild, params, frozen = abstract_model(experiment)
  generator = Generator(experiment, 0, rebuild, params, frozen)

  def arguments(count: int):
    lead = (count, num_frames) if experiment.is_video else (count,)
    size = (side // experiment.factor for side in experiment.data.size)
    clips = jax.ShapeDtypeStruct((*lead, *size, experiment.channels), jnp.float32)
    batch = {
      name: jax.ShapeDtypeStruct((count, *x.shape[1:]), x.dtype)
      for name, x in stage.batch_shapes().items()
    }
    encode = lambda params, frozen, batch: rebuild(params, frozen).encode_text(batch)
    conditioning = jax.eval_shape(encode, params, frozen, batch)
    if experiment.is_super_resolution:
      level = jax.ShapeDtypeStruct((count,), jnp.float32)
      conditioning |= {"low_res": clips, "augmentation_level": level}
    sampler = sampling.make_sampler()
    table = sampler.table(generator.schedule.sampling_log_snrs(sampling.num_steps))
    row = {name: jax.ShapeDtypeStruct((), column.dtype) for name, column in table.items()}
    keys = jax.eval_shape(lambda: jax.random.split(jax.random.key(0), count))
    return jax.eval_shape(sampler.initialize, clips), row, conditioning, keys

  with flops.sharing_a_clip(1):
    whole = jax.make_jaxpr(generator.step_function(sampling))(params, frozen, *arguments(1)).jaxpr
  one_window = dataclasses.replace(sampling, windows_per_batch=1)
  with flops.sharing_a_clip(mesh.shape[layout.FRAMES]):
    part = jax.make_jaxpr(generator.step_function(one_window))(params, frozen, *arguments(1)).jaxpr
  count, group = 1, 1
  if experiment.is_video and sampling.window:
    count, group = windows_at_a_time(experiment, sampling, num_frames, num_clips, sharing(mesh))
  calls = 2 if is_guided(experiment, sampling) else 1
  examples = calls * num_clips * group
  # Examples that do not divide evenly are computed by every device.
  at_a_time = examples / calls / (sharing(mesh) if examples % sharing(mesh) == 0 else 1)
  rounds = math.ceil(count / group)
  params, frozen = meshes.abstract((params, frozen), mesh)
  given = jax.tree.map(
    lambda x: jax.ShapeDtypeStruct(
      x.shape, x.dtype, sharding=NamedSharding(mesh, jax.sharding.PartitionSpec())
    ),
    arguments(num_clips),
  )
  return DryStep(
    jax.jit(generator.step_function(sampling), donate_argnums=2),
    (params, frozen, *given),
    {
      "parameters": bytes_per_chip(params),
      "frozen parameters": bytes_per_chip(frozen),
      "clips and conditions": bytes_per_chip(given[:3]),
    },
    flops.count(whole) * num_clips,
    flops.count(part) / count * at_a_time * rounds,
    {"activations": activations.peak_bytes(part) * at_a_time},
  )


def sharing(mesh: meshes.AnyMesh) -> int:
  """Devices that share the examples of a batch."""
  return mesh.shape[layout.DATA] * mesh.shape[layout.FSDP]


def bytes_per_chip(tree) -> float:
  """Of arrays, or of shapes with shardings."""
  sizes = (
    math.prod(leaf.sharding.shard_shape(leaf.shape)) * leaf.dtype.itemsize
    for leaf in jax.tree.leaves(tree)
  )
  return float(sum(sizes))
