"""What a run is made from, recorded with every checkpoint and compared when the run goes on.

inherited       workdir, stage and step of the run whose weights it started from, and their checksum; None from scratch
data            the fingerprint of its dataset, see `lumiere.data.sources`
text_encoder    checksum and max_length of the encoder whose caption states it reads; None without such states
"""

import dataclasses
from typing import Any

from absl import logging

from lumiere import processes
from lumiere.data import sources
from lumiere.data.embeddings import Index
from lumiere.experiment import Experiment
from lumiere.trained import Record, Trained

Provenance = dict[str, Any]


def of_new_run(experiment: Experiment, warm_start: Trained | None) -> Provenance:
  """Of a run that begins.

  Raises:
    ValueError: if the caption states are not those of this dataset, or of another encoder than the warm start's.
  """
  inputs, inherited = _inputs(experiment), None
  if warm_start is not None:
    before, now = warm_start.provenance.get("text_encoder"), inputs["text_encoder"]
    if before and now:
      _check_encoder(experiment, f"init_from={experiment.init_from}", before, now)
    inherited = {
      "workdir": experiment.init_from,
      "stage": warm_start.experiment.stage,
      "step": warm_start.step,
      "checksum": warm_start.checksum,
    }
  return {"inherited": inherited, **inputs}


def of_resumed_run(experiment: Experiment, record: Record, workdir) -> Provenance:
  """Of a run that goes on: warns if the data are not what they were.

  Raises:
    ValueError: if the caption states are not those of this dataset, or of another encoder than before.
  """
  inputs, before = _inputs(experiment), record.provenance
  _check_encoder(
    experiment, f"the run in {workdir}", before["text_encoder"], inputs["text_encoder"]
  )
  if before["data"] != inputs["data"] and processes.is_first():
    logging.warning(
      "The data differ from those that the run in %s was trained on: %s here, %s there",
      workdir,
      describe_data(inputs["data"]),
      describe_data(before["data"]),
    )
  return {"inherited": before["inherited"], **inputs}


def _inputs(experiment: Experiment) -> Provenance:
  data = sources.fingerprint(experiment.data)
  if not experiment.data.embeddings:
    return {"data": data, "text_encoder": None}
  index = Index.read(experiment.data.embeddings)
  if experiment.text and index.encoder.max_length != experiment.text.max_length:
    raise ValueError(
      f"config.data.embeddings={experiment.data.embeddings} has states of {index.encoder.max_length} tokens, "
      f"config.text.max_length={experiment.text.max_length}"
    )
  if sources.digest(data) not in index.datasets:
    raise ValueError(
      f"config.data.embeddings={experiment.data.embeddings} was not made for {data['dataset']} as it is now; "
      "python -m lumiere.embed adds what is missing"
    )
  return {"data": data, "text_encoder": dataclasses.asdict(index.encoder)}


def _check_encoder(experiment: Experiment, whose: str, before, now):
  if before != now:
    name = lambda encoder: encoder["checksum"] if encoder else "none"
    raise ValueError(
      f"config.data.embeddings={experiment.data.embeddings!r}: states of the text encoder {name(now)}, but {whose} was "
      f"trained on states of {name(before)}"
    )


def describe_inherited(inherited: dict[str, Any]) -> str:
  """For people."""
  return "{workdir}, stage {stage}, step {step}, checksum {checksum}".format(**inherited)


def describe_data(data: dict[str, Any]) -> str:
  """For people."""
  counts = ", ".join(f"{count} {split}" for split, count in data["examples"].items())
  return f"{data['dataset']}, examples: {counts}, content {data['content']}"
