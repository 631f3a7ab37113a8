"""From the workdir of a run to the folder of a release.

The temporal part of a video model may be released alone, where the image weights may not be passed on, and joined with them
again by whoever has them. Temporal layers work with the image weights that they were trained around, so others are refused.
"""

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

import jax
from etils import epath

from lumiere import averages, checkpoints, fields, release_folder
from lumiere.experiment import PARENTS, STAGES, Experiment
from lumiere.model import abstract_model, frozen_of
from lumiere.release import card
from lumiere.sections import SamplingConfig
from lumiere.trained import Trained
from lumiere.trees import CheckpointError


def make(
  workdir: epath.PathLike,
  out: epath.PathLike,
  *,
  step: int | None = None,
  ema: float | None = None,
  temporal_only: bool = False,
  image: epath.PathLike | None = None,
  sampling: Mapping[str, Any] | None = None,
  scores: Mapping[str, Mapping[str, float]] | None = None,
  about: str = "",
  license: str = "",
) -> dict[str, Any]:
  """Writes a release.

  Args:
    workdir: of a run; or a release, to be changed or joined.
    out: the folder to write, which must not be there yet.
    step: which checkpoint; None is the newest.
    ema: length of the average, for runs with `config.train.averages`; None is the average that training used.
    temporal_only: leave the image weights out.
    image: run or release of the image model, for a release of the temporal part alone.
    sampling: fields of `SamplingConfig` in place of the run's own.
    scores: what was measured, {column: {name: number}}, for the model card.
    about: a sentence or more on top of the model card.
    license: an SPDX name for the model card, such as "apache-2.0".

  Returns:
    the content of its config.json.

  Raises:
    ValueError: names the flag that cannot be.
    CheckpointError: if weights are missing, damaged or not those that belong together.
  """
  out = epath.Path(out)
  if out.exists():
    raise ValueError(f"--out={out} exists already: nothing is overwritten")
  if image is not None:
    trained, average = join(workdir, image)
  else:
    trained, average = chosen(workdir, step, ema)
  if temporal_only and not trained.experiment.is_video:
    raise ValueError(
      f"--only=temporal: {workdir} is a {trained.experiment.stage!r} model and has no temporal part"
    )
  trained = dataclasses.replace(trained, experiment=with_sampling(trained.experiment, sampling))
  described = release_folder.save(trained, out, average=average, temporal_only=temporal_only)
  text = card.write(trained, described, scores or {}, about, license)
  (out / release_folder.CARD).write_text(text)
  return described


def chosen(workdir: epath.PathLike, step: int | None, ema: float | None) -> tuple[Trained, str]:
  """(a model with the average that was asked for, that average in words)."""
  trained = checkpoints.load_trained(workdir, STAGES, step)
  if release_folder.is_release(workdir):
    if ema is not None:
      raise ValueError(f"--ema={ema:g}: {workdir} is a release, which holds one average")
    return trained, release_folder.describe(workdir)["average"]
  if ema is not None:
    params = averages.combine(workdir, trained.params, trained.step, ema)
    return dataclasses.replace(trained, params=params), f"power-function average of length {ema:g}"
  if not trained.step:
    return trained, "none: weights as they were imported"
  decay = trained.experiment.train.ema_decay
  return trained, f"exponential moving average with decay {decay:g}"


def join(temporal: epath.PathLike, image: epath.PathLike) -> tuple[Trained, str]:
  """(the model of a temporal part and the image weights that it was trained around, its average in words).

  Args:
    temporal: release of the temporal part alone.
    image: run or release of the image model, or of a video model that was inflated from it.

  Raises:
    ValueError: if `temporal` is not such a release.
    CheckpointError: if the image weights are others.
  """
  if not release_folder.is_release(temporal):
    raise ValueError(f"--with_image needs a release in --workdir, {temporal} is none")
  described = release_folder.describe(temporal)
  if described["parts"] != ["params"]:
    raise ValueError(f"--with_image: {temporal} has its image weights already")
  experiment = Experiment.from_config(described["experiment"])
  accepted = (PARENTS[experiment.stage], experiment.stage)
  source = checkpoints.load_trained(image, accepted)
  theirs, ours = source.experiment.model, experiment.model
  if theirs != ours:
    raise CheckpointError(f"{image} is of another network than {temporal}: {theirs}, not {ours}")
  frozen = (
    source.frozen
    if source.experiment.stage == experiment.stage
    else frozen_of(experiment, source.params, source.frozen)
  )
  found, wanted = (
    release_folder.checksum_of(release_folder.flat(frozen)),
    described["frozen_checksum"],
  )
  if found != wanted:
    name = (described["provenance"].get("inherited") or {}).get("workdir", "its image model")
    raise CheckpointError(
      f"{image} does not hold the image weights that {temporal} was trained around, {name}: their checksum is {found}, "
      f"{wanted} is needed"
    )
  rebuild, params, _ = abstract_model(experiment)
  params = release_folder.part_of(temporal, "params", params)
  return (
    Trained(
      experiment,
      described["step"],
      rebuild,
      params,
      jax.device_get(frozen),
      described["provenance"],
      "",
    ),
    described["average"],
  )


def with_sampling(experiment: Experiment, changes: Mapping[str, Any] | None) -> Experiment:
  """The experiment with other sampling defaults."""
  if not changes:
    return experiment
  values = vars(experiment.sampling) | dict(changes)
  return dataclasses.replace(
    experiment, sampling=fields.from_mapping(SamplingConfig, values, "--sampling")
  )


def read_scores(path: epath.PathLike | None) -> dict[str, dict[str, float]]:
  """{column: {name: number}} of a JSON file; raises ValueError if it holds something else."""
  if not path:
    return {}
  try:
    scores = json.loads(epath.Path(path).read_text())
  except json.JSONDecodeError as error:
    raise ValueError(f"--scores={path} is not JSON: {error}") from error
  columns = scores if isinstance(scores, dict) else {}
  if columns and not any(isinstance(column, dict) for column in columns.values()):
    columns = {"score": columns}
  numbers = [
    number
    for column in columns.values()
    for number in (column.values() if isinstance(column, dict) else [None])
  ]
  if not numbers or not all(isinstance(number, int | float) for number in numbers):
    raise ValueError(f"--scores={path} must hold {{name: number}} or {{column: {{name: number}}}}")
  return columns
