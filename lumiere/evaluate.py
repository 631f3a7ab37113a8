"""FVD and KVD of a folder of videos, whatever made them, against another folder.

python -m lumiere.evaluate --videos=out --reference=ucf101/train --metrics=fvd,kvd --fps=25 --out=results
python -m lumiere.evaluate --videos=out --reference=ucf101.npz --preset=ucf101_zero_shot        (a file of --save_moments)
python -m lumiere.evaluate --videos=out --shard=0/8        (only computes features of an eighth of the videos, into --cache)

Prints each figure with its protocol, and writes results.json and a page with the nearest and the farthest videos to --out.
I3D's weights come from `python -m lumiere.fetch --what=i3d`.
"""

import dataclasses
import json
import pathlib
import re

from absl import flags

from lumiere import cli, packaged
from lumiere.evaluation.metrics.protocol import FRAMES, Protocol

# VideoPoet's appendix A.5.5, the fullest text of these protocols. What is compared, and the prompts, are the user's part.
PRESETS = {
  "ucf101_zero_shot": Protocol(fps=25.0, size=256, num_videos=10_000),
  "msrvtt": Protocol(fps=30.0, size=256, num_videos=2048, repeats=20),
}
FIELDS = {field.name: field for field in dataclasses.fields(Protocol)}


def main():
  """Reads the flags and evaluates."""
  values = flags.FLAGS
  if values.videos is None:
    raise ValueError("--videos is missing: give a folder with videos")
  from lumiere.evaluation.metrics import compare

  if unknown := [name for name in values.metrics if name not in compare.METRICS]:
    raise ValueError(f"--metrics={unknown[0]}: metrics are {', '.join(compare.METRICS)}")
  protocol, shard = protocol_of(), parse_shard(values.shard)
  if (values.reference is None) == (shard is None and values.save_moments is None):
    raise ValueError(
      "give --reference, a folder or a file of moments; or --save_moments or --shard, which need none"
    )
  # What is missing is said before features are computed.
  videos = videos_of("videos")
  stored = str(values.reference).endswith(".npz")
  references = videos_of("reference") if values.reference and not stored else None
  evaluate(videos, references, protocol, shard)


def videos_of(flag: str):
  """The videos of the folder that a flag names."""
  from lumiere.evaluation.metrics import folder

  path = pathlib.Path(flags.FLAGS[flag].value)
  if not path.is_dir():
    raise ValueError(f"--{flag}={path} is not a folder")
  try:
    return folder.videos_of(path)
  except ValueError as error:
    raise ValueError(f"--{flag}: {error}") from error


def evaluate(videos, references, protocol: Protocol, shard: tuple[int, int] | None):
  """Computes features, compares, and writes what was found."""
  from lumiere.evaluation.metrics import compare, features, i3d_weights, page
  from lumiere.evaluation.metrics.distances import Moments

  values = flags.FLAGS
  cache = pathlib.Path(values.cache or packaged.cache_folder() / "features")
  backbone = features.load_i3d(values.i3d or packaged.cache_folder() / i3d_weights.NAME)
  given = dict(batch_size=values.batch_size, cache=cache, skip=values.on_error == "skip")
  made = features.compute(videos, backbone, protocol, shard=shard or (0, 1), **given)
  said = f"{len(made.rows)} videos, {len(made.skipped)} left out"
  if shard:
    print(f"features of shard {values.shard}: {said}; in {cache}")
    return
  if values.save_moments:
    moments = Moments.of(made.rows, protocol.divisor)
    compare.save_moments(values.save_moments, moments, compare.made_from(backbone, protocol))
    print(f"moments of {said}; in {values.save_moments}")
    return
  if references is None:
    reference = compare.load_moments(values.reference, compare.made_from(backbone, protocol))
  else:
    reference = features.compute(references, backbone, protocol, **given).rows
  figures = [
    compare.compare(metric, made.rows, reference, protocol, backbone.title)
    for metric in values.metrics
  ]
  print(said)
  for figure in figures:
    print(figure)
  if values.out:
    out = pathlib.Path(values.out)
    out.mkdir(parents=True, exist_ok=True)
    results = {
      "figures": [dataclasses.asdict(figure) for figure in figures],
      "skipped": made.skipped,
    }
    (out / "results.json").write_text(json.dumps(results, indent=2) + "\n")
    page.write(out, figures, made, reference, protocol)
    print(f"written to {out}")


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
  flags.DEFINE_string("reference", None, "Folder of videos, or a file of --save_moments.")
  flags.DEFINE_list("metrics", ["fvd", "kvd"], "fvd, kvd.")
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
    ("tf1", "half_pixel", "antialiased"),
    "From there to I3D's 224 pixels.",
  )
  flags.DEFINE_enum("divisor", default.divisor, ("n-1", "n"), "Of the covariance.")
  flags.DEFINE_integer("num_videos", default.num_videos, "Drawn from each set; 0: all.", 0)
  flags.DEFINE_integer("repeats", default.repeats, "How often they are drawn.", 1)
  flags.DEFINE_integer("seed", default.seed, "Of the draws.", 0)
  flags.DEFINE_string("i3d", None, "File of I3D's weights; default: where lumiere.fetch puts it.")
  flags.DEFINE_string("cache", None, "Folder of features; default: in the cache folder.")
  flags.DEFINE_integer("batch_size", 8, "Videos at a time, over all devices.", 1)
  flags.DEFINE_string("shard", None, "i/n: only compute the features of every n-th video.")
  flags.DEFINE_string("save_moments", None, "Write the moments of --videos to this .npz, to share.")
  flags.DEFINE_enum("on_error", "skip", ("skip", "stop"), "With a video that cannot be read.")
  flags.DEFINE_string("out", None, "Folder for results.json and the page.")
  cli.run(main)
