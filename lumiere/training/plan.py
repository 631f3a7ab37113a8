"""What a config costs on a TPU slice that is not at hand: does it fit, how fast is it, how many chip-hours.

python -m lumiere.training.plan --config=configs/stunet_base.py --topology=v5p:4x4x4

compiles the very step that `train.py` runs, with the TPU compiler and for that slice (package libtpu; no TPU is needed), and
reports what the compiler says of it. `--cost=abstract` asks no compiler: it counts from shapes alone, in seconds. The mesh is
the config's, `--config.mesh.fsdp=64`.
"""

import collections
import dataclasses
import math
import os
import re
import time

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags
from flax import nnx
from jax.sharding import AxisType, Mesh
from ml_collections import config_flags

from lumiere import cli, weights
from lumiere.experiment import Experiment
from lumiere.training import flops
from lumiere.training import mesh as meshes
from lumiere.training.optimizers import make_optimizer
from lumiere.training.stages import Stage
from lumiere.training.state import init_state
from lumiere.training.step import make_train_step
from stunet import layout

GIB = 2**30


@dataclasses.dataclass(frozen=True)
class Chip:
  """A kind of TPU, by its maker's figures.

  Attributes:
    peak_flops: bfloat16 operations a second.
    memory: bytes of HBM that a program may use.
    bandwidth: bytes a second between HBM and the cores.
    hertz: clock of the matrix units, in which the compiler estimates.
  """

  peak_flops: float
  memory: float
  bandwidth: float
  hertz: float


CHIPS = {
  "v5e": Chip(197e12, 15.75 * GIB, 819e9, 1.5e9),
  "v5p": Chip(459e12, 95.0 * GIB, 2765e9, 1.75e9),
  "v6e": Chip(918e12, 31.25 * GIB, 1640e9, 1.75e9),
}
COLLECTIVES = ("all-gather", "all-reduce", "reduce-scatter", "all-to-all", "collective-permute")


def parse_topology(topology: str) -> tuple[Chip, int]:
  """ "v5p:4x4x4" -> the kind of chip and their number.

  Raises:
    ValueError: if it is not of that form, or the kind is unknown.
  """
  kind, _, shape = topology.partition(":")
  if kind not in CHIPS or not re.fullmatch(r"\d+(x\d+)+", shape):
    raise ValueError(
      f"--topology={topology}: expected one of {', '.join(CHIPS)} and a shape, such as v5p:4x4x4 or v5e:16x16"
    )
  return CHIPS[kind], math.prod(map(int, shape.split("x")))


def topology_mesh(experiment: Experiment, topology: str) -> Mesh:
  """The config's mesh over the devices of a slice that is not there."""
  # Before the TPU library is loaded: it is not to look for a TPU, nor to refuse a second process.
  os.environ.setdefault("TPU_SKIP_MDS_QUERY", "1")
  os.environ.setdefault("ALLOW_MULTIPLE_LIBTPU_LOAD", "1")
  os.environ.setdefault("TPU_ACCELERATOR_TYPE", "v5litepod-16")
  os.environ.setdefault("TPU_WORKER_HOSTNAMES", "localhost")
  os.environ.setdefault("TPU_WORKER_ID", "0")
  from jax.experimental import topologies

  devices = topologies.get_topology_desc(platform="tpu", topology_name=topology).devices
  return meshes.make_mesh(experiment.mesh, devices)


