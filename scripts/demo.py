"""The whole path in miniature: makes the data, trains every stage, writes videos, judges them.

python scripts/demo.py [--out=out/demo]

What is finished is not done again: a second run goes on where the first one stopped.
"""

import contextlib
import dataclasses
import json
import os
import pathlib
import subprocess
import sys
import time

import numpy as np
from absl import flags
from tqdm import tqdm

from lumiere import cli

ROOT = pathlib.Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))  # for configs/

from scripts import style_pictures  # noqa: E402

_OUT = flags.DEFINE_string("out", "out/demo", "Where videos, pictures and the report go.")
_RUNS = flags.DEFINE_string("runs", "runs", "Where the trainings go.")
_NUM_JUDGED = flags.DEFINE_integer("num_judged", 64, "Held-out captions to judge by.")
_NUM_REFINED = flags.DEFINE_integer(
  "num_refined", 16, "How many of their videos are refined and judged again."
)
_OVERRIDES = flags.DEFINE_multi_string(
  "override", [], "NAME:config.field=value for one training, *:config.field=value for all."
)

# config: (run that it starts from, steps). As many as a quarter of an hour allows for; by themselves most configs train
# longer, and the conditional base, which is the only one here, starts from the unconditional one.
STAGES = {
  "t2i_tiny": (None, 650),
  "stunet_masked_tiny": ("t2i_tiny", 350),
  "ssr_image_tiny": (None, 250),
  "ssr_tiny": ("ssr_image_tiny", 120),
  "t2i_style_tiny": ("t2i_tiny", 80),
}
PROMPTS = (
  "a red circle moves to the left quickly on black",
  "a yellow square spins clockwise slowly on navy",
  "a cyan triangle bounces up and down fast on gray",
  "a magenta circle gets bigger quickly on black",
  "one green square drifts down slowly on gray",
  "a white triangle orbits counterclockwise fast on navy",
)


def main():
  """Runs the stages in order and prints what each took."""
  out, runs = pathlib.Path(_OUT.value), pathlib.Path(_RUNS.value)
  out.mkdir(parents=True, exist_ok=True)
  table = Table()
  with table.stage("data"):
    prepare()
  for name, (parent, num_steps) in STAGES.items():
    command = ["train.py", f"--config=configs/{name}.py", f"--workdir={runs / name}"]
    command.append(f"--config.train.num_steps={num_steps}")
    if name == "t2i_style_tiny":
      if not (out / "pictures").exists():
        style_pictures.draw(out / "pictures")
      command.append(f"--config.data.folder={out / 'pictures'}")
    if parent:
      command.append(f"--config.init_from={runs / parent}")
    table.run(name, [*command, *overrides(name)])
  models = [f"--workdir={runs / 'stunet_masked_tiny'}", f"--ssr_workdir={runs / 'ssr_tiny'}"]
  table.run("sample", ["sample.py", *(f"--prompt={p}" for p in PROMPTS), *models, f"--out={out}"])
  with table.stage("applications"):
    applications(runs, out)
  with table.stage("judge"):
    results = evaluate(runs, out)
  report = {"stages": table.rows, **results}
  (out / "report.json").write_text(json.dumps(report, indent=2) + "\n")
  print(table)
  show(results)
  print(f"\nVideos, sheet.png, applications.png and report.json are in {out}")


def overrides(name: str) -> list[str]:
  """The flags that --override gives a training."""
  pairs = [value.split(":", 1) for value in _OVERRIDES.value]
  if bad := [pair for pair in pairs if len(pair) < 2 or pair[0] not in (*STAGES, "*")]:
    raise ValueError(
      f"--override={':'.join(bad[0])!r} must be NAME:config.field=value, NAME one of *, {', '.join(STAGES)}"
    )
  return [f"--{change}" for target, change in pairs if target in (name, "*")]


