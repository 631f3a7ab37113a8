"""FVD, KVD, Inception Score, CLIPSIM and frame consistency of a folder of videos, whatever made them.

python -m lumiere.evaluate --videos=out --reference=ucf101/train --metrics=fvd,kvd --fps=25 --out=results
python -m lumiere.evaluate --videos=out --reference=ucf101.npz --preset=ucf101_zero_shot        (a file of --save_moments)
python -m lumiere.evaluate --videos=out --metrics=clipsim,consistency --clip=runs/clip      (captions.csv in the folder)
python -m lumiere.evaluate --workdir=runs/stunet --prompts=ucf101 --num_generated=2048 --videos=made --reference=ucf101/train
python -m lumiere.evaluate --videos=out --shard=0/8        (only computes features of an eighth of the videos, into --cache)

With --workdir, videos that --videos does not have yet are generated first. Prints each figure with its protocol, and writes results.json and a page with the nearest and the farthest videos to --out.
I3D's weights come from `python -m lumiere.fetch --what=i3d`, CLIP's from `python -m lumiere.convert` and a folder that you have.
"""

import dataclasses
import json
import pathlib
import re
from typing import Any

from absl import flags

from lumiere import cli, user_cache
from lumiere.evaluation.metrics import resizing
from lumiere.evaluation.metrics.protocol import FRAMES, Protocol

# VideoPoet's appendix A.5.5, the fullest text of these protocols. What is compared, and the prompts, are the user's part.
PRESETS = {
  "ucf101_zero_shot": Protocol(fps=25.0, size=256, num_videos=10_000),
  "msrvtt": Protocol(fps=30.0, size=256, num_videos=2048, repeats=20),
}
OF_TWO_SETS, OF_CLIP, OF_C3D = ("fvd", "kvd"), ("clipsim", "consistency"), ("is",)
METRICS = OF_TWO_SETS + OF_CLIP + OF_C3D
FIELDS = {field.name: field for field in dataclasses.fields(Protocol)}


def main():
  """Reads the flags and evaluates."""
  values = flags.FLAGS
  if values.videos is None:
    raise ValueError("--videos is missing: give a folder with videos")
  if unknown := [name for name in values.metrics if name not in METRICS]:
    raise ValueError(f"--metrics={unknown[0]}: metrics are {', '.join(METRICS)}")
  protocol, shard = protocol_of(), parse_shard(values.shard)
  asked = [values.workdir, values.prompts, values.num_generated]
  if any(asked) and not all(asked):
    raise ValueError(
      "--workdir, --prompts and --num_generated go together: a model, a text file or ucf101, and how many videos are made"
    )
  compared = [name for name in values.metrics if name in OF_TWO_SETS]
  alone = shard is not None or values.save_moments is not None
  if (bool(compared) and not alone) != (values.reference is not None):
    raise ValueError(
      f"--reference, a folder or a file of moments, goes with --metrics={','.join(OF_TWO_SETS)}, and not with --save_moments or --shard"
    )
  seen = [name for name in values.metrics if name in OF_CLIP]
  if bool(seen) != (values.clip is not None):
    raise ValueError(f"--clip, a converted CLIP model, goes with --metrics={','.join(OF_CLIP)}")
  if values.workdir:
    generate(shard or (0, 1))
  scored = [name for name in values.metrics if name in OF_C3D]
  if bool(scored) != (values.c3d is not None) or (values.c3d is None) != (values.c3d_mean is None):
    raise ValueError(
      "--c3d and --c3d_mean, files of weights and of the mean clip, go with --metrics=is"
    )
  # What is missing is said before features are computed.
  videos = videos_of("videos")
  stored = str(values.reference).endswith(".npz")
  references = videos_of("reference") if values.reference and not stored else None
  captions = captions_of(videos) if "clipsim" in seen else {}
  results = Results(protocol)
  if compared:
    compare_sets(results, compared, videos, references, shard)
  if seen and not values.save_moments:
    compare_captions(results, seen, videos, captions, shard)
  if scored and not values.save_moments:
    score(results, videos, shard)
  results.show()


@dataclasses.dataclass
class Results:
  """What was found so far.

  Attributes:
    protocol: of all figures.
    figures: in the order of the metrics.
    made: features of the videos in question; None before there are any.
    reference: features or moments that the page compares them with.
  """

  protocol: Protocol
  figures: list = dataclasses.field(default_factory=list)
  made: Any = None
  reference: Any = None

  def show(self):
    """Prints the figures, and writes them and the page to --out."""
    from lumiere.evaluation.metrics import page

    if not self.figures:
      return
    print(f"{len(self.made.rows)} videos, {len(self.made.skipped)} left out")
    for figure in self.figures:
      print(figure)
    if flags.FLAGS.out:
      out = pathlib.Path(flags.FLAGS.out)
      out.mkdir(parents=True, exist_ok=True)
      listed = [dataclasses.asdict(figure) for figure in self.figures]
      content = {"figures": listed, "skipped": self.made.skipped}
      (out / "results.json").write_text(json.dumps(content, indent=2) + "\n")
      page.write(out, self.figures, self.made, self.reference, self.protocol)
      print(f"written to {out}")


