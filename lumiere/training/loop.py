"""The training loop: config in, checkpoints and logs out. It knows no stage by name.

How a run begins or goes on is in `lumiere.training.start`, what may change then in `lumiere.training.resume`.
Order in a step: draw a batch, dispatch the step, look at the losses that are there by now, report, save. Nothing waits
for the devices but reports and checkpoints. A checkpoint is taken after its step's loss is known to be finite and before
the next batch is drawn, so that the loader's place in it matches the step.
"""

import collections
import contextlib
import signal
from collections.abc import Callable, Iterator, Mapping

import jax
import numpy as np
from absl import logging
from etils import epath
from jax.experimental import multihost_utils
from tqdm import tqdm

from lumiere import averages, checkpoints, processes
from lumiere import mesh as meshes
from lumiere.data import loader, sources
from lumiere.experiment import Experiment
from lumiere.sampling.generator import Generator
from lumiere.sizes import Size
from lumiere.state import TrainState
from lumiere.training import flops, metrics, provenance, resume, samples, start
from lumiere.training.evaluation import Evaluator
from lumiere.training.log import say
from lumiere.training.stages import Stage
from lumiere.training.step import make_eval_step, make_train_step
from lumiere.training.throughput import Throughput
from lumiere.training.writers import metric_writers, periodic_actions

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
    TrainingError: if the loss is not finite, or the disk is full; the last good checkpoint stays.
  """
  workdir = epath.Path(workdir)
  try:
    _train_in(experiment, workdir, show)
  except Exception as error:
    if checkpoints.is_full(error) and not isinstance(error, checkpoints.CheckpointError):
      raise TrainingError(
        f"the disk is full: nothing more can be written to {workdir}; the last checkpoint is kept"
      ) from error
    raise


def _train_in(experiment: Experiment, workdir: epath.Path, show: Show):
  record = checkpoints.find_record(workdir)
  if record is not None:
    experiment = resume.checked(experiment, record, workdir)
  mesh = meshes.make_mesh(experiment.mesh, meshes.devices_of(experiment))
  meshes.check_fits(experiment, mesh)
  stage = Stage(experiment)
  warm_start = start.load_warm_start(stage, mesh) if record is None else None
  with checkpoints.Checkpoints(workdir, experiment.train.max_checkpoints) as manager:
    # Counting builds the network: one that cannot be is refused before data is made.
    step_flops = {
      size: flops.model_flops(experiment, stage.batch_shapes(size))
      for size in experiment.data.training_sizes
    }
    batches = iter(make_loader(experiment, "train"))
    if experiment.train.eval_every or experiment.train.sample_every:
      # That it is missing is said now, not hours later.
      sources.make_source(experiment.data, "validation")
    evaluator = Evaluator(experiment) if experiment.evaluation.every else None
    if record is None:
      made_from = provenance.of_new_run(experiment, warm_start)
    else:
      made_from = provenance.of_resumed_run(experiment, record, workdir)
    with jax.set_mesh(mesh):
      if record is None:
        run = start.begin(stage, manager, mesh, warm_start)
      else:
        run = start.go_on(stage, manager, mesh, batches)
      start.announce(run, workdir, made_from)
      _steps(run, manager, batches, mesh, made_from, step_flops, show, evaluator)


def _steps(
  run: start.Run,
  manager: checkpoints.Checkpoints,
  batches: Iterator,
  mesh,
  made_from: provenance.Provenance,
  step_flops: Mapping[Size, float],
  show: Show,
  evaluator: Evaluator | None,
):
  stage, state, frozen, workdir = run.stage, run.state, run.frozen, manager.workdir
  experiment, config = stage.experiment, stage.experiment.train
  train_step = make_train_step(stage, run.rebuild, run.optimizer, run.shardings)
  eval_step = make_eval_step(stage, run.rebuild, run.shardings)
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

  collected, losses = None, Losses(workdir)
  throughput, compiled = Throughput(frames_per_step(experiment), step_flops), set()
  with (
    metric_writers.ensure_flushes(writer),
    StopSignal() as stop,
    progress_bar(first, last) as bar,
  ):
    for step in range(first + 1, last + 1):
      with throughput.loading():
        batch = next(batches)
      size = batch["video" if experiment.is_video else "image"].shape[-3:-1]
      compiles = size not in compiled
      if compiles:
        losses.check_all()
      with (
        throughput.outside() if compiles else contextlib.nullcontext(),
        jax.profiler.StepTraceAnnotation("train", step_num=step),
      ):
        state, step_metrics = train_step(state, frozen, meshes.shard_batch(batch, mesh))
        losses.follow(step, step_metrics, batch)
        if compiles:  # the first step of a size is not counted
          losses.check_all()
          compiled.add(size)
      if step == first + 1:
        throughput.reset()
      elif not compiles:
        throughput.count(size)
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
        values |= throughput.scalars()
        writer.write_scalars(step, values)
        bar.set_postfix(loss=f"{values['train/loss']:.4f}")
        if bar.disable:  # no terminal
          say(f"step {step} of {last}: loss {values['train/loss']:.4f}")
        collected = None
      # What sends a signal does not wait long: nothing comes between it and the checkpoint.
      if is_due(config.eval_every, step, last) and not stops:
        with report.timed("eval"), throughput.outside():
          values = evaluate(experiment, eval_step, state.ema, frozen, mesh)
        writer.write_scalars(step, values)
        if processes.is_first():
          bar.write(f"step {step}: held-out loss {values['eval/loss']:.4f}")
      if is_due(config.sample_every, step, last) and not stops:
        with report.timed("sample"), throughput.outside():
          generator = Generator(experiment, step, run.rebuild, state.ema, frozen)
          show(stage, generator, workdir, writer)
      if is_due(experiment.evaluation.every, step, last) and not stops:
        with report.timed("evaluation"), throughput.outside():
          evaluator.report(Generator(experiment, step, run.rebuild, state.ema, frozen), writer)
      if ends or step % config.checkpoint_every == 0:
        losses.check_all()
        with report.timed("checkpoint"), throughput.outside():
          manager.save(step, state, batches, experiment, made_from)
          leave_averages(workdir, step, state)
      if stops:
        logging.warning(
          "Stopped by a signal after step %d; the same command goes on from there", step
        )
        break
    manager.wait()
  writer.close()


def leave_averages(workdir: epath.PathLike, step: int, state: TrainState):
  """Keeps the further averages of this step, which are found others from after training."""
  if state.averages:
    kept = processes.whole(state.averages)
    if processes.is_first():
      averages.leave(workdir, step, list(kept.values()), [float(length) for length in kept])


def is_due(every: int, step: int, last: int) -> bool:
  """Whether what happens every so many steps, and after the last, does after this one; 0 means never."""
  return bool(every) and (step == last or step % every == 0)


def make_loader(experiment: Experiment, split: str) -> loader.Loader:
  """Batches of a split, as the networks of this experiment take them."""
  source = sources.make_source(experiment.data, split)
  return loader.make_loader(
    source,
    batch_size=experiment.train.batch_size,
    seed=experiment.seed,
    shuffle=split == "train",
    groups=sources.groups_of(source),
    num_workers=experiment.data.num_workers,
    transforms=sources.transforms(experiment),
  )


def frames_per_step(experiment: Experiment) -> int:
  """Frames of a batch, over all processes."""
  return experiment.train.batch_size * experiment.data.num_frames


def evaluate(experiment: Experiment, eval_step, params, frozen, mesh) -> dict[str, float]:
  """Loss of the averaged weights on the same held-out batches with the same noise, every time."""
  collected = None
  batches = make_loader(experiment, "validation")
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
