"""Judges a model of the endless world on captions that training never saw, and the judge itself on true clips.

python benchmarks/held_out.py --num_judged=32
python benchmarks/held_out.py --num_judged=32 --size=24x40
python benchmarks/held_out.py --model=runs/release/stunet --ssr=runs/release/ssr --out=out/held_out

A model is the workdir of a run or a release; one of a t2i training is judged on pictures. "test" has combinations of colour,
shape and motion that training saw, in other clips, "unseen" those that it never saw.
"""

import dataclasses
import json
import pathlib

import numpy as np
from absl import flags

from lumiere import cli, pretrained, sizes
from lumiere.sizes import check_multiple


def main():
  """Judges, prints a table, and writes held_out.json and a sheet for each split."""
  from lumiere.data import frames
  from lumiere.evaluation import held_out

  values = flags.FLAGS
  out = pathlib.Path(values.out)
  out.mkdir(parents=True, exist_ok=True)
  base = open_model(values.model or pretrained.BASE, ("t2i", "stunet"))
  ssr = open_model(values.ssr, ("ssr",)) if values.ssr else None
  if ssr and not base.experiment.is_video:
    raise ValueError(f"--ssr={values.ssr}: pictures of --model={values.model} are not refined")
  results = {}
  for split in held_out.SPLITS:
    for pairs in (False, True):
      what = f"{split}, {'two things' if pairs else 'one thing'}"
      given = held_out.HeldOut.load(base.experiment.data, split, values.num_judged, pairs)
      videos = {"truth": given.videos, "model": held_out.sample(base, given.captions)}
      if ssr:
        videos["refined"] = refine(base, ssr, videos["model"], given.captions)
      for kind, made in videos.items():
        shares = given.judge(list(made))
        if not base.experiment.is_video:
          shares = {name: shares[name] for name in held_out.OF_STILLS}
        results[f"{what}, {kind} {sizes.as_text(made.shape[2:4])}"] = shares
      shown = list(list(videos.values())[-1][:12])
      sheet = frames.contact_sheet(shown, list(given.captions[:12]))
      frames.write_image(out / f"{split}_{1 + pairs}.png", sheet)
  (out / "held_out.json").write_text(json.dumps(results, indent=2) + "\n")
  print(table(results, values.num_judged))


def open_model(path: str, stages: tuple[str, ...]):
  """The generator of a run or a release; raises CheckpointError if it is of another stage."""
  from lumiere import checkpoints
  from lumiere.sampling.generator import Generator

  trained = checkpoints.load_trained(path, stages)
  values, sampling = flags.FLAGS, trained.experiment.sampling
  data = trained.experiment.data
  asked = dict(
    log_snr_shift=values.shift, num_steps=values.steps, guidance_scale=values.guidance_scale
  )
  if trained.experiment.stage != "ssr":
    asked = {name: value for name, value in asked.items() if value is not None}
    sampling = dataclasses.replace(sampling, **asked)
    if values.size:
      size = sizes.read(values.size, "--size")
      check_multiple("--size", size, trained.experiment.multiple)
      data = dataclasses.replace(data, resolution=size, buckets=())
  experiment = dataclasses.replace(trained.experiment, sampling=sampling, data=data)
  return Generator(experiment, trained.step, trained.rebuild, trained.params, trained.frozen)


def refine(base, ssr, videos, captions, batch_size: int = 8):
  """Super-resolution of what a base made."""
  from lumiere import Cascade
  from lumiere.data import frames
  from lumiere.sampling.cascade import example_keys

  cascade, parts = Cascade(base, ssr), []
  for first in range(0, len(videos), batch_size):
    some = slice(first, first + batch_size)
    keys = example_keys(2, first, len(videos[some]))
    made = cascade.upscale(frames.to_float(videos[some]), captions[some], keys)
    parts.append(frames.to_uint8(np.asarray(made)))
  return np.concatenate(parts)


def table(results: dict, count: int) -> str:
  """Shares by split and model, a row each."""
  lines = [f"Share of {count} captions of each kind that the videos show"]
  width = max(map(len, results))
  for what, shares in results.items():
    cells = "  ".join(f"{name} {share:6.1%}" for name, share in shares.items())
    lines.append(f"{what:<{width}}  {cells}")
  return "\n".join(lines)


if __name__ == "__main__":
  flags.DEFINE_string("model", None, "Run or release of a base; default: the one that ships.")
  flags.DEFINE_string("ssr", None, "Run or release of super-resolution; without it, none.")
  flags.DEFINE_string("size", None, "HEIGHTxWIDTH of the base's videos; default: as trained.")
  flags.DEFINE_string("out", "out/held_out", "Where the figures and the sheets go.")
  flags.DEFINE_integer("num_judged", 256, "Held-out captions of each kind.", 1)
  flags.DEFINE_float("shift", None, "sampling.log_snr_shift of the base; default: its own.")
  flags.DEFINE_float("guidance_scale", None, "Guidance scale of the base; default: its own.", 0)
  flags.DEFINE_integer("steps", None, "Sampler steps of the base; default: its own.")
  cli.run(main)
