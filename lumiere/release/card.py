"""The model card of a release: what it is, what it was made from, what was measured, how to use it."""

from collections.abc import Mapping
from typing import Any

from lumiere import release_folder, weights
from lumiere.experiment import Experiment
from lumiere.sizes import as_text
from lumiere.trained import Trained

KINDS = {
  "t2i": "text-to-image model",
  "stunet": "text-to-video model (Space-Time U-Net)",
  "ssr_image": "image super-resolution model",
  "ssr": "video super-resolution model",
}


def write(
  trained: Trained,
  described: Mapping[str, Any],
  scores: Mapping[str, Mapping[str, float]],
  about: str,
  license: str,
) -> str:
  """The card as Markdown.

  Args:
    trained: the model.
    described: the content of its config.json.
    scores: {column: {name: number}}.
    about: on top, in the user's own words.
    license: an SPDX name, or "".
  """
  experiment = trained.experiment
  head = ["library_name: open-lumiere"]
  if license:
    head.append(f"license: {license}")
  partly = "" if described["parts"] == list(release_folder.PARTS) else ", temporal part alone"
  parts = [
    "---\n" + "\n".join(head) + "\n---",
    f"# {KINDS[experiment.stage][0].upper()}{KINDS[experiment.stage][1:]}{partly}",
    about,
    "\n".join(f"- {line}" for line in facts(trained, described)),
    table(scores),
    use(experiment, described),
  ]
  return "\n\n".join(part for part in parts if part) + "\n"


def facts(trained: Trained, described: Mapping[str, Any]) -> list[str]:
  """What it is and what it was made from, a line each."""
  experiment, made_from = trained.experiment, described["provenance"]
  data, train, sampling = experiment.data, experiment.train, experiment.sampling
  frames = f"{data.num_frames} frames at {data.fps:g} fps, " if experiment.is_video else ""
  own, frozen = (weights.count(tree) / 1e6 for tree in (trained.params, trained.frozen))
  lines = [f"Makes {frames}{as_text(data.size)} pixels."]
  if experiment.masks:
    lines[0] += " Takes known pixels: animating pictures, inpainting and the like."
  lines.append(
    f"{own:.3g} million weights were trained{f', {frozen:.3g} million are those of the image model, frozen' if frozen else ''}."
  )
  lines.append(
    f"Trained for {described['step']} steps of {train.batch_size}; weights: {described['average']}."
  )
  if seen := made_from.get("data"):
    counts = ", ".join(f"{count} {split}" for split, count in seen["examples"].items())
    lines.append(f"Data: `{seen['dataset']}`; examples: {counts}.")
  if parent := made_from.get("inherited"):
    lines.append(
      f"Started from `{parent['workdir']}`: stage {parent['stage']}, step {parent['step']}, checksum {parent['checksum']}."
    )
  if encoder := made_from.get("text_encoder"):
    lines.append(f"Reads caption states of the text encoder {encoder['checksum']}.")
  guidance = f"guidance {sampling.guidance_scale:g}"
  if sampling.guidance_interval:
    guidance += " at log-SNRs from {:g} to {:g}".format(*sampling.guidance_interval)
  lines.append(
    f"Sampling defaults: {sampling.sampler}, {sampling.num_steps} steps, {guidance}, noise levels shifted by "
    f"{sampling.log_snr_shift:g} in log-SNR."
  )
  lines.append(f"`{release_folder.WEIGHTS}`: bfloat16, SHA-256 {described['sha256']}.")
  return lines


def table(scores: Mapping[str, Mapping[str, float]]) -> str:
  """What was measured, a column each; "" for nothing."""
  if not scores:
    return ""
  names = list(dict.fromkeys(name for column in scores.values() for name in column))
  rows = [f"| | {' | '.join(scores)} |", f"| --- |{' --- |' * len(scores)}"]
  for name in names:
    cells = (f"{column[name]:.4g}" if name in column else "" for column in scores.values())
    rows.append(f"| {name} | {' | '.join(cells)} |")
  return "## What was measured\n\n" + "\n".join(rows)


def use(experiment: Experiment, described: Mapping[str, Any]) -> str:
  """The commands that use it."""
  if described["parts"] != list(release_folder.PARTS):
    command = "python -m lumiere.release --workdir=THIS_FOLDER --with_image=IMAGE_MODEL --out=WHOLE"
  else:
    command = {
      "t2i": "python sample.py --prompt=... --workdir=BASE --style=THIS_FOLDER",
      "stunet": "python sample.py --prompt=... --workdir=THIS_FOLDER",
      "ssr_image": "python train.py --config=... --config.init_from=THIS_FOLDER",
      "ssr": "python sample.py --prompt=... --workdir=BASE --ssr_workdir=THIS_FOLDER",
    }[experiment.stage]
  return f"## Use\n\n```sh\n{command}\n```"
