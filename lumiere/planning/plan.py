"""The cost of a step on a slice that is not available: bytes per chip, operations, collectives, time.

The step of `train.py` or `sample.py` is compiled with the TPU compiler for that slice (package libtpu; no TPU is needed), or
counted from shapes alone, in seconds and also for GPUs.
"""

import dataclasses
import math
import os
import re
import time

import jax
from jax.sharding import AxisType, Mesh

from lumiere import mesh as meshes
from lumiere.experiment import Experiment
from lumiere.planning import dry_steps, programs
from stunet import layout

GIB = 2**30


@dataclasses.dataclass(frozen=True)
class Chip:
  """A kind of TPU or GPU, by its maker's figures.

  Attributes:
    peak_flops: bfloat16 operations a second.
    memory: bytes of HBM that a program may use.
    bandwidth: bytes a second between HBM and the cores.
    hertz: clock of the matrix units, in which the TPU compiler estimates; None for GPUs.
  """

  peak_flops: float
  memory: float
  bandwidth: float
  hertz: float | None


CHIPS = {
  "v5e": Chip(197e12, 15.75 * GIB, 819e9, 1.5e9),
  "v5p": Chip(459e12, 95.0 * GIB, 2765e9, 1.75e9),
  "v6e": Chip(918e12, 31.25 * GIB, 1640e9, 1.75e9),
  "h100": Chip(989e12, 79.6 * GIB, 3350e9, None),
  "h200": Chip(989e12, 140.4 * GIB, 4800e9, None),
}


def parse_topology(topology: str) -> tuple[Chip, int]:
  """ "v5p:4x4x4" or "h100:8" -> the kind of chip and their number.

  Raises:
    ValueError: if it is not of that form, or the kind is unknown.
  """
  kind, _, shape = topology.partition(":")
  of_tpus = kind in CHIPS and CHIPS[kind].hertz
  if kind not in CHIPS or not re.fullmatch(
    r"[1-9]\d*(x[1-9]\d*)+" if of_tpus else r"[1-9]\d*", shape
  ):
    raise ValueError(
      f"--topology={topology}: expected one of {', '.join(CHIPS)} and a shape, such as v5p:4x4x4 or h100:8"
    )
  return CHIPS[kind], math.prod(map(int, shape.split("x")))


def topology_mesh(experiment: Experiment, topology: str) -> Mesh:
  """The config's mesh over the devices of a slice that need not exist."""
  # Set before the TPU library is loaded, so that it looks for no TPU and allows a second process.
  os.environ.setdefault("TPU_SKIP_MDS_QUERY", "1")
  os.environ.setdefault("ALLOW_MULTIPLE_LIBTPU_LOAD", "1")
  os.environ.setdefault("TPU_ACCELERATOR_TYPE", "v5litepod-16")
  os.environ.setdefault("TPU_WORKER_HOSTNAMES", "localhost")
  os.environ.setdefault("TPU_WORKER_ID", "0")
  from jax.experimental import topologies

  devices = topologies.get_topology_desc(platform="tpu", topology_name=topology).devices
  return meshes.make_mesh(experiment.mesh, devices)


