"""How a run begins, and how it goes on: resume > init_from > scratch.

A run that goes on takes everything from its workdir. A new one builds the model, loads the weights that it inherits over it,
then makes optimizer and average from them.
"""

import dataclasses
import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax
from absl import logging
from clu import parameter_overview
from etils import epath

from lumiere import checkpoints, pretrained_autoencoder, weights
from lumiere import mesh as meshes
from lumiere.data import sources
from lumiere.experiment import PARENTS, Experiment
from lumiere.fields import between
from lumiere.model import abstract_model, autoencoder_of, frozen_of, image_of, with_teacher
from lumiere.state import TrainState, init_state
from lumiere.trained import Trained
from lumiere.training import provenance
from lumiere.training.log import say
from lumiere.training.optimizers import make_optimizer
from lumiere.training.stages import Stage

# Parts of a video network that the one it starts from may lack.
MAY_BE_NEW = (("network", "condition_in"), ("network", "guidance_embedding"))


@dataclasses.dataclass(frozen=True)
class Run:
  """What training needs before its next step.

  Attributes:
    stage: the kind of training.
    rebuild: `(params, frozen) -> model`.
    optimizer: over the trainable weights.
    state: on the mesh.
    shardings: of the state.
    frozen: frozen weights, in the dtype that they are kept in.
  """

  stage: Stage
  rebuild: Callable
  optimizer: optax.GradientTransformation
  state: TrainState
  shardings: Any
  frozen: weights.Weights


def begin(
  stage: Stage, manager: checkpoints.Checkpoints, mesh: jax.sharding.Mesh, warm_start
) -> Run:
  """A new run; its frozen weights are in its workdir then."""
  rebuild, params, frozen = initial_weights(stage, warm_start, mesh)
  optimizer = optimizer_of(stage)
  state, shardings = place_state(params, optimizer, mesh, stage.experiment.train.averages)
  manager.save_frozen(frozen)
  frozen = kept_in(frozen, stage.experiment.train.frozen_dtype)
  return Run(stage, rebuild, optimizer, state, shardings, frozen)


def go_on(
  stage: Stage, manager: checkpoints.Checkpoints, mesh: jax.sharding.Mesh, batches: Iterator
) -> Run:
  """A run as its workdir has it; `batches` go to their place. No weights are drawn, and none are read from elsewhere."""
  rebuild, params, frozen = stage.abstract()
  optimizer = optimizer_of(stage)
  init = functools.partial(init_state, optimizer=optimizer, lengths=stage.experiment.train.averages)
  state = jax.eval_shape(init, params)
  state, frozen = meshes.abstract((state, frozen), mesh)
  shardings = jax.tree.map(lambda leaf: leaf.sharding, state)
  state, frozen = manager.restore(state, frozen, batches)
  frozen = kept_in(frozen, stage.experiment.train.frozen_dtype)
  return Run(stage, rebuild, optimizer, state, shardings, frozen)


def load_warm_start(stage: Stage, mesh: jax.sharding.Mesh) -> Trained | None:
  """The run that `init_from` names, checked to fit; None for a start from scratch."""
  experiment = stage.experiment
  if not experiment.init_from:
    if stage.parent:
      if experiment.distillation:
        raise ValueError(
          f"config.init_from is empty: give the workdir, or the release, of the {experiment.stage!r} network to distill"
        )
      raise ValueError(
        f"config.init_from is empty: stage {experiment.stage!r} freezes the network of a {stage.parent!r} run; "
        "give that run's workdir"
      )
    if experiment.autoencoder and not experiment.autoencoder_from:
      raise ValueError(
        "config.autoencoder_from is empty: a network that starts from nothing needs the weights of its autoencoder"
      )
    return None
  accepted = next(
    (image, video) for video, image in PARENTS.items() if experiment.stage in (image, video)
  )
  if experiment.distillation:
    accepted = (experiment.stage,)
  parent, step = checkpoints.load_experiment(experiment.init_from, stages=accepted)
  check_teacher(experiment, parent)
  for field in ("model", "text", "diffusion", "super_resolution", "autoencoder"):
    ours, theirs = getattr(experiment, field), getattr(parent, field)
    if field == "text" and ours and theirs:
      ours, theirs = ((t.encoder, t.null, t.words) for t in (ours, theirs))
    if field == "diffusion":  # how the loss is weighted does not matter to a network
      ours, theirs = ((d.schedule, d.prediction) for d in (ours, theirs))
    if field == "super_resolution" and ours and theirs:
      ours, theirs = (ours.factor, ours.aligned), (theirs.factor, theirs.aligned)
    if ours != theirs:
      raise ValueError(
        f"config.{field} differs from that of init_from={experiment.init_from}: {ours} here, {theirs} there"
      )
  return checkpoints.load_trained(experiment.init_from, accepted, step, mesh)


