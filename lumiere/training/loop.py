"""The training loop: config in, checkpoints and logs out. It knows no stage by name.

Order at the start: model -> weights (resume > init_from > scratch) -> optimizer and average -> their restored values.
Order in a step: draw a batch, dispatch the step, look at the losses that are there by now, report, save. Nothing waits
for the devices but reports and checkpoints. A checkpoint is taken after its step's loss is known to be finite and before
the next batch is drawn, so that the loader's place in it matches the step.
"""

import collections
import functools
import signal
from collections.abc import Callable, Iterator

import jax
import numpy as np
from absl import logging
from clu import metric_writers, parameter_overview, periodic_actions
from etils import epath
from jax.experimental import multihost_utils
from tqdm import tqdm

from lumiere import checkpoints, processes, weights
from lumiere import mesh as meshes
from lumiere.data import loader, sources
from lumiere.experiment import Experiment
from lumiere.model import abstract_model, image_prefixes
from lumiere.sampling.generator import Generator
from lumiere.state import init_state
from lumiere.training import flops, metrics, samples
from lumiere.training.optimizers import make_optimizer
from lumiere.training.stages import Stage
from lumiere.training.step import make_eval_step, make_train_step
from lumiere.training.throughput import Throughput

# (stage, generator of the averaged weights, workdir, writer) -> None
Show = Callable[[Stage, Generator, epath.PathLike, metric_writers.MetricWriter], None]


class TrainingError(RuntimeError):
  """Training cannot go on: the message says at which step and what led to it."""


def train(experiment: Experiment, workdir: epath.PathLike, show: Show = samples.write):
  """Runs a whole training, or what is left of it, in `workdir`.

  Args:
    experiment: what to train, and how.
    workdir: where checkpoints, logs and samples go.
    show: what is done every `train.sample_every` steps and after the last one, in every process.

  Raises:
    ValueError: if the experiment cannot run as it is; before anything is compiled.
    TrainingError: if the loss is not finite; the last good checkpoint stays.
  """
  workdir = epath.Path(workdir)
  mesh = meshes.make_mesh(experiment.mesh)
  meshes.check_fits(experiment, mesh)
  stage = Stage(experiment)
  warm_start = load_warm_start(stage, mesh)
  with checkpoints.Checkpoints(workdir, experiment.train.max_checkpoints) as manager:
    check_same_experiment(workdir, manager, experiment)
    # Counting builds the network: one that cannot be is refused before data is made.
    step_flops = flops.model_flops(experiment, stage.batch_shapes())
    batches = iter(make_loader(experiment, "train", num_epochs=None))
    if experiment.train.eval_every or experiment.train.sample_every:
      # That it is missing is said now, not hours later.
      sources.make_source(experiment.data, "validation")
    with jax.set_mesh(mesh):
      _run(stage, workdir, manager, batches, mesh, warm_start, step_flops, show)


def _run(
  stage: Stage,
  workdir,
  manager: checkpoints.Checkpoints,
  batches: Iterator,
  mesh,
  warm_start,
  step_flops: float,
  show: Show,
):
  experiment, config = stage.experiment, stage.experiment.train
  rebuild, params, frozen = initial_weights(stage, warm_start, mesh)
  optimizer = make_optimizer(experiment.optimizer, config.num_steps)
  state, shardings = place_state(params, optimizer, mesh)
  if manager.latest_step is not None:
    state = manager.restore(state, batches)
    logging.info("Resumed from step %d of %s", int(state.step), workdir)
  checkpoints.save_frozen(workdir, frozen)
  frozen = kept_in(frozen, config.frozen_dtype)
  log_parameters(state.params, frozen)

  train_step = make_train_step(stage, rebuild, optimizer, shardings)
  eval_step = make_eval_step(stage, rebuild, shardings)
  writer = metric_writers.create_default_writer(
    str(workdir), just_logging=jax.process_index() > 0, asynchronous=True
  )
  first, last = int(state.step), config.num_steps
  report = periodic_actions.ReportProgress(
    num_train_steps=last, writer=writer, every_steps=config.log_every
  )
  hooks = [report]
  if config.profile_steps:
    hooks.append(
      periodic_actions.Profile(
        logdir=str(workdir), first_profile=first + 10, num_profile_steps=config.profile_steps
      )
    )

  collected, losses, throughput = None, Losses(workdir), None
  with (
    metric_writers.ensure_flushes(writer),
    StopSignal() as stop,
    progress_bar(first, last) as bar,
  ):
    for step in range(first + 1, last + 1):
      batch = throughput.next(batches) if throughput else next(batches)
      with jax.profiler.StepTraceAnnotation("train", step_num=step):
        state, step_metrics = train_step(state, frozen, meshes.shard_batch(batch, mesh))
      losses.follow(step, step_metrics, batch)
      collected = step_metrics if collected is None else collected.merge(step_metrics)
      for hook in hooks:
        hook(step)
      bar.update()

      stops = step < last and stop.requested()
      ends = stops or step == last
      if ends or step % config.log_every == 0:
        losses.check_all()
        values = metrics.scalars(collected, "train")
        values["train/grad_norm"] = float(collected.grad_norm.compute())
        if throughput:
          values |= throughput.scalars()
        writer.write_scalars(step, values)
        bar.set_postfix(loss=f"{values['train/loss']:.4f}")
        collected = None
      if throughput is None:  # the first step is not counted: it compiles
        losses.check_all()
        throughput = Throughput(frames_per_step(experiment), step_flops)
      # What sends a signal does not wait long: nothing comes between it and the checkpoint.
      if is_due(config.eval_every, step, last) and not stops:
        with report.timed("eval"), throughput.outside():
          values = evaluate(experiment, eval_step, state.ema, frozen, mesh)
        writer.write_scalars(step, values)
        if processes.is_first():
          bar.write(f"step {step}: held-out loss {values['eval/loss']:.4f}")
      if is_due(config.sample_every, step, last) and not stops:
        with report.timed("sample"), throughput.outside():
          generator = Generator(experiment, step, rebuild, state.ema, frozen)
          show(stage, generator, workdir, writer)
      if ends or step % config.checkpoint_every == 0:
        losses.check_all()
        with report.timed("checkpoint"), throughput.outside():
          manager.save(step, state, batches, experiment)
      if stops:
        logging.warning(
          "Stopped by a signal after step %d; the same command goes on from there", step
        )
        break
    manager.wait()
  writer.close()