def abstract_mesh(experiment: Experiment, count: int) -> jax.sharding.AbstractMesh:
  """The config's mesh over so many devices of no kind: enough to compute shapes."""
  config = experiment.mesh
  parts = config.fsdp * config.frames
  if count % parts:
    raise ValueError(f"config.mesh: fsdp x frames = {parts} does not divide the {count} chips")
  shape = (count // parts, config.fsdp, config.frames)
  return jax.sharding.AbstractMesh(shape, layout.AXES, axis_types=(AxisType.Auto,) * 3)


def arguments(experiment: Experiment, mesh):
  """(rebuild, optimizer, state, frozen, batch): the step's arguments as shapes with shardings."""
  stage = Stage(experiment)
  rebuild, params, frozen = weights.split(nnx.eval_shape(stage.build))
  optimizer = make_optimizer(experiment.optimizer, experiment.train.num_steps)
  state = jax.eval_shape(lambda params: init_state(params, optimizer), params)
  kept = jnp.dtype(experiment.train.frozen_dtype)
  frozen = jax.tree.map(
    lambda leaf: jax.ShapeDtypeStruct(leaf.shape, kept if leaf.ndim > 1 else leaf.dtype), frozen
  )
  batch = {
    name: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=meshes.batch_sharding(name, mesh))
    for name, x in stage.batch_shapes().items()
  }
  return rebuild, optimizer, *meshes.abstract((state, frozen), mesh), batch


def bytes_per_chip(tree) -> int:
  """Of arrays, or of shapes with shardings."""
  return sum(
    math.prod(leaf.sharding.shard_shape(leaf.shape)) * leaf.dtype.itemsize
    for leaf in jax.tree.leaves(tree)
  )


@dataclasses.dataclass
class Plan:
  """What was found out; sizes in bytes per chip.

  Attributes:
    chip: the kind of chip.
    num_chips: their number.
    memory: bytes by kind.
    model_flops: of a step, over all chips, nothing recomputed.
    step_flops: the same with what is recomputed.
    compiled_flops: the compiler's count of a chip; None if nothing was compiled.
    collective_bytes: of a chip, by kind of collective.
    seconds: estimated time of a step.
    notes: what else is to be said.
  """

  chip: Chip
  num_chips: int
  memory: dict[str, int | float]
  model_flops: float
  step_flops: float
  compiled_flops: float | None = None
  collective_bytes: dict[str, float] = dataclasses.field(default_factory=dict)
  seconds: float | None = None
  notes: list[str] = dataclasses.field(default_factory=list)

  @property
  def total_memory(self) -> float:
    """Bytes per chip, of all kinds."""
    return float(sum(self.memory.values()))

  @property
  def fits(self) -> bool:
    """Whether that is no more than the chip has."""
    return self.total_memory <= self.chip.memory

  def report(self, num_steps: int) -> str:
    """Everything, as lines of text."""
    lines = ["bytes per chip"]
    lines += [f"  {kind:24s} {size / GIB:8.2f} GiB" for kind, size in self.memory.items()]
    share = self.total_memory / self.chip.memory
    lines += [
      f"  {'total':24s} {self.total_memory / GIB:8.2f} GiB of {self.chip.memory / GIB:.2f}: {share:.0%}",
      f"model FLOPs per step       {self.model_flops:.3e} ({self.model_flops / self.num_chips:.3e} per chip)",
      f"with what is recomputed    {self.step_flops:.3e} ({self.step_flops / self.num_chips:.3e} per chip)",
    ]
    if self.compiled_flops:
      ratio = self.step_flops / self.num_chips / self.compiled_flops
      lines.append(
        f"compiler's count           {self.compiled_flops:.3e} per chip; ours is {ratio:.2f} of it"
      )
    if self.collective_bytes:
      lines.append("bytes in collectives, per chip and step")
      lines += [f"  {kind:24s} {n / GIB:8.3f} GiB" for kind, n in self.collective_bytes.items()]
    if self.seconds:
      use = self.model_flops / self.num_chips / self.seconds / self.chip.peak_flops
      hours = self.seconds * num_steps * self.num_chips / 3600
      lines += [
        f"estimated time of a step   {self.seconds:.3f} s",
        f"model-FLOPs utilisation    {use:.1%} of {self.chip.peak_flops / 1e12:.0f} TFLOP/s",
        f"chip-hours                 {hours:.3g} for {num_steps} steps",
      ]
    lines += self.notes
    lines.append("IT FITS" if self.fits else "IT DOES NOT FIT: more than the chip's memory")
    return "\n".join(lines)