def check_teacher(experiment: Experiment, teacher: Experiment):
  """Raises ValueError unless a network that is distilled can learn from the one that it starts from."""
  if not experiment.distillation or not experiment.distillation.guidance_scales:
    return
  told = teacher.is_told_guidance
  if experiment.distillation.halves_steps and not told:
    raise ValueError(
      f"distillation.guidance_scales with halves_steps=True: init_from={experiment.init_from} is not told the guidance weight; "
      "distill it with halves_steps=False first"
    )
  if told and not experiment.distillation.halves_steps:
    raise ValueError(
      f"distillation.guidance_scales: init_from={experiment.init_from} is told the guidance weight already; set halves_steps=True"
    )
  if told:
    for scale in experiment.distillation.guidance_scales:
      between("distillation.guidance_scales", scale, *teacher.distillation.guidance_scales)


def initial_weights(stage: Stage, warm_start: Trained | None, mesh: jax.sharding.Mesh):
  """(rebuild, params, frozen) on the mesh: fresh weights, and over them those of the warm start."""
  rebuild, abstract_params, abstract_frozen = abstract_model(stage.experiment)
  # What will be loaded is not drawn first; compiling without optimisation halves the start on a CPU.
  options = {"xla_backend_optimization_level": 0} if jax.default_backend() == "cpu" else None
  draw = lambda: weights.split(stage.build())[1]
  shardings = meshes.weight_shardings(abstract_params, mesh)
  params = jax.jit(draw, compiler_options=options, out_shardings=shardings)()
  if warm_start is None:
    return rebuild, params, own_autoencoder(stage.experiment, mesh)
  theirs = warm_start.experiment
  if theirs.stage == stage.experiment.stage:
    # Both start as zeros: a conditional network's further channels, and what a network is told of guidance.
    params = weights.merge(params, warm_start.params, may_be_new=MAY_BE_NEW)
    frozen = weights.merge(abstract_frozen, warm_start.frozen)
    if stage.experiment.distillation:
      # A copy, as training gives up the buffers that it starts with.
      frozen = with_teacher(stage.experiment, frozen, jax.tree.map(jnp.copy, params))
    return rebuild, params, frozen
  if stage.parent is None:  # the image part of a video model
    params = weights.merge(params, image_of(theirs, warm_start.frozen))
    return rebuild, params, autoencoder_of(warm_start.frozen)
  return rebuild, params, frozen_of(stage.experiment, warm_start.params, warm_start.frozen)


def own_autoencoder(experiment: Experiment, mesh: jax.sharding.Mesh) -> weights.Weights:
  """The frozen weights of an image stage that starts from nothing: those of its autoencoder, if it has one."""
  if experiment.autoencoder is None:
    return {}
  folder = experiment.autoencoder_from
  return {"autoencoder": pretrained_autoencoder.restore(folder, experiment.autoencoder, mesh)}


def optimizer_of(stage: Stage) -> optax.GradientTransformation:
  """As the experiment has it."""
  return make_optimizer(stage.experiment.optimizer, stage.experiment.train.num_steps)


def place_state(
  params: weights.Weights, optimizer, mesh: jax.sharding.Mesh, lengths: Sequence[float] = ()
):
  """(state before the first step, its shardings); `params` are given up. `lengths`: of further averages."""
  init = functools.partial(init_state, optimizer=optimizer, lengths=lengths)
  shardings = meshes.weight_shardings(jax.eval_shape(init, params), mesh)
  return jax.jit(init, out_shardings=shardings, donate_argnums=0)(params), shardings


def kept_in(frozen: weights.Weights, dtype: str) -> weights.Weights:
  """Kernels in `dtype`; vectors, whose precision costs nothing, as they are."""
  return jax.tree.map(lambda leaf: leaf.astype(dtype) if leaf.ndim > 1 else leaf, frozen)


def announce(run: Run, workdir: epath.Path, made_from: provenance.Provenance):
  """Says what is trained, from what, and on what; the tables of all weights go to the log alone."""
  experiment = run.stage.experiment
  step, last = int(run.state.step), experiment.train.num_steps
  where = f"goes on from step {step} of {last}" if step else f"begins, {last} steps"
  if step >= last:
    where = f"at step {step} of {last}, nothing is left to train"
  say(f"{workdir}: stage {experiment.stage}, {where}")
  if made_from["inherited"]:
    say(f"started from {provenance.describe_inherited(made_from['inherited'])}")
  say(f"data: {provenance.describe_data(made_from['data'])}")
  for warning in (sources.left_out(experiment.data), sources.cut_captions(experiment)):
    if warning:
      logging.warning("%s", warning)
  if made_from["text_encoder"]:
    say("caption states of the text encoder {checksum}".format(**made_from["text_encoder"]))
  trained, frozen = (weights.count(tree) / 1e6 for tree in (run.state.params, run.frozen))
  say(f"parameters: {trained:.3f}M trained, {frozen:.3f}M frozen")
  for name, tree in (("Trained", run.state.params), ("Frozen", run.frozen)):
    if tree:
      table = parameter_overview.get_parameter_overview(tree, include_stats=False)
      logging.info("%s:\n%s", name, table)
