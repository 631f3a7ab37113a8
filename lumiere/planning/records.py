"""Records of compiled plans, so that later estimates can state their error.

One JSON file per plan: its `settings`; `compiled` and `estimated`, each with `bytes` and `flops` per chip, and `seconds` per
step.
"""

import dataclasses
import json
import pathlib

from lumiere.experiment import Experiment

FIGURES = {"bytes": "memory", "flops": "operations", "seconds": "time"}


def settings_of(experiment: Experiment, topology: str, step: str, clips: int) -> dict:
  """The settings that a plan depends on."""
  return json.loads(
    json.dumps(
      {
        "stage": experiment.stage,
        "step": step,
        "topology": topology,
        "mesh": dataclasses.asdict(experiment.mesh),
        "clips": clips,
        "num_microbatches": experiment.train.num_microbatches,
        "remat_levels": experiment.model.remat_levels,
        "frozen_dtype": experiment.train.frozen_dtype,
        "channels": experiment.model.channels,
        "num_res_blocks": experiment.model.num_res_blocks,
        "resolution": experiment.data.resolution,
      }
    )
  )


def write(
  folder: str, settings: dict, compiled: dict[str, float], estimated: dict[str, float]
) -> pathlib.Path:
  """Adds a plan to a folder; returns its file."""
  mesh = "_".join(f"{name}{size}" for name, size in settings["mesh"].items())
  remat = "".join(map(str, settings["remat_levels"])) or "none"
  topology = settings["topology"].replace(":", "_")
  name = (
    f"{settings['stage']}_{settings['step']}_{topology}_{mesh}_{settings['clips']}_remat{remat}"
  )
  path = pathlib.Path(folder) / f"{name}.json"
  path.parent.mkdir(parents=True, exist_ok=True)
  record = {"settings": settings, "compiled": compiled, "estimated": estimated}
  path.write_text(json.dumps(record, indent=2) + "\n")
  return path


def errors(folder: str, settings: dict, estimated: dict[str, float]) -> list[str]:
  """The error of estimates, as lines of text.

  Args:
    folder: of the records.
    settings: of the plan; if there is a record of the same settings, it is compared with that one only.
    estimated: its figures.
  """
  found = [json.loads(path.read_text()) for path in sorted(pathlib.Path(folder).glob("*.json"))]
  same = next((record for record in found if record["settings"] == settings), None)
  if same:
    parts = [f"{FIGURES[k]} {_error(estimated, same['compiled'], k):+.0%}" for k in FIGURES]
    return ["error against the compiled plan with the same settings: " + ", ".join(parts)]
  alike = [r for r in found if r["settings"]["step"] == settings["step"]]
  if not alike:
    return [f"error unknown: {folder} holds no compiled plan of such a step"]
  parts = []
  for key, name in FIGURES.items():
    values = [_error(record["estimated"], record["compiled"], key) for record in alike]
    parts.append(f"{name} {min(values):+.0%} to {max(values):+.0%}")
  return [f"error in {len(alike)} such steps that were compiled: " + ", ".join(parts)]


def _error(estimated: dict[str, float], compiled: dict[str, float], key: str) -> float:
  return estimated[key] / compiled[key] - 1
