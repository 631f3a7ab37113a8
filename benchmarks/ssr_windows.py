"""Super-resolution of long clips in windows: independent ones, ones that are blended afterwards, and MultiDiffusion.

python benchmarks/ssr_windows.py

Low resolution is that of true clips of four windows, so that the truth of the high one is known. Blended
windows have noise of their own each; the other ways share theirs.
"""

import dataclasses

import numpy as np
from absl import flags
from tqdm import tqdm

from lumiere import cli, sizes


def main():
  """Makes the clips, measures them, prints a table and draws X-T slices."""
  from lumiere import Cascade, pretrained
  from lumiere.data import frames
  from lumiere.data.moving_shapes import extent_of, random_scene, render
  from lumiere.evaluation.seams import frame_change, seam_score
  from lumiere.sampling.cascade import example_keys
  from lumiere.sizes import check_multiple, divided
  from multidiffusion.reconcile import cut, reconcile
  from multidiffusion.windows import plan_windows

  values = flags.FLAGS
  cascade = Cascade.restore(*pretrained.cascade_of(values.workdir, values.ssr_workdir))
  own, data = cascade.ssr.experiment.sampling, cascade.ssr.experiment.data
  size = sizes.read(values.size, "--size") if values.size else data.size
  factor = cascade.ssr.experiment.super_resolution.factor
  check_multiple("--size", size, cascade.ssr.experiment.multiple)
  num_frames = 4 * own.window
  rng = np.random.default_rng(3)
  duration, extent = num_frames / data.fps, extent_of(size)
  scenes = [random_scene(rng, duration, extent=extent) for _ in range(values.num_clips)]
  true = np.stack([render(scene, num_frames, data.fps, size) for scene in scenes])
  small = np.stack([frames.area_resize(clip, *divided(size, factor)) for clip in true])

  def upscale(low_res, first: int, sampling, seed: int = 2):
    keys = example_keys(seed, first, len(low_res))
    return np.asarray(cascade.upscale(low_res, [""] * len(low_res), keys, sampling))

  def blended(low_res, first: int):
    """Overlapping windows, each from its own noise; where two overlap, their tapered mean."""
    plan, alone = (
      plan_windows(num_frames, own.window, own.stride),
      dataclasses.replace(own, window=0),
    )
    windows = cut(low_res, plan)
    parts = [upscale(window, first, alone, seed) for seed, window in enumerate(windows, 3)]
    return np.asarray(reconcile(np.stack(parts), plan, "tapered"))

  ways = {
    "independent windows": lambda x, first: upscale(
      x, first, dataclasses.replace(own, stride=own.window)
    ),
    "blended windows": blended,
    "MultiDiffusion": lambda x, first: upscale(x, first, own),
    "one window": lambda x, first: upscale(x, first, dataclasses.replace(own, window=0)),
  }
  borders = plan_windows(num_frames, own.window, own.window).borders()
  print(f"{len(true)} clips of {num_frames} frames, windows of {own.window}, stride {own.stride}")
  print(f"{'':<22}{'seam score':>16}{'error':>18}{'flicker':>18}")
  slices = [true[0]]
  for name, make in ways.items():
    firsts = tqdm(range(len(small)), desc=name, disable=None)
    made = np.concatenate([make(small[first : first + 1], first) for first in firsts])
    difference = made - true
    seams = [seam_score(v, borders, r) for v, r in zip(made, true, strict=True)]
    errors = 255 / 2 * np.sqrt(np.mean(np.square(difference), axis=(1, 2, 3, 4)))
    flicker = [255 / 2 * frame_change(d).mean() for d in difference]
    cells = [with_error(v, digits) for v, digits in ((seams, 3), (errors, 2), (flicker, 2))]
    print(f"{name:<22}{cells[0]:>16}{cells[1]:>18}{cells[2]:>18}", flush=True)
    slices.append(made[0])
  if values.out:
    pictures = [frames.xt_slice(frames.to_uint8(video)) for video in slices]
    frames.write_image(values.out, np.concatenate(pictures, axis=1))


def with_error(values, digits: int) -> str:
  """The mean with its standard error."""
  return (
    f"{np.mean(values):.{digits}f} ± {np.std(values, ddof=1) / np.sqrt(len(values)):.{digits}f}"
  )


if __name__ == "__main__":
  flags.DEFINE_string("workdir", None, "Run or release of a base; default: the one that ships.")
  flags.DEFINE_string("ssr_workdir", None, "The same of super-resolution.")
  flags.DEFINE_integer("num_clips", 16, "Clips.", 2)
  flags.DEFINE_string("size", None, "HEIGHTxWIDTH of the clips; default: as trained.")
  flags.DEFINE_string("out", None, "Picture of X-T slices: the truth, then the rows of the table.")
  cli.run(main)
