"""Whether the stage learns: a few clips are learnt by heart, with the very losses, step and optimizer of a training.

Learnt by heart, a caption tells which of the clips is meant: a network that reads captions denoises worse with another one's.
"""

import dataclasses
import importlib.resources
import json
import time
from collections.abc import Callable

import jax
import numpy as np
from tqdm import tqdm

from lumiere import mesh as meshes
from lumiere.diagnosis.findings import Finding, Line, Plot, judged
from lumiere.diagnosis.networks import Batch, Network, with_the_next_caption
from lumiere.experiment import Experiment
from lumiere.model import abstract_model
from lumiere.training import start
from lumiere.training.optimizers import make_optimizer
from lumiere.training.stages import Stage
from lumiere.training.step import make_train_step
from lumiere.weights import Weights

CLIPS = 4
LEVELS = (-6.0, -4.0, -2.0, 0.0, 2.0)
# What the loss has fallen to, of its beginning, where a stage learns.
FALLEN = {"t2i": 0.7, "ssr_image": 0.9, "stunet": 0.9, "ssr": 0.97}


@dataclasses.dataclass(frozen=True)
class Fit:
  """A short training on a few clips.

  Attributes:
    losses: of its steps.
    seconds: of a step.
    compiling: seconds that compiling it took.
    needed: bytes that the compiled step needs on a device.
    moved: largest change of a weight.
    network: after it.
    batch: what it was trained on, each clip once.
  """

  losses: np.ndarray
  seconds: float
  compiling: float
  needed: int
  moved: float
  network: Network
  batch: Batch


def fit(
  experiment: Experiment,
  rebuild: Callable,
  params: Weights,
  frozen: Weights,
  batch: Batch,
  num_steps: int,
  mesh: jax.sharding.Mesh,
) -> Fit:
  """Trains on the first clips of a batch with different captions, repeated to a whole batch.

  The optimizer is the experiment's at its highest learning rate, without warm-up and decay. `params` are given up.
  """
  few = first_different(batch)
  size = len(next(iter(batch.values())))
  repeated = {name: np.resize(x, (size, *x.shape[1:])) for name, x in few.items()}
  whole = meshes.shard_batch(repeated, mesh)
  constant = dataclasses.replace(experiment.optimizer, warmup_steps=0, decay="constant")
  optimizer = make_optimizer(constant, num_steps)
  before = jax.tree.map(np.array, params)
  state, shardings = start.place_state(params, optimizer, mesh)
  kept = start.kept_in(frozen, experiment.train.frozen_dtype)
  step = make_train_step(Stage(experiment), rebuild, optimizer, shardings)
  begun = time.perf_counter()
  compiled = step.lower(state, kept, whole).compile()
  compiling = time.perf_counter() - begun
  analysis = compiled.memory_analysis()
  losses, times = [], []
  for _ in tqdm(range(num_steps), desc="learning a few clips by heart", disable=None):
    begun = time.perf_counter()
    state, metrics = compiled(state, kept, whole)
    losses.append(float(metrics.loss.compute()))
    times.append(time.perf_counter() - begun)
  apart = jax.tree.map(lambda a, b: np.abs(np.asarray(a) - b).max(initial=0), state.params, before)
  return Fit(
    np.array(losses),
    float(np.median(times)),
    compiling,
    analysis.argument_size_in_bytes + analysis.temp_size_in_bytes,
    float(max(jax.tree.leaves(apart))),
    Network(experiment, state.params, frozen),
    few,
  )


def first_different(batch: Batch) -> dict[str, np.ndarray]:
  """The first clips of a batch whose captions differ, as far as there are some."""
  captions = next((batch[name] for name in ("tokens", "text") if name in batch), None)
  chosen = []
  for index in range(len(next(iter(batch.values())))):
    is_new = captions is None or all(
      not np.array_equal(captions[index], captions[other]) for other in chosen
    )
    if is_new and len(chosen) < CLIPS:
      chosen.append(index)
  return {name: np.asarray(x)[chosen] for name, x in batch.items()}


def reference(stage: str) -> Line:
  """The curve of a stage's miniature: (step, loss over that at the beginning)."""
  text = importlib.resources.files(__package__).joinpath("reference.json").read_text()
  return [tuple(point) for point in json.loads(text).get(stage, {"points": []})["points"]]