def make_plan(experiment: Experiment, topology: str, compiled: bool) -> Plan:
  """Plans the training step.

  Args:
    experiment: what to train; computed in bfloat16 where it leaves the dtype open.
    topology: a slice, such as "v5p:4x4x4".
    compiled: whether to ask the compiler.

  Raises:
    ValueError: if the config does not fit the slice's mesh.
  """
  chip, count = parse_topology(topology)
  if experiment.dtype == "auto":
    experiment = dataclasses.replace(experiment, dtype="bfloat16")
  mesh = topology_mesh(experiment, topology) if compiled else abstract_mesh(experiment, count)
  meshes.check_divides(experiment, mesh)
  rebuild, optimizer, state, frozen, batch = arguments(experiment, mesh)
  plan = Plan(
    chip,
    count,
    {
      "parameters": bytes_per_chip(state.params),
      "average": bytes_per_chip(state.ema),
      "optimizer": bytes_per_chip(state.opt_state),
      "frozen parameters": bytes_per_chip(frozen),
      "batch": bytes_per_chip(batch),
    },
    flops.model_flops(experiment, batch),
    flops.model_flops(experiment, batch, recomputed=True),
  )
  if compiled:
    shardings = meshes.weight_shardings(state, mesh)
    step = make_train_step(Stage(experiment), rebuild, optimizer, shardings)
    begun = time.perf_counter()
    with jax.set_mesh(mesh):
      lowered = step.trace(state, frozen, batch).lower(lowering_platforms=("tpu",))
    _compile(plan, lowered, time.perf_counter() - begun)
  else:
    plan.memory["gradients"] = bytes_per_chip(state.params)
    plan.memory["activations"] = activation_bytes(experiment, mesh)
    plan.seconds = plan.step_flops / plan.num_chips / chip.peak_flops
    plan.notes.append(
      "from shapes alone: activations are the stages' inputs and one stage's own; the time is that of the matrix units at "
      "their peak, so the true one is longer"
    )
  return plan


def activation_bytes(experiment: Experiment, mesh) -> float:
  """A chip's activations: what the forward pass leaves for the backward one, and the largest stage while it runs."""
  one = dataclasses.replace(
    experiment, train=dataclasses.replace(experiment.train, batch_size=1, num_microbatches=1)
  )
  stage = Stage(one)
  rebuild, params, frozen = weights.split(nnx.eval_shape(stage.build))

  def loss(params, frozen, batch, key):
    return jnp.mean(stage.losses(rebuild(params, frozen), batch, key)[0])

  key = jax.random.key(0)
  traced = jax.make_jaxpr(jax.grad(loss))(params, frozen, stage.batch_shapes(), key)
  sharing = mesh.shape[layout.DATA] * mesh.shape[layout.FSDP]
  examples = experiment.train.batch_size / sharing / experiment.train.num_microbatches
  return peak_bytes(traced.jaxpr) * examples / mesh.shape[layout.FRAMES]


# Operations whose results a compiler keeps in memory; the others are computed on the way into these.
KEPT = {"conv_general_dilated", "dot_general", "reduce_sum", "concatenate", "custom_vjp_call"}