@dataclasses.dataclass
class Table:
  """Wall time and peak memory of each stage."""

  rows: list[dict] = dataclasses.field(default_factory=list)

  @contextlib.contextmanager
  def stage(self, name: str):
    """Times a block of this process, whose memory is not told apart."""
    print(f"== {name}", flush=True)
    start = time.perf_counter()
    yield
    self.add(name, time.perf_counter() - start, None)

  def run(self, name: str, command: list[str]):
    """Runs one of our programs; its output goes to the terminal."""
    print(f"== {name}: python {' '.join(command)}", flush=True)
    start = time.perf_counter()
    process = subprocess.Popen([sys.executable, *command], cwd=ROOT)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
      raise RuntimeError(f"stage {name} failed; its message is above")
    # Kilobytes on Linux, bytes on a Mac.
    self.add(
      name, time.perf_counter() - start, usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    )

  def add(self, name: str, seconds: float, peak_bytes: int | None):
    """One finished stage."""
    self.rows.append({"stage": name, "seconds": round(seconds, 1), "peak_bytes": peak_bytes})

  def __str__(self) -> str:
    lines = [f"\n{'stage':<20}{'time':>8}{'peak memory':>14}"]
    for row in self.rows:
      peak = f"{row['peak_bytes'] / 2**30:.1f} GiB" if row["peak_bytes"] else ""
      lines.append(f"{row['stage']:<20}{row['seconds']:>6.0f} s{peak:>14}")
    total = sum(row["seconds"] for row in self.rows)
    return "\n".join([*lines, f"{'total':<20}{total:>6.0f} s"])


def load_config(name: str):
  """A training's config, with its overrides."""
  import importlib

  from ml_collections import config_flags

  config = importlib.import_module(f"configs.{name}").get_config()
  values = flags.FlagValues()
  config_flags.DEFINE_config_dict("config", config, flag_values=values)
  values([sys.argv[0], *overrides(name)])
  return config


def prepare():
  """Draws the dataset that all trainings share."""
  from lumiere.data import sources
  from lumiere.experiment import Experiment

  sources.make_source(Experiment.from_config(load_config("stunet_masked_tiny")).data, "train")