def generate(shard: tuple[int, int]):
  """Makes the videos that --videos does not have yet."""
  from lumiere.evaluation import generate as generation

  values = flags.FLAGS
  prompts = generation.prompts_of(values.prompts)
  from lumiere import Cascade

  cascade = Cascade.restore(values.workdir, values.ssr_workdir)
  folder, seed = pathlib.Path(values.videos), values.sample_seed
  made = generation.generate(
    cascade,
    prompts,
    folder,
    values.num_generated,
    seed=seed,
    batch_size=values.batch_size,
    shard=shard,
  )
  print(
    f"{made} videos made of prompts {generation.checksum_of(prompts)}, seed {seed}, in {folder}"
  )


def videos_of(flag: str):
  """The videos of the folder that a flag names: its files, or those of a dataset that TFDS prepared there."""
  from lumiere.evaluation.metrics import folder, prepared

  path = pathlib.Path(flags.FLAGS[flag].value)
  if not path.is_dir():
    raise ValueError(f"--{flag}={path} is not a folder")
  try:
    if not prepared.is_prepared(path):
      return folder.videos_of(path)
    if flag == "videos" and not flags.FLAGS.save_moments:
      raise ValueError(
        "a dataset of TFDS can be a --reference, or its moments can be saved with --save_moments"
      )
    videos = prepared.Prepared(path, flags.FLAGS.split)
    print(f"{videos}, frames as they lie there")
    return videos
  except ValueError as error:
    raise ValueError(f"--{flag}: {error}") from error


def captions_of(videos) -> dict[str, str]:
  """Captions by the names of the videos; all must have one."""
  from lumiere.data.video_folder import captions

  path = pathlib.Path(flags.FLAGS.videos)
  found = captions.read_captions(path, captions.find_videos(path))
  if missing := [video.name for video in videos if video.name not in found]:
    raise ValueError(
      f"clipsim needs captions: {len(missing)} of {len(videos)} videos have none, {missing[0]} first (captions.csv, or a .txt beside each)"
    )
  return found


def features_of(videos, backbone, protocol: Protocol, shard: tuple[int, int] | None = None):
  """Features, with what flags say of their computation."""
  from lumiere.evaluation.metrics import features

  values = flags.FLAGS
  cache = pathlib.Path(values.cache or user_cache.folder() / "features")
  skip = values.on_error == "skip"
  given = dict(batch_size=values.batch_size, cache=cache, skip=skip, shard=shard or (0, 1))
  made = features.compute(videos, backbone, protocol, **given)
  if shard:
    print(
      f"features of shard {values.shard}: {len(made.rows)} videos by {backbone.title}; in {cache}"
    )
  return made


def compare_sets(results: Results, metrics, videos, references, shard):
  """FVD and KVD, or the moments of the videos."""
  from lumiere.evaluation.metrics import compare, i3d_weights
  from lumiere.evaluation.metrics.distances import Moments

  values, protocol = flags.FLAGS, results.protocol
  backbone = i3d_weights.load_backbone(values.i3d or user_cache.folder() / i3d_weights.NAME)
  made_from = compare.made_from(backbone, protocol)
  stored = references is None and not shard and not values.save_moments
  # A file that does not fit is said before features are computed, too.
  reference = compare.load_moments(values.reference, made_from) if stored else None
  made = features_of(videos, backbone, protocol, shard)
  if shard:
    return
  if values.save_moments:
    compare.save_moments(values.save_moments, Moments.of(made.rows, protocol.divisor), made_from)
    print(
      f"moments of {len(made.rows)} videos, {len(made.skipped)} left out; in {values.save_moments}"
    )
    return
  if not stored:
    reference = features_of(references, backbone, protocol).rows
  results.made, results.reference = made, reference
  for metric in metrics:
    results.figures.append(compare.compare(metric, made.rows, reference, protocol, backbone.title))


def compare_captions(results: Results, metrics, videos, captions: dict[str, str], shard):
  """CLIPSIM and the consistency of frames."""
  from lumiere.evaluation.metrics import clip
  from lumiere.evaluation.metrics.compare import Figure

  model, protocol = clip.Clip.load(flags.FLAGS.clip), results.protocol
  made = features_of(videos, model.backbone, protocol, shard)
  if shard:
    return
  frames = model.vectors_of_frames(made.rows)
  for metric in metrics:
    if metric == "clipsim":
      texts = [captions[video.name] for video in made.videos]
      found = clip.clipsim(frames, model.vectors_of_texts(texts))
    else:
      found = clip.consistency(frames)
    text = protocol.text(metric, model.backbone.title, (len(found), 0))
    results.figures.append(Figure(metric, float(found.mean()), None, text))
  if results.made is None:
    results.made, results.reference = made, made.rows.mean(axis=0, keepdims=True)