def curve(losses: np.ndarray, points: int = 12) -> Line:
  """Means of the loss over equal parts of a training, relative to the first one's."""
  parts = np.array_split(losses, min(points, len(losses)))
  ends = np.cumsum([len(part) for part in parts])
  return [
    (int(end), float(part.mean() / parts[0].mean())) for end, part in zip(ends, parts, strict=True)
  ]


def look(experiment: Experiment, fitted: Fit) -> list[Finding]:
  """Findings of such a training."""
  found = [moves(experiment, fitted), learns(experiment, fitted)]
  if experiment.text is not None:
    found += [dropped(experiment, fitted), reads(experiment, fitted)]
  return found


def moves(experiment: Experiment, fitted: Fit) -> Finding:
  """Whether the optimizer changes anything."""
  return judged(
    "optimizer",
    "fine" if fitted.moved > 0 else "wrong",
    f"{experiment.optimizer.name} at learning_rate={experiment.optimizer.learning_rate:g} has moved weights by up to {fitted.moved:.2g} "
    f"in {len(fitted.losses)} steps",
    "no weight moves: set optimizer.learning_rate above 0",
  )


def learns(experiment: Experiment, fitted: Fit) -> Finding:
  """Whether the loss of a few clips falls, beside that of the stage's miniature."""
  ours, theirs = curve(fitted.losses), reference(experiment.stage)
  last, limit = ours[-1][1], FALLEN[experiment.stage]
  finite = bool(np.isfinite(fitted.losses).all())
  beside = f" (miniature: {theirs[-1][1]:.0%} after {theirs[-1][0]:g})" if theirs else ""
  lines = {"this config": ours} | ({f"miniature, {experiment.stage}": theirs} if theirs else {})
  return judged(
    "learning a few clips by heart",
    "fine" if finite and last < limit else "wrong",
    f"after {len(fitted.losses)} steps the loss is {last:.0%} of what it was{beside}; below {limit:.0%} is wanted",
    "it does not even learn these: try another optimizer.learning_rate, look at the findings above, or give it more --steps",
    Plot(lines, "step", "loss, relative"),
  )


def dropped(experiment: Experiment, fitted: Fit) -> Finding:
  """For which share of the examples a training's loss depends on the caption at all."""
  stage, network = Stage(experiment), fitted.network
  rebuild, _, _ = abstract_model(experiment)
  losses = jax.jit(
    lambda params, frozen, batch, key: stage.losses(rebuild, params, frozen, batch, key)[0]
  )
  changed, repeats = [], 8
  other = with_the_next_caption(fitted.batch)
  for number in range(repeats):
    key = jax.random.key(number)
    a, b = (
      np.asarray(losses(network.params, network.frozen, dict(x), key))
      for x in (fitted.batch, other)
    )
    changed.append(np.abs(a - b) > 1e-6 * np.abs(a))
  share = float(np.mean(changed))
  return judged(
    "dropped captions",
    "wrong" if share == 0 else "look" if experiment.text.drop_rate > 0.5 else "fine",
    f"text.drop_rate={experiment.text.drop_rate:g}; the caption makes a difference to {share:.0%} of the losses that training computes",
    "no caption reaches the loss: text.drop_rate is the share that is dropped, usually 0.1",
  )


def reads(experiment: Experiment, fitted: Fit) -> Finding:
  """Whether the network denoises worse with another clip's caption."""
  if len(next(iter(fitted.batch.values()))) < 2:
    return Finding("use of captions", "skipped", "all captions that were looked at are the same")
  own = fitted.network.error(fitted.batch, LEVELS)
  misled = fitted.network.error(with_the_next_caption(fitted.batch), LEVELS)
  ratio = misled / own
  levels = ", ".join(f"{r - 1:+.0%} at {level:g}" for level, r in zip(LEVELS, ratio, strict=True))
  lines = {
    name: list(zip(LEVELS, errors.tolist(), strict=True))
    for name, errors in (("own caption", own), ("another's", misled))
  }
  return judged(
    "use of captions",
    "fine" if np.mean(np.log(ratio)) > 0.02 else "wrong",
    f"with another clip's caption its error grows by log-SNR: {levels}",
    "the network does not read the text: look at text.drop_rate, the text encoder, and model.attention_levels and text_pool; or it "
    "needs more --steps to begin to",
    Plot(lines, "log-SNR", "mean square error of the clean clip"),
  )