def applications(runs: pathlib.Path, out: pathlib.Path):
  """A contact sheet with a row for each application, all of one checkpoint."""
  from lumiere import Cascade
  from lumiere.data import frames
  from lumiere.data.moving_shapes import Scene, Thing, render

  cascade = Cascade.restore(runs / "stunet_masked_tiny", runs / "ssr_tiny")
  count, size = cascade.num_frames, cascade.resolution
  thing = Thing("circle", "red", "right", "slow", (0.32, 0.5), 0.36)
  clip = frames.to_uint8(render(Scene((thing,), "black"), count, 8, size))
  prompt, other = (
    "a red circle moves right slowly on black",
    "a green circle moves right slowly on navy",
  )
  half = np.zeros((size, size), bool)
  half[:, : size // 2] = True
  hole, around = np.zeros((count, size, size), bool), np.ones((1, size, size), bool)
  hole[count // 4 : -count // 4, size // 8 : -size // 8, size // 8 : -size // 8] = True
  around[:, size // 5 : -size // 5] = False
  hidden = np.where(hole[..., None], 128, clip).astype(np.uint8)
  style = cascade.restyle(runs / "t2i_style_tiny", 0.75)
  two = {
    0: "a cyan square bounces slowly on black",
    count: "a magenta circle bounces slowly on black",
  }
  rows = {
    f"text to video: {prompt}": cascade.generate([prompt]),
    "image to video: the first frame is given": cascade.animate([prompt], [clip[0]]),
    "first and last frame are given": cascade.animate([prompt], [clip[0], clip[-1]], at=(0, -1)),
    "cinemagraph: only the left half moves": cascade.animate([prompt], [clip[0]], moving=half),
    "inpainting: given, gray is to be made": hidden[None],
    "inpainting: made": cascade.fill([prompt], clip, hole),
    "outpainting: above and below are made": cascade.fill([prompt], clip, around),
    f"video to video, strength 0.7: {other}": cascade.edit([other], clip, strength=0.7),
    "style, strength 0.75": style.generate([prompt]),
    "twice as long, two prompts: a cyan square, then a magenta circle": cascade.extend(
      [two], 2 * count
    ),
  }
  sheet = frames.contact_sheet([videos[0] for videos in rows.values()], list(rows))
  frames.write_image(out / "applications.png", sheet)


def evaluate(runs: pathlib.Path, out: pathlib.Path) -> dict:
  """Judges samples for held-out captions, and the seams of super-resolution on held-out clips."""
  from lumiere import Cascade
  from lumiere.data import frames, sources
  from lumiere.evaluation import moving_shapes

  cascade = Cascade.restore(runs / "stunet_masked_tiny", runs / "ssr_tiny")
  data = cascade.ssr.experiment.data
  source = sources.make_source(dataclasses.replace(data, num_frames=16), "test")
  examples = [source[index] for index in range(_NUM_JUDGED.value)]
  captions = [text(example["caption"]) for example in examples]
  truth = np.stack([example["video"] for example in examples])
  base = dataclasses.replace(cascade, ssr=None)
  fps = data.fps
  small = base.generate(captions, seed=1, progress=tqdm)
  refined = slice(_NUM_REFINED.value)
  low_res, sampling = frames.to_float(small[refined]), cascade.ssr.experiment.sampling
  large = frames.to_uint8(upscale(cascade, low_res, captions[refined], sampling))
  factor = cascade.ssr.experiment.super_resolution.factor
  size = truth.shape[2] // factor
  reduced = np.stack(
    [frames.to_uint8(frames.area_resize(frames.to_float(video), size)) for video in truth]
  )
  judged = {
    f"truth {size}px": reduced,
    f"truth {truth.shape[2]}px": truth,
    f"base {size}px": small,
    f"cascade {truth.shape[2]}px": large,
  }
  accuracy = {
    name: moving_shapes.report(moving_shapes.judge(videos, captions[: len(videos)], fps))
    for name, videos in judged.items()
  }
  frames.write_image(out / "sheet.png", frames.contact_sheet(list(large[:12]), captions[:12]))
  return {
    "num_judged": len(captions),
    "num_refined": len(large),
    "accuracy": accuracy,
    "seams": seams(cascade),
  }


def text(caption) -> str:
  """TFDS gives bytes."""
  return caption.decode() if isinstance(caption, bytes) else str(caption)


def upscale(cascade, low_res, captions, sampling):
  """Super-resolution in batches of 8 with the same keys whatever the settings."""
  from lumiere.cascade import example_keys

  parts = []
  for first in range(0, len(low_res), 8):
    batch = low_res[first : first + 8]
    keys = example_keys(2, first, len(batch))
    parts.append(np.asarray(cascade.upscale(batch, captions[first : first + 8], keys, sampling)))
  return np.concatenate(parts)


def seams(cascade, num_clips: int = 2) -> dict[str, float]:
  """Change at the borders of independent windows over change elsewhere, motion taken out; see lumiere/evaluation/seams.py.

  On clips of four windows, drawn for this.
  """
  from lumiere.data import frames
  from lumiere.data.moving_shapes import random_scene, render
  from lumiere.evaluation.seams import seam_score
  from multidiffusion.windows import plan_windows

  own, data = cascade.ssr.experiment.sampling, cascade.ssr.experiment.data
  factor, num_frames = cascade.ssr.experiment.super_resolution.factor, 4 * own.window
  rng = np.random.default_rng(3)
  scenes = [random_scene(rng, num_frames / data.fps) for _ in range(num_clips)]
  target = np.stack([render(scene, num_frames, data.fps, data.resolution) for scene in scenes])
  low_res = np.stack([frames.area_resize(video, data.resolution // factor) for video in target])
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


def show(results: dict):
  """Prints the judge's tables."""
  names = ("background", "colour", "shape", "motion", "speed")
  print(
    f"\nShare of {results['num_judged']} held-out captions that the video shows (cascade: the first {results['num_refined']})"
  )
  print(f"{'':<16}" + "".join(f"{name:>12}" for name in names))
  for kind, shares in results["accuracy"].items():
    print(f"{kind:<16}" + "".join(f"{shares[name]:>12.1%}" for name in names))
  print("\nSeam score of super-resolution, 1 if no seam shows")
  for kind, score in results["seams"].items():
    print(f"  {kind:<22}{score:.3f}")


if __name__ == "__main__":
  cli.run(main)