def is_due(every: int, step: int, last: int) -> bool:
  """Whether what happens every so many steps, and after the last, does after this one; 0 means never."""
  return bool(every) and (step == last or step % every == 0)


def make_loader(experiment: Experiment, split: str, num_epochs: int | None):
  """Batches of a split, as the networks of this experiment take them."""
  source = sources.make_source(experiment.data, split)
  return loader.make_loader(
    source,
    batch_size=experiment.train.batch_size,
    seed=experiment.seed,
    shuffle=split == "train",
    num_epochs=num_epochs,
    num_workers=experiment.data.num_workers,
    transforms=sources.transforms(experiment),
  )


def load_warm_start(stage: Stage, mesh: jax.sharding.Mesh) -> checkpoints.Trained | None:
  """The run that `init_from` names, checked to fit; None for a start from scratch."""
  experiment = stage.experiment
  if not experiment.init_from:
    if stage.parent:
      raise ValueError(
        f"config.init_from is empty: stage {experiment.stage!r} freezes the network of a {stage.parent!r} run; "
        "give that run's workdir"
      )
    return None
  accepted = (experiment.stage,) if stage.parent is None else (stage.parent, experiment.stage)
  parent, step = checkpoints.load_experiment(experiment.init_from, stages=accepted)
  for field in ("model", "text", "diffusion", "super_resolution"):
    ours, theirs = getattr(experiment, field), getattr(parent, field)
    if field == "text" and ours and theirs:
      ours, theirs = ((t.encoder, t.null, t.words) for t in (ours, theirs))
    if field == "super_resolution" and ours and theirs:
      ours, theirs = (ours.factor, ours.aligned), (theirs.factor, theirs.aligned)
    if ours != theirs:
      raise ValueError(
        f"config.{field} differs from that of init_from={experiment.init_from}: {ours} here, {theirs} there"
      )
  return checkpoints.load_trained(experiment.init_from, accepted, step, mesh)


def initial_weights(stage: Stage, warm_start: checkpoints.Trained | None, mesh: jax.sharding.Mesh):
  """(rebuild, params, frozen) on the mesh: fresh weights, and over them those of the warm start."""
  rebuild, abstract_params, abstract_frozen = abstract_model(stage.experiment)
  inherited = None
  if warm_start is not None:
    inherited = warm_start.experiment.stage == stage.experiment.stage
  # What will be loaded is not drawn first; compiling without optimisation halves the start on a CPU.
  options = {"xla_backend_optimization_level": 0} if jax.default_backend() == "cpu" else None
  draw = lambda: weights.split(stage.build())[1]
  shardings = meshes.weight_shardings(abstract_params, mesh)
  params = jax.jit(draw, compiler_options=options, out_shardings=shardings)()
  if warm_start is None:
    return rebuild, params, {}
  if inherited:
    return (
      rebuild,
      # A conditional network may start from one that is not: its further channels start at zero.
      weights.merge(params, warm_start.params, may_be_new=("network", "condition_in")),
      weights.merge(abstract_frozen, warm_start.frozen),
    )
  frozen = abstract_frozen
  for source, target in image_prefixes(stage.experiment).items():
    tree = warm_start.params
    for name in source:
      tree = tree[name]
    frozen = weights.merge(frozen, tree, target)
  return rebuild, params, frozen


def place_state(params: weights.Weights, optimizer, mesh: jax.sharding.Mesh):
  """(state before the first step, its shardings); `params` are given up."""
  init = functools.partial(init_state, optimizer=optimizer)
  shardings = meshes.weight_shardings(jax.eval_shape(init, params), mesh)
  return jax.jit(init, out_shardings=shardings, donate_argnums=0)(params), shardings