def score(results: Results, videos, shard):
  """The Inception Score."""
  from lumiere.evaluation.metrics import c3d
  from lumiere.evaluation.metrics.compare import Figure

  backbone, protocol = c3d.load_backbone(flags.FLAGS.c3d, flags.FLAGS.c3d_mean), results.protocol
  if protocol.num_frames != c3d.C3DConfig().num_frames:
    raise ValueError(f"num_frames={protocol.num_frames}: the Inception Score is of 16 frames")
  made = features_of(videos, backbone, protocol, shard)
  if shard:
    return
  mean, spread = c3d.inception_score(made.rows)
  text = protocol.text("is", backbone.title, (len(made.rows), 0))
  results.figures.append(Figure("is", mean, spread, text))
  if results.made is None:
    results.made, results.reference = made, made.rows.mean(axis=0, keepdims=True)


def protocol_of() -> Protocol:
  """The preset, or the defaults, with what flags say."""
  preset = PRESETS.get(flags.FLAGS.preset, Protocol())
  given = {name: flags.FLAGS[name].value for name in FIELDS if flags.FLAGS[name].present}
  return dataclasses.replace(preset, **given)


def parse_shard(text: str | None) -> tuple[int, int] | None:
  """ "i/n" as numbers."""
  if text is None:
    return None
  match = re.fullmatch(r"(\d+)/(\d+)", text)
  if not match or int(match[1]) >= int(match[2]):
    raise ValueError(f"--shard={text} must be i/n with i from 0 to n - 1")
  return int(match[1]), int(match[2])


if __name__ == "__main__":
  default = Protocol()
  flags.DEFINE_string("videos", None, "Folder of videos.")
  flags.DEFINE_string(
    "workdir", None, "Run or release of a base, to generate videos with; they go to --videos."
  )
  flags.DEFINE_string("ssr_workdir", None, "The same of super-resolution.")
  flags.DEFINE_string(
    "prompts", None, "With --workdir: a text file, one prompt a line; ucf101; or MSR-VTT's .json."
  )
  flags.DEFINE_integer("num_generated", None, "With --workdir: videos in all.", 1)
  flags.DEFINE_integer("sample_seed", 0, "With --workdir: of all noise.", 0)
  flags.DEFINE_string(
    "reference", None, "Folder of videos or of a dataset of TFDS, or a file of --save_moments."
  )
  flags.DEFINE_string("split", "train", "Of a dataset of TFDS.")
  flags.DEFINE_list("metrics", ["fvd", "kvd"], f"{', '.join(METRICS)}.")
  flags.DEFINE_enum("preset", None, tuple(PRESETS), "A protocol; other flags change it.")
  flags.DEFINE_integer("num_frames", default.num_frames, "Frames of each video.", 1)
  flags.DEFINE_enum("frames", default.frames, FRAMES, "Which frames.")
  flags.DEFINE_float(
    "fps", default.fps, "Read videos at so many frames a second; 0: as they are.", 0
  )
  flags.DEFINE_bool("crop", default.crop, "Cut out the square in the middle.")
  flags.DEFINE_integer("size", default.size, "Size to compare at, in pixels; 0: as they are.", 0)
  flags.DEFINE_enum(
    "resize",
    default.resize,
    resizing.KINDS,
    "From there to I3D's 224 pixels.",
  )
  flags.DEFINE_enum("divisor", default.divisor, ("n-1", "n"), "Of the covariance.")
  flags.DEFINE_integer("num_videos", default.num_videos, "Drawn from each set; 0: all.", 0)
  flags.DEFINE_integer("repeats", default.repeats, "How often they are drawn.", 1)
  flags.DEFINE_integer("seed", default.seed, "Of the draws.", 0)
  flags.DEFINE_string("i3d", None, "File of I3D's weights; default: where lumiere.fetch puts it.")
  flags.DEFINE_string("clip", None, "Folder of a converted CLIP model.")
  flags.DEFINE_string("c3d", None, "File of C3D's weights, .npz with the names of TGAN's code.")
  flags.DEFINE_string("c3d_mean", None, "File of the mean clip of its training, .npz.")
  flags.DEFINE_string("cache", None, "Folder of features; default: in the cache folder.")
  flags.DEFINE_integer("batch_size", 8, "Videos at a time, over all devices.", 1)
  flags.DEFINE_string("shard", None, "i/n: only compute the features of every n-th video.")
  flags.DEFINE_string("save_moments", None, "Write the moments of --videos to this .npz, to share.")
  flags.DEFINE_enum("on_error", "skip", ("skip", "stop"), "With a video that cannot be read.")
  flags.DEFINE_string("out", None, "Folder for results.json and the page.")
  cli.run(main)
