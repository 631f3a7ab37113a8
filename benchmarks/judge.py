"""Judges a cascade trained on moving shapes: how far its videos follow held-out captions, and whether windows leave seams.

python benchmarks/judge.py --workdir=runs/stunet_masked_tiny --ssr_workdir=runs/ssr_tiny --out=out/judged
"""

import dataclasses
import json
import pathlib

import numpy as np
from absl import flags
from tqdm import tqdm

from lumiere import cli

BATCH = 8  # videos at a time


def main():
  """Judges, prints the tables, and writes judge.json and sheet.png."""
  from lumiere import Cascade

  values = flags.FLAGS
  out = pathlib.Path(values.out)
  out.mkdir(parents=True, exist_ok=True)
  cascade = Cascade.restore(values.workdir, values.ssr_workdir)
  results = judge(cascade, values.num_judged, values.num_refined, out)
  (out / "judge.json").write_text(json.dumps(results, indent=2) + "\n")
  print(tables(results))


def judge(cascade, num_judged: int, num_refined: int, out: pathlib.Path) -> dict:
  """Scores samples for held-out captions and the seams of super-resolution; writes the first 12 samples as a sheet."""
  from lumiere.data import frames, sources
  from lumiere.evaluation import moving_shapes
  from lumiere.sizes import as_text, divided

  data = cascade.ssr.experiment.data
  source = sources.make_source(dataclasses.replace(data, num_frames=cascade.num_frames), "test")
  if num_judged > len(source):
    raise ValueError(f"--num_judged={num_judged}: only {len(source)} clips are held out")
  num_refined = min(num_refined, num_judged)
  examples = [source[index] for index in range(num_judged)]
  captions = [example["caption"].decode() for example in examples]
  truth = np.stack([example["video"] for example in examples])
  base = cascade.without_ssr()
  small = np.concatenate(
    [
      base.generate(captions[first : first + BATCH], seed=1, first_index=first)
      for first in tqdm(range(0, num_judged, BATCH), desc="base videos")
    ]
  )
  low_res, sampling = frames.to_float(small[:num_refined]), cascade.ssr.experiment.sampling
  large = frames.to_uint8(upscale(cascade, low_res, captions[:num_refined], sampling))
  factor = cascade.ssr.experiment.super_resolution.factor
  size = divided(data.size, factor)
  reduced = np.stack(
    [frames.to_uint8(frames.area_resize(frames.to_float(video), *size)) for video in truth]
  )
  judged = {
    f"truth {as_text(size)}": reduced,
    f"truth {as_text(data.size)}": truth,
    f"base {as_text(size)}": small,
    f"cascade {as_text(data.size)}": large,
  }
  accuracy = {
    name: moving_shapes.report(moving_shapes.judge(videos, captions[: len(videos)], data.fps))
    for name, videos in judged.items()
  }
  frames.write_image(out / "sheet.png", frames.contact_sheet(list(large[:12]), captions[:12]))
  return {
    "num_judged": num_judged,
    "num_refined": num_refined,
    "accuracy": accuracy,
    "seams": seams(cascade),
  }


def upscale(cascade, low_res, captions, sampling):
  """Super-resolution with the same keys whatever the settings."""
  from lumiere.sampling.cascade import example_keys

  parts = []
  for first in range(0, len(low_res), BATCH):
    batch = low_res[first : first + BATCH]
    keys = example_keys(2, first, len(batch))
    parts.append(
      np.asarray(cascade.upscale(batch, captions[first : first + BATCH], keys, sampling))
    )
  return np.concatenate(parts)


def seams(cascade, num_clips: int = 2) -> dict[str, float]:
  """Seam scores of super-resolution with three settings; see lumiere/evaluation/seams.py.

  Measured on random clips of four windows.
  """
  from lumiere.data import frames
  from lumiere.data.moving_shapes import extent_of, random_scene, render
  from lumiere.evaluation.seams import seam_score
  from lumiere.sizes import divided
  from multidiffusion.windows import plan_windows

  own, data = cascade.ssr.experiment.sampling, cascade.ssr.experiment.data
  factor, num_frames = cascade.ssr.experiment.super_resolution.factor, 4 * own.window
  rng = np.random.default_rng(3)
  duration, extent = num_frames / data.fps, extent_of(data.size)
  scenes = [random_scene(rng, duration, extent=extent) for _ in range(num_clips)]
  target = np.stack([render(scene, num_frames, data.fps, data.size) for scene in scenes])
  low_res = np.stack([frames.area_resize(video, *divided(data.size, factor)) for video in target])
  settings = {
    "independent windows": dataclasses.replace(own, stride=own.window),
    "MultiDiffusion": own,
    "one window": dataclasses.replace(own, window=0),
  }
  borders = plan_windows(target.shape[1], own.window, own.window).borders()
  scores = {}
  for name, sampling in settings.items():
    videos = upscale(cascade, low_res, [""] * len(low_res), sampling)
    scores[name] = float(
      np.mean([seam_score(v, borders, r) for v, r in zip(videos, target, strict=True)])
    )
  return scores


def tables(results: dict) -> str:
  """The results of `judge` as text."""
  names = ("background", "colour", "shape", "motion", "speed")
  lines = [
    f"\nShare of {results['num_judged']} held-out captions that the video shows (cascade: the first {results['num_refined']})",
    f"{'':<16}" + "".join(f"{name:>12}" for name in names),
  ]
  for kind, shares in results["accuracy"].items():
    lines.append(f"{kind:<16}" + "".join(f"{shares[name]:>12.1%}" for name in names))
  lines.append("\nSeam score of super-resolution, 1 if no seam shows")
  lines += [f"  {kind:<22}{score:.3f}" for kind, score in results["seams"].items()]
  return "\n".join(lines)


if __name__ == "__main__":
  flags.DEFINE_string("workdir", "runs/stunet_masked_tiny", "Workdir of a base.")
  flags.DEFINE_string("ssr_workdir", "runs/ssr_tiny", "Workdir of the ssr run.")
  flags.DEFINE_string("out", "out/judged", "Folder for the figures and the sheet.")
  flags.DEFINE_integer("num_judged", 64, "Held-out captions to judge by.", 1)
  flags.DEFINE_integer(
    "num_refined", 16, "Number of their videos that are upsampled and judged again.", 1
  )
  cli.run(main)
