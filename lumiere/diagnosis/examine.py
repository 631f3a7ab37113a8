"""All that is looked at, in the order in which one thing spoils the next: data, imported weights, inflation, learning, costs."""

import contextlib
from collections.abc import Iterator

import jax
from etils import epath

from lumiere import mesh as meshes
from lumiere.diagnosis import clips, costs, inflation, learning, process, under_way
from lumiere.diagnosis.findings import Finding
from lumiere.diagnosis.networks import Network, as_images
from lumiere.experiment import Experiment
from lumiere.training import loop, start
from lumiere.training.stages import Stage


def new_run(experiment: Experiment, num_steps: int) -> Iterator[Finding]:
  """Findings of a training that has not begun, as they are made. `num_steps`: of learning a few clips by heart.

  Raises:
    ValueError: if the experiment cannot run as it is.
  """
  check_is_known(experiment)
  mesh = meshes.make_mesh(experiment.mesh)
  meshes.check_fits(experiment, mesh)
  stage = Stage(experiment)
  warm_start = start.load_warm_start(stage, mesh)
  yield from clips.look(experiment, clips.Sample.load(experiment))
  with contextlib.closing(iter(loop.make_loader(experiment, "train"))) as batches:
    batch, seconds = costs.time_of_batches(batches)
  with jax.set_mesh(mesh):
    rebuild, params, frozen = start.initial_weights(stage, warm_start, mesh)
    if warm_start is None:
      yield Finding(
        "image network", "skipped", "it is trained from scratch: there are no weights to look at"
      )
    else:
      pictures = as_images(batch)
      yield from process.look(Network.image_of(warm_start), pictures)
    if experiment.is_video:
      yield from inflation.look(experiment, warm_start, rebuild, params, frozen, batch)
    fitted = learning.fit(experiment, rebuild, params, frozen, batch, num_steps, mesh)
    yield from learning.look(experiment, fitted)
  yield from costs.look(experiment, fitted, seconds)


def run_under_way(experiment: Experiment, workdir: epath.PathLike) -> Iterator[Finding]:
  """Findings of the data and of the newest checkpoint of a run; raises ValueError as `new_run`."""
  check_is_known(experiment)
  yield from clips.look(experiment, clips.Sample.load(experiment))
  yield from under_way.look(workdir)


def check_is_known(experiment: Experiment):
  """Raises ValueError for networks whose errors are measured otherwise."""
  if experiment.autoencoder:
    raise ValueError("config.autoencoder: only models of pixels can be examined")
  if experiment.distillation:
    raise ValueError(
      "config.distillation: only networks that learn from data can be examined, such as the one that it is distilled from"
    )


def summary(findings: list[Finding]) -> str:
  """One line of all findings."""
  counts = {
    verdict: sum(f.verdict == verdict for f in findings)
    for verdict in ("wrong", "look", "fine", "skipped")
  }
  said = ", ".join(f"{count} {verdict}" for verdict, count in counts.items() if count)
  if counts["wrong"]:
    return f"{said}: it would not learn what it should"
  return f"{said}: nothing speaks against training"
