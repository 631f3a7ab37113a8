"""The paper's claim, measured: a whole clip in one pass against keyframes and temporal super-resolution.

python -m lumiere.fetch --what=i3d
python benchmarks/one_pass.py --out=runs/one_pass

On the world of `orbits.py`, with networks of the same kind, the same clips and the same number of frames a step:

    one pass           the STUNet makes all 16 frames
    flat in time       the same without down- and upsampling in time, trained and sampled for as many operations
    keyframes          one STUNet makes every 4th frame, another one those between, in windows of 8 frames, which
                       overlap (averaged at every step), or in independent ones
    true keyframes     the second of these networks between the keyframes of true clips

Videos of captions that say rate and direction are read: does the thing go round as asked, or as keyframes take it for? Those
of captions that say neither may go round in any way, as long as it is one. The command trains and samples what is missing, and
goes on where it was stopped. OUT/results.json and OUT/slices.png are what comes of it.
"""

import dataclasses
import functools
import json
import pathlib
import sys
import zlib
from collections.abc import Sequence

import numpy as np
from absl import flags

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))  # for configs/

from lumiere import cli  # noqa: E402

WINDOW = 8  # frames of temporal super-resolution
WINDOWS = {  # of a method's name: stride, weights
  "overlapping windows": (WINDOW // 2, "tapered"),
  "independent windows": (WINDOW, "uniform"),
}
WHOLE = {"one pass": "one_pass", "flat in time": "flat"}  # methods that need one network
METHODS = (
  *WHOLE,
  *(
    f"{keyframes}, {windows}"
    for keyframes in ("keyframes", "true keyframes")
    for windows in WINDOWS
  ),
)
NETWORKS = ("image", "one_pass", "flat", "keyframes", "between")
BATCH = 12


def main():
  """Trains, samples and measures what is missing."""
  from benchmarks import orbits
  from lumiere.training.log import quiet_terminal

  values = flags.FLAGS
  out = pathlib.Path(values.out)
  if unknown := set(values.networks) - set(NETWORKS):
    raise ValueError(f"--networks={unknown.pop()} must be among {', '.join(NETWORKS)}")
  quiet_terminal()
  if not (out / "videos").exists():
    orbits.write_folder(out / "part", values.num_clips)
    (out / "part").rename(out / "videos")
  for name in values.networks:
    train(name, experiment_of(name, out), out)
  if set(values.networks) != set(NETWORKS):
    return
  models = {name: Model.load(out / name) for name in NETWORKS[1:]}
  said = orbits.held_out(values.each)
  unsaid = [asked.without_motion() for asked in said[: values.num_unsaid]]
  made = {}
  for method in METHODS:
    made[method] = {
      "said": sampled(out, method, "said", models, said),
      "unsaid": sampled(out, method, "unsaid", models, unsaid),
    }
  true = orbits.truth(said)
  results = {"true clips": orbits.measured(true, true[: len(unsaid)], said)}
  for method, clips in made.items():
    results[method] = orbits.measured(clips["said"], clips["unsaid"], said)
    results[method]["GFLOP a clip"] = operations(method, models) / 1e9
  others = orbits.truth(orbits.held_out(values.each, seed=2))
  sets = {"true clips": true} | {method: made[method]["said"] for method in METHODS}
  for method, found in distances(out, others, sets).items():
    results[method] |= found
  (out / "results.json").write_text(json.dumps(results, indent=2) + "\n")
  print(tables(results))
  draw_slices(out / "slices.png", {method: clips["unsaid"] for method, clips in made.items()})


def experiment_of(name: str, out: pathlib.Path):
  """The experiment of one network."""
  from benchmarks import orbits
  from configs import stunet_release, t2i_release
  from lumiere.experiment import Experiment

  config = (t2i_release if name == "image" else stunet_release).get_config()
  config.text.update(words=orbits.WORDS, max_length=16)
  config.data.update(dataset="video_folder", folder=str(out / "videos"), data_dir=str(out / "data"))
  config.data.update(resolution=orbits.RESOLUTION, fps=float(orbits.FPS), moving_shapes_endless={})
  config.data.video_folder = dict(num_frames=orbits.NUM_FRAMES, resolution=orbits.RESOLUTION)
  config.train.update(num_steps=flags.FLAGS.num_steps, batch_size=32, checkpoint_every=250)
  config.train.update(ema_decay=0.995, averages=(), sample_every=0)
  config.sampling.update(num_steps=16, guidance_scale=2.0)
  if name == "image":
    config.data.num_frames, config.train.num_steps = 1, flags.FLAGS.num_image_steps
    return Experiment.from_config(config)
  config.init_from = str(out / "image")
  batch_size = dict(one_pass=32, flat=32, keyframes=128, between=64)[name]  # of 512 frames
  config.train.update(log_snr_shift=-2.5, batch_size=batch_size)
  config.data.num_frames = 512 // batch_size
  if name == "between":
    config.masks.shares = {"every_4th": 1.0}
  else:
    config.masks, config.temporal.condition_channels = None, 0
  if name == "keyframes":
    config.data.fps = float(orbits.KEYFRAME_RATE)
    config.data.video_folder.num_frames = config.data.num_frames
  if name == "flat":
    config.temporal.factors = (1,)
    # Fewer steps, for each takes more operations.
    share = step_flops(experiment_of("one_pass", out)) / step_flops(Experiment.from_config(config))
    config.train.num_steps = round(share * config.train.num_steps)
    config.sampling.num_steps = round(share * config.sampling.num_steps)
  return Experiment.from_config(config)


def step_flops(experiment) -> float:
  """Operations of a training step."""
  from lumiere.training import flops
  from lumiere.training.stages import Stage

  return flops.model_flops(experiment, Stage(experiment).batch_shapes())


def train(name: str, experiment, out: pathlib.Path):
  """Trains a network, or the rest of it."""
  from lumiere.training import loop
  from lumiere.training.log import RunLog

  with RunLog() as log:
    log.write_to(out / name)
    loop.train(experiment, out / name, show=lambda *_: None)


@dataclasses.dataclass(frozen=True)
class Model:
  """A trained network.

  Attributes:
    generator: what samples from it.
    weights: (trained, frozen).
  """

  generator: object
  weights: tuple

  @classmethod
  def load(cls, workdir: pathlib.Path) -> "Model":
    """The averaged weights of a run."""
    from lumiere import checkpoints
    from lumiere.sampling.generator import Generator

    run = checkpoints.load_trained(workdir, ("stunet",))
    weights = (run.params, run.frozen)
    return cls(Generator(run.experiment, run.step, run.rebuild, *weights), weights)

  @property
  def sampling(self):
    """Its settings."""
    return self.generator.experiment.sampling

  @functools.cached_property
  def cascade(self):
    """For the methods of applications."""
    from lumiere import Cascade

    return Cascade(self.generator)

  @property
  def call_flops(self) -> float:
    """Operations of one sampler step of one clip of the training length, both halves of the guidance."""
    import jax
    import jax.numpy as jnp

    from diffusion.samplers import State
    from lumiere.training import flops

    data = self.generator.experiment.data
    z = jnp.zeros((1, data.num_frames, *data.size, 3))
    levels = self.sampling.make_levels().visited(self.generator.schedule, 2)
    row = {name: column[0] for name, column in self.sampling.make_sampler().table(levels).items()}
    step = self.generator.step_function(self.sampling)
    conditioning, keys = (
      self.generator.encode(["a red circle circles on navy"]),
      jax.random.split(jax.random.key(0), 1),
    )
    return flops.count(
      jax.make_jaxpr(step)(*self.weights, State(z, z), row, conditioning, keys).jaxpr
    )


def sampled(out: pathlib.Path, method: str, kind: str, models: dict[str, Model], asked: Sequence):
  """Clips of a method, from OUT/samples if they are there."""
  path = out / "samples" / f"{method.replace(', ', '_').replace(' ', '_')}_{kind}.npy"
  if path.exists() and len(clips := np.load(path)) == len(asked):
    return clips
  parts = [
    make(method, models, asked[first : first + BATCH], first)
    for first in range(0, len(asked), BATCH)
  ]
  path.parent.mkdir(exist_ok=True)
  np.save(path, clips := np.concatenate(parts))
  print(f"{method}, rate {kind}: {len(clips)} clips", flush=True)
  return clips


def make(method: str, models: dict[str, Model], asked: Sequence, first: int):
  """Clips of a batch of captions."""
  from benchmarks import orbits
  from lumiere.sampling import given

  captions, options = [a.caption for a in asked], dict(seed=1, first_index=first)
  if method in WHOLE:
    return models[WHOLE[method]].cascade.generate(captions, **options)
  keyframes, windows = method.split(", ")
  if keyframes == "keyframes":
    known = models["keyframes"].cascade.generate(captions, **options)
  else:
    known = orbits.truth(asked)[:, :: orbits.EVERY]
  places, size = range(0, orbits.NUM_FRAMES, orbits.EVERY), (orbits.RESOLUTION,) * 2
  parts = [given.keyframes(list(k), places, orbits.NUM_FRAMES, size) for k in known]
  stride, weights = WINDOWS[windows]
  between = models["between"]
  sampling = dataclasses.replace(
    between.sampling, window=WINDOW, stride=stride, window_weights=weights
  )
  return between.cascade.complete(captions, parts, sampling=sampling, **options)


def operations(method: str, models: dict[str, Model]) -> float:
  """Operations of one clip."""
  from benchmarks import orbits
  from multidiffusion.windows import plan_windows

  whole = lambda model: model.sampling.num_steps * model.call_flops
  if method in WHOLE:
    return whole(models[WHOLE[method]])
  keyframes, windows = method.split(", ")
  plan = plan_windows(orbits.NUM_FRAMES, WINDOW, WINDOWS[windows][0])
  total = len(plan.starts) * whole(models["between"])
  return total + (whole(models["keyframes"]) if keyframes == "keyframes" else 0)


def distances(
  out: pathlib.Path, reference: np.ndarray, sets: dict[str, np.ndarray]
) -> dict[str, dict]:
  """KVD of sets of clips to other true ones, and FVD where there are enough of them, with their protocol."""
  from benchmarks import damage, orbits
  from lumiere import user_cache
  from lumiere.evaluation.metrics import compare, i3d_weights
  from lumiere.evaluation.metrics.protocol import Protocol

  backbone = i3d_weights.load_backbone(user_cache.folder() / i3d_weights.NAME)
  protocol = Protocol(num_frames=orbits.NUM_FRAMES, crop=False)

  def rows_of(name: str, clips: np.ndarray):
    path = out / "features" / f"{name}_{zlib.crc32(np.ascontiguousarray(clips)):08x}.npy"
    if not path.exists():
      path.parent.mkdir(exist_ok=True)
      np.save(path, damage.features_of(backbone, clips))
    return np.load(path)

  true, results = rows_of("reference", reference), {}
  for name, clips in sets.items():
    rows = rows_of(name, clips)
    metrics = ("kvd", "fvd") if len(rows) > rows.shape[1] else ("kvd",)
    figures = [compare.compare(m, rows, true, protocol, backbone.title) for m in metrics]
    results[name] = {f.metric: f.value for f in figures} | {"protocol": figures[-1].protocol}
  return results


def tables(results: dict[str, dict]) -> str:
  """The figures as tables in Markdown; shares with their standard errors."""
  from benchmarks import orbits

  lines = []
  for title, share in (
    ("goes round as asked", "as asked"),
    ("goes round as its keyframes also would", "aliased"),
  ):
    lines += ["", f"| {title} | " + " | ".join(f"{q / 4:g}" for q in orbits.QUARTERS) + " |"]
    lines += ["| --- |" + " --- |" * len(orbits.QUARTERS)]
    for method, found in results.items():
      cells = [
        with_error(found["rates"][q][share], found["rates"][q]["n"]) for q in orbits.QUARTERS
      ]
      lines.append(f"| {method} | " + " | ".join(cells) + " |")
  columns = {
    "one way throughout": lambda r: with_error(r["steady"], r["n_unsaid"]),
    "both halves alike": lambda r: with_error(r["same_halves"], r["n_unsaid"]),
    "faster than keyframes tell": lambda r: with_error(r["fast"], r["n_unsaid"]),
    "colour change, of 255": lambda r: f"{r['colour_drift']:.0f}",
    "size spread": lambda r: f"{r['size_spread']:.1%}",
    "KVD": lambda r: f"{r['kvd']:.1f}",
    "FVD": lambda r: f"{r['fvd']:.0f}" if "fvd" in r else "",
    "GFLOP a clip": lambda r: f"{r['GFLOP a clip']:.0f}" if "GFLOP a clip" in r else "",
  }
  lines += ["", "| | " + " | ".join(columns) + " |", "| --- |" + " --- |" * len(columns)]
  for method, found in results.items():
    lines.append(f"| {method} | " + " | ".join(cell(found) for cell in columns.values()) + " |")
  return "\n".join([*lines, "", f"[{results['one pass']['protocol']}]"])


def with_error(share: float, n: int) -> str:
  """A share of n, with its standard error (of the Agresti-Coull estimate, which is not 0 at 0 or 1)."""
  smooth = (share * n + 2) / (n + 4)
  return f"{100 * share:.0f} ± {100 * np.sqrt(smooth * (1 - smooth) / (n + 4)):.0f} %"


def draw_slices(path: pathlib.Path, sets: dict[str, np.ndarray], columns: int = 6):
  """X-T slices side by side, time running down: a row for each way to make clips, a column for each of the first captions.

  A slice shows of each column of pixels the one that differs most from the background, so that no motion is missed.
  """
  from lumiere.data import frames

  rows = []
  for clips in sets.values():
    slices = []
    for clip in clips[:columns]:
      away = np.abs(clip.astype(int) - clip[:1, :1, :1]).sum(axis=-1)
      farthest = away.argmax(axis=1)[:, None, :, None]
      picture = frames.enlarge(np.take_along_axis(clip, farthest, axis=1)[:, 0], 128)
      slices.append(np.pad(picture, [(2, 2), (2, 2), (0, 0)], constant_values=255))
    rows.append(np.concatenate(slices, axis=1))
  frames.write_image(path, np.concatenate(rows))


if __name__ == "__main__":
  flags.DEFINE_string("out", "runs/one_pass", "Where clips, trainings, samples and tables go.")
  flags.DEFINE_list(
    "networks", list(NETWORKS), "Networks to train; clips are made only if all are asked for."
  )
  flags.DEFINE_integer("num_clips", 2048, "Clips to train on.", 16)
  flags.DEFINE_integer("num_image_steps", 2000, "Training steps of the image network.", 1)
  flags.DEFINE_integer("num_steps", 2000, "Training steps of each network of clips.", 1)
  flags.DEFINE_integer("each", 17, "Captions of each rate and direction.", 1)
  flags.DEFINE_integer("num_unsaid", 96, "Captions without rate and direction.", 1)
  cli.run(main)