def abstract_mesh(experiment: Experiment, count: int) -> jax.sharding.AbstractMesh:
  """The config's mesh over so many abstract devices, which is enough to compute shapes."""
  config = experiment.mesh
  parts = config.fsdp * config.frames
  if count % parts:
    raise ValueError(f"config.mesh: fsdp x frames = {parts} does not divide the {count} chips")
  shape = (count // parts, config.fsdp, config.frames)
  return jax.sharding.AbstractMesh(shape, layout.AXES, axis_types=(AxisType.Auto,) * 3)


@dataclasses.dataclass
class Plan:
  """The result of planning; sizes are bytes per chip.

  Attributes:
    chip: the kind of chip.
    num_chips: their number.
    memory: bytes by kind.
    model_flops: of a step, over all chips, without recomputation.
    chip_flops: per chip, including what is recomputed and what several chips compute alike.
    clips_per_step: clips of a step, over all chips.
    compiled_flops: the compiler's count per chip; None if nothing was compiled.
    collective_bytes: per chip, by kind of collective.
    seconds: estimated time of a step.
    notes: further lines of the report.
  """

  chip: Chip
  num_chips: int
  memory: dict[str, float]
  model_flops: float
  chip_flops: float
  clips_per_step: int
  compiled_flops: float | None = None
  collective_bytes: dict[str, float] = dataclasses.field(default_factory=dict)
  seconds: float | None = None
  notes: list[str] = dataclasses.field(default_factory=list)

  @property
  def total_memory(self) -> float:
    """Bytes per chip, of all kinds."""
    return float(sum(self.memory.values()))

  @property
  def utilization(self) -> float | None:
    """The model's operations relative to what the chips could do in the estimated time."""
    if not self.seconds:
      return None
    return self.model_flops / self.num_chips / self.seconds / self.chip.peak_flops

  @property
  def figures(self) -> dict[str, float | None]:
    """The figures by which estimates are compared: bytes and operations per chip, seconds per step."""
    return {
      "bytes": self.total_memory,
      "flops": self.compiled_flops or self.chip_flops,
      "seconds": self.seconds,
    }

  @property
  def fits(self) -> bool:
    """Whether the step fits into the chip's memory."""
    return self.total_memory <= self.chip.memory

  def report(self, num_steps: int) -> str:
    """Everything, as lines of text, with the cost of so many steps."""
    lines = ["bytes per chip"]
    lines += [f"  {kind:24s} {size / GIB:8.2f} GiB" for kind, size in self.memory.items()]
    share = self.total_memory / self.chip.memory
    lines += [
      f"  {'total':24s} {self.total_memory / GIB:8.2f} GiB of {self.chip.memory / GIB:.2f}: {share:.0%}",
      f"model FLOPs per step       {self.model_flops:.3e} ({self.model_flops / self.num_chips:.3e} per chip)",
      f"including recomputation    {self.chip_flops:.3e} per chip",
    ]
    if self.compiled_flops:
      ratio = self.chip_flops / self.compiled_flops
      lines.append(
        f"compiler's count           {self.compiled_flops:.3e} per chip; our count is {ratio:.2f} of it"
      )
    if self.collective_bytes:
      lines.append("bytes in collectives, per chip and step")
      lines += [f"  {kind:24s} {n / GIB:8.3f} GiB" for kind, n in self.collective_bytes.items()]
    if self.seconds:
      hours = self.seconds * num_steps * self.num_chips / 3600
      lines += [
        f"estimated time of a step   {self.seconds:.3f} s, {self.clips_per_step} clips",
        f"model-FLOPs utilisation    {self.utilization:.1%} of {self.chip.peak_flops / 1e12:.0f} TFLOP/s",
        f"chip-hours                 {hours:.3g} for {num_steps} steps",
      ]
    lines += self.notes
    lines.append("IT FITS" if self.fits else "IT DOES NOT FIT: more than the chip's memory")
    return "\n".join(lines)


def make_plan(
  experiment: Experiment, topology: str, compiled: bool, clips: int | None = None, frames: int = 0
) -> Plan:
  """Plans a step of training, or of sampling.

  Args:
    experiment: what to train; dtype="auto" means bfloat16 here.
    topology: a slice, such as "v5p:4x4x4".
    compiled: whether to compile; else costs are counted.
    clips: number of clips of a sampling step; None plans a training step.
    frames: frames of a sampled clip; 0 is the training length.

  Raises:
    ValueError: if the config does not fit the slice's mesh.
  """
  chip, count = parse_topology(topology)
  if compiled and chip.hertz is None:
    raise ValueError(
      f"--topology={topology}: only TPUs can be compiled for without the device; use --cost=abstract"
    )
  if experiment.dtype == "auto":
    experiment = dataclasses.replace(experiment, dtype="bfloat16")
  mesh = topology_mesh(experiment, topology) if compiled else abstract_mesh(experiment, count)
  if clips is None:
    step = dry_steps.train_step(experiment, mesh)
  else:
    frames = frames or experiment.data.num_frames
    step = dry_steps.sample_step(experiment, mesh, clips, frames)
  plan = Plan(
    chip,
    count,
    dict(step.memory),
    step.model_flops,
    step.chip_flops,
    clips or experiment.train.batch_size,
  )
  if compiled:
    begun = time.perf_counter()
    with jax.set_mesh(mesh):
      lowered = step.function.trace(*step.arguments).lower(lowering_platforms=("tpu",))
    _compile(plan, lowered, time.perf_counter() - begun)
  else:
    plan.memory |= step.estimated
    plan.seconds = step.chip_flops / chip.peak_flops
    plan.notes.append(
      "counted from shapes: the time assumes matrix units at their peak, so the real time is longer"
    )
  return plan


def _compile(plan: Plan, lowered, tracing: float):
  """Adds what the compiler says."""
  begun = time.perf_counter()
  try:
    compiled = lowered.compile()
  except jax.errors.JaxRuntimeError as error:
    if "RESOURCE_EXHAUSTED" not in str(error):
      raise
    wanted = programs.temporaries_that_did_not_fit(str(error))
    plan.memory["activations and the like"] = math.inf if wanted is None else wanted
    plan.notes.append("the compiler: " + str(error).splitlines()[0][:300])
    return
  memory = compiled.memory_analysis()
  plan.memory["activations and the like"] = float(memory.temp_size_in_bytes)
  plan.memory["program"] = float(memory.generated_code_size_in_bytes)
  cost, text = compiled.cost_analysis(), compiled.as_text()
  plan.collective_bytes = programs.collective_bytes(text)
  cycles = programs.estimated_cycles(text)
  # The compiler's other figures count the body of a loop, one microbatch, once.
  repeats = cycles / programs.estimated_cycles(text, loops=False) if cycles else 1.0
  plan.compiled_flops = cost["flops"] * repeats
  at_best = repeats * max(
    cost["flops"] / plan.chip.peak_flops, cost["bytes accessed"] / plan.chip.bandwidth
  )
  plan.seconds = cycles / plan.chip.hertz if cycles else at_best
  plan.notes.append(
    f"the compiler's roofline is {at_best:.3f} s; traced in {tracing:.0f} s, compiled in {time.perf_counter() - begun:.0f} s"
  )
