"""Whether a video network begins as its image network, and whether only what belongs to video is trained."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from lumiere.diagnosis.findings import Finding, judged
from lumiere.diagnosis.networks import Batch, Network
from lumiere.experiment import Experiment
from lumiere.model import abstract_model, image_of, image_prefixes
from lumiere.trained import Trained
from lumiere.training.stages import Stage
from lumiere.weights import Weights

# Relative error of float32, and of bfloat16.
TOLERANCE = {jnp.float32: 1e-4, jnp.bfloat16: 0.05}


def look(
  experiment: Experiment,
  warm_start: Trained,
  rebuild: Callable,
  params: Weights,
  frozen: Weights,
  batch: Batch,
) -> list[Finding]:
  """Findings of a video stage as it begins.

  Args:
    experiment: of the stage.
    warm_start: what `init_from` names.
    rebuild: as of `abstract_model`.
    params: trained weights at the start.
    frozen: frozen weights.
    batch: clips.
  """
  return [
    source(experiment, warm_start, frozen),
    trained(experiment, params),
    identity(experiment, warm_start, rebuild, params, frozen, batch),
    gradients(experiment, rebuild, params, frozen, batch),
  ]


def source(experiment: Experiment, warm_start: Trained, frozen: Weights) -> Finding:
  """Whether the frozen weights are finite and equal to those of the run that they come from."""
  theirs = warm_start.params
  if warm_start.experiment.is_video:
    theirs = image_of(warm_start.experiment, warm_start.frozen)
  ours = image_of(experiment, frozen)
  count = len(jax.tree.leaves(frozen))
  finite = all(bool(jnp.isfinite(leaf).all()) for leaf in jax.tree.leaves(frozen))
  apart = count  # all of them, if the networks differ
  if jax.tree.structure(ours) == jax.tree.structure(theirs):
    pairs = zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True)
    apart = sum(not np.array_equal(np.asarray(a), np.asarray(b)) for a, b in pairs)
  measured = (
    f"{count} arrays, {'all finite' if finite else 'some not finite'}, {apart} differ from those of "
    f"{experiment.init_from}"
  )
  return judged(
    "frozen weights",
    "fine" if finite and not apart else "wrong",
    measured,
    "import the image model again (lumiere.convert), or train it again if its weights are not finite",
  )


def trained(experiment: Experiment, params: Weights) -> Finding:
  """Whether weights of the image network are among those that are trained."""
  inside = []
  for target in image_prefixes(experiment).values():
    tree = params
    for name in target:
      tree = tree.get(name, {}) if isinstance(tree, dict) else {}
    inside += jax.tree.leaves(tree)
  count = len(jax.tree.leaves(params))
  return judged(
    "what is trained",
    "wrong" if inside or not count else "fine",
    f"{count} arrays, {len(inside)} of them of the image network",
    "the image weights must stay frozen, as the paper has it: they are marked in stunet/inflation.py (`Frozen`)",
  )


def identity(
  experiment: Experiment,
  warm_start: Trained,
  rebuild: Callable,
  params: Weights,
  frozen: Weights,
  batch: Batch,
) -> Finding:
  """Whether frames 0, N, 2N, ... of a clip come out as from the image network, N being the total temporal factor."""
  if warm_start.experiment.is_video:
    return Finding(
      "start of inflation",
      "skipped",
      f"{experiment.init_from} is a video run: its temporal layers are trained already",
    )
  image = Network.image_of(warm_start)
  rebuild_image, _, _ = abstract_model(image.experiment)
  video = jnp.asarray(batch["video"])[:2]
  factor = experiment.temporal.total_factor
  stage, schedule = Stage(experiment), experiment.diffusion.make_schedule()
  some = {name: jnp.asarray(x)[:2] for name, x in batch.items()}
  levels = jnp.zeros(2)

  def conditioning(model, clips):
    found = model.encode_text(some)
    if experiment.is_super_resolution:
      found |= stage.low_res_conditioning(clips, jax.random.key(1))
    return found

  whole = rebuild(params, frozen)
  given = conditioning(whole, video)
  made = whole.denoiser(schedule)(video, levels, given)[:, ::factor]
  alone = rebuild_image(image.params, {})
  expected = []
  for frame in range(0, video.shape[1], factor):
    of_frame = {name: x[:, frame] if name == "low_res" else x for name, x in given.items()}
    expected.append(alone.denoiser(schedule)(video[:, frame], levels, of_frame))
  expected = jnp.stack(expected, axis=1)
  error = float(jnp.linalg.norm(made - expected) / jnp.linalg.norm(expected))
  return judged(
    "start of inflation",
    "fine" if error < TOLERANCE[experiment.compute_dtype] else "wrong",
    f"before the first step, frames differ from the image network's by {error:.1e} (relative)",
    "temporal layers must begin as an identity: the projections that they end in at zero (stunet/temporal.py), resampling as "
    "nearest neighbour",
  )


def gradients(
  experiment: Experiment, rebuild: Callable, params: Weights, frozen: Weights, batch: Batch
) -> Finding:
  """Whether the loss reaches the trained weights."""
  stage = Stage(experiment)

  @jax.jit
  def norms(params, frozen, batch):
    loss = lambda params: jnp.mean(
      stage.losses(rebuild, params, frozen, batch, jax.random.key(0))[0]
    )
    return jax.tree.map(jnp.linalg.norm, jax.tree.map(jnp.ravel, jax.grad(loss)(params)))

  found = np.array(jax.tree.leaves(norms(params, frozen, dict(batch))))
  reached, finite = int(np.sum(found > 0)), bool(np.isfinite(found).all())
  return judged(
    "gradients",
    "wrong" if not finite or not reached else "fine",
    f"the first step moves {reached} of {len(found)} arrays (layers behind a projection of zero follow later), "
    f"{'all finite' if finite else 'some not finite'}",
    "nothing would be learnt: look at optimizer, dtype and the frozen weights",
  )