def peak_bytes(jaxpr) -> float:
  """Most bytes of activations alive at a time when a jaxpr runs in its order, elementwise work fused away.

  Weights and their gradients, which have no axis of examples, are small beside them here and counted elsewhere.
  """
  last_use = {}
  for index, equation in enumerate(jaxpr.eqns):
    for variable in equation.invars:
      if not hasattr(variable, "val"):
        last_use[variable] = index
  for variable in jaxpr.outvars:
    if not hasattr(variable, "val"):
      last_use[variable] = len(jaxpr.eqns)
  alive, held, peak = 0.0, {}, 0.0
  for index, equation in enumerate(jaxpr.eqns):
    inner = max((peak_bytes(sub) for sub in flops.inner_jaxprs(equation.params)), default=0.0)
    kept = equation.primitive.name in KEPT or inner
    for variable in equation.outvars:
      size = variable.aval.size * variable.aval.dtype.itemsize if kept else 0
      if variable in last_use and getattr(variable.aval, "ndim", 0) > 2:
        held[variable] = size
        alive += size
    peak = max(peak, alive + inner)
    for variable in {v for v in equation.invars if not hasattr(v, "val")}:
      if last_use.get(variable) == index:
        alive -= held.pop(variable, 0)
  return peak


def _compile(plan: Plan, lowered, tracing: float):
  """Adds what the compiler says."""
  begun = time.perf_counter()
  try:
    compiled = lowered.compile()
  except jax.errors.JaxRuntimeError as error:
    if "RESOURCE_EXHAUSTED" not in str(error):
      raise
    found = re.search(r"HLO temporaries \(([\d.]+)G\)", str(error))
    plan.memory["activations and the like"] = float(found[1]) * GIB if found else math.inf
    plan.notes.append("the compiler: " + str(error).splitlines()[0][:300])
    return
  memory = compiled.memory_analysis()
  plan.memory["activations and the like"] = memory.temp_size_in_bytes
  plan.memory["program"] = memory.generated_code_size_in_bytes
  cost = compiled.cost_analysis()
  plan.compiled_flops = cost["flops"]
  text = compiled.as_text()
  plan.collective_bytes = collective_bytes(text)
  cycles = estimated_cycles(text)
  at_best = max(cost["flops"] / plan.chip.peak_flops, cost["bytes accessed"] / plan.chip.bandwidth)
  plan.seconds = cycles / plan.chip.hertz if cycles else at_best
  plan.notes.append(
    f"the compiler's roofline is {at_best:.3f} s; traced in {tracing:.0f} s, compiled in {time.perf_counter() - begun:.0f} s"
  )


def estimated_cycles(text: str) -> int:
  """The compiler's estimate over all operations of a program without loops."""
  return sum(map(int, re.findall(r'"estimated_cycles":"(\d+)"', text)))


def collective_bytes(text: str) -> dict[str, float]:
  """Bytes that the collectives of a compiled program give, by kind."""
  sizes = collections.Counter()
  pattern = re.compile(rf"= (.*?) ({'|'.join(COLLECTIVES)})(-start)?\(")
  for line in text.splitlines():
    found = pattern.search(line)
    if not found:
      continue
    arrays = [
      np.prod([int(n) for n in shape.split(",") if n], dtype=float) * _width(dtype)
      for dtype, shape in re.findall(r"\b([a-z]+\d*)\[([\d,]*)\]", found[1])
    ]
    # Asynchronous ones give (operand, result, ...): the largest is what travels.
    sizes[found[2]] += max(arrays) if found[3] else sum(arrays)
  return dict(sizes)


def _width(dtype: str) -> float:
  found = re.search(r"\d+", dtype)
  return int(found[0]) / 8 if found else 1


def main():
  """Reads the flags and prints the plan."""
  from lumiere.training import checkpoints

  if flags.FLAGS.config is None:
    raise ValueError(
      "--config is missing: give an experiment, such as --config=configs/stunet_base.py"
    )
  experiment = checkpoints.read_experiment(flags.FLAGS.config)
  plan = make_plan(experiment, flags.FLAGS.topology, flags.FLAGS.cost == "compiled")
  print(plan.report(experiment.train.num_steps))


if __name__ == "__main__":
  config_flags.DEFINE_config_file("config", None, "The experiment to plan.")
  flags.DEFINE_string("topology", "v5p:4x4x4", "The slice: kind and shape.")
  flags.DEFINE_enum("cost", "compiled", ["compiled", "abstract"], "Ask the compiler, or count.")
  cli.run(main)