def kept_in(frozen: weights.Weights, dtype: str) -> weights.Weights:
  """Kernels in `dtype`; vectors, whose precision costs nothing, as they are."""
  return jax.tree.map(lambda leaf: leaf.astype(dtype) if leaf.ndim > 1 else leaf, frozen)


def frames_per_step(experiment: Experiment) -> int:
  """Frames of a batch, over all processes."""
  return experiment.train.batch_size * experiment.data.num_frames


def check_same_experiment(workdir, manager: checkpoints.Checkpoints, experiment: Experiment):
  """Raises ValueError if the workdir holds a run of another network, stage or process."""
  if manager.latest_step is None:
    return
  before, _ = checkpoints.load_experiment(workdir)
  for field in ("stage", "model", "temporal", "masks", "text", "diffusion", "optimizer"):
    if getattr(before, field) != getattr(experiment, field):
      raise ValueError(
        f"config.{field} differs from the run in {workdir}: {getattr(experiment, field)} here, "
        f"{getattr(before, field)} there; choose another workdir or the same config"
      )


def log_parameters(params: weights.Weights, frozen: weights.Weights):
  """Tables of the trained and the frozen part, by clu."""
  logging.info(
    "Trainable:\n%s", parameter_overview.get_parameter_overview(params, include_stats=False)
  )
  if frozen:
    logging.info(
      "Frozen:\n%s", parameter_overview.get_parameter_overview(frozen, include_stats=False)
    )
  logging.info(
    "%.3fM trainable, %.3fM frozen weights",
    weights.count(params) / 1e6,
    weights.count(frozen) / 1e6,
  )


def evaluate(experiment: Experiment, eval_step, params, frozen, mesh) -> dict[str, float]:
  """Loss of the averaged weights on the same held-out batches with the same noise, every time."""
  collected = None
  batches = make_loader(experiment, "validation", num_epochs=None)
  for index, batch in zip(range(experiment.train.eval_batches), batches, strict=False):
    result = eval_step(params, frozen, meshes.shard_batch(batch, mesh), np.int32(index))
    collected = result if collected is None else collected.merge(result)
  return metrics.scalars(collected, "eval")


class Losses:
  """Watches that losses and gradients are finite, without waiting for the devices until it is asked to."""

  # Steps that are underway at a time: their batches are kept, in case one has to be shown.
  MAX_UNDERWAY = 4

  def __init__(self, workdir: epath.PathLike):
    self.workdir = epath.Path(workdir)
    self._underway = collections.deque()
    self._recent = collections.deque(maxlen=10)

  def follow(self, step: int, step_metrics, batch):
    """Adds a dispatched step, and checks those that are through."""
    self._underway.append((step, step_metrics.loss, step_metrics.grad_norm, batch))
    while len(self._underway) > self.MAX_UNDERWAY or (
      self._underway and self._underway[0][2].total.is_ready()
    ):
      self._check()

  def check_all(self):
    """Waits for every step so far."""
    while self._underway:
      self._check()

  def _check(self):
    """Raises TrainingError if the oldest step is not finite; its batch and the way there go to the workdir."""
    step, loss, norm, batch = self._underway.popleft()
    loss, norm = float(loss.compute()), float(norm.compute())
    self._recent.append((step, loss, norm))
    if np.isfinite(loss) and np.isfinite(norm):
      return
    folder = self.workdir / "not_finite"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f"batch_{step}_{jax.process_index()}.npz").open("wb") as file:
      np.savez(file, **batch)
    way = "; ".join(f"step {s}: loss {a:.4g}, gradient {b:.4g}" for s, a, b in self._recent)
    raise TrainingError(
      f"the loss is not finite at step {step} ({way}); the batch is in {folder}, the last good checkpoint is kept"
    )


class StopSignal:
  """Within the block, SIGTERM and SIGINT ask for a stop instead of ending the process; a second one ends it.

  With several processes a SIGTERM to any of them stops all after the same step, by JAX's preemption service.
  """

  def __enter__(self):
    self._signalled, self._asked = False, 0
    # That service has a handler of its own for SIGTERM.
    numbers = (signal.SIGTERM, signal.SIGINT) if jax.process_count() == 1 else ()
    self._before = {number: signal.signal(number, self._signal) for number in numbers}
    return self

  def __exit__(self, *_):
    for number, handler in self._before.items():
      signal.signal(number, handler)

  def requested(self) -> bool:
    """Whether to stop after this step, asked after each: the same answer in every process."""
    self._asked += 1
    if jax.process_count() > 1:
      # The service counts from zero. Given the steps of a run that was resumed, it would agree upon a step long gone for a
      # signal during the first one, which compiles for minutes.
      return multihost_utils.reached_preemption_sync_point(self._asked)
    return self._signalled

  def _signal(self, number, _):
    self._signalled = True
    signal.signal(number, self._before[number])


def progress_bar(first: int, last: int) -> tqdm:
  """Steps, steps/s and time left, on a terminal only."""
  return tqdm(initial=first, total=last, unit="step", disable=None, dynamic_ncols=True)
