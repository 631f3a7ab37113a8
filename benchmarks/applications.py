"""Benchmarks of the applications, on held-out clips of moving shapes.

python benchmarks/applications.py
python benchmarks/applications.py --size=96x160 --only=long_video
python benchmarks/applications.py --workdir=runs/stunet_masked_tiny --ssr_workdir=runs/ssr_tiny --style=runs/t2i_style_tiny
"""

import dataclasses
import json

from absl import flags

from lumiere import cli, sizes

_WORKDIR = flags.DEFINE_string(
  "workdir", None, "Run or release of a conditional base; default: the model that ships."
)
_SSR_WORKDIR = flags.DEFINE_string(
  "ssr_workdir", None, "Run or release of super-resolution; empty: base only."
)
_STYLE = flags.DEFINE_string("style", "mosaic", "Run or release of a style; empty: none.")
_SIZE = flags.DEFINE_string("size", None, "HEIGHTxWIDTH of the videos; default: as trained.")
_NUM_CLIPS = flags.DEFINE_integer("num_clips", 32, "Held-out clips for each measurement.")
_NUM_LONG = flags.DEFINE_integer("num_long", 4, "Clips of eight times the length.")
_GUIDANCE = flags.DEFINE_float("guidance_scale", None, "Of the base; default: as in its config.")
_ONLY = flags.DEFINE_list("only", [], "Names of measurements; default: all.")


def main():
  """Measures and prints."""
  from lumiere import Cascade, pretrained
  from lumiere.evaluation import applications

  cascade = Cascade.restore(*pretrained.cascade_of(_WORKDIR.value, _SSR_WORKDIR.value))
  if _SIZE.value:
    cascade = cascade.of_size(sizes.read(_SIZE.value, "--size"))
  if _GUIDANCE.value is not None:
    experiment = cascade.base.experiment
    sampling = dataclasses.replace(experiment.sampling, guidance_scale=_GUIDANCE.value)
    cascade.base.experiment = dataclasses.replace(experiment, sampling=sampling)
  clips = applications.Clips.load(cascade, _NUM_CLIPS.value)
  pairs = [
    (f"a {a} {shape} {verb} on {ground}", f"a {b} {other} {verb} on {ground}")
    for a, b, shape, other, verb, ground in (
      ("red", "blue", "circle", "square", "bounces fast", "black"),
      ("green", "magenta", "square", "circle", "moves left slowly", "black"),
      ("yellow", "cyan", "triangle", "square", "bounces fast", "navy"),
      ("white", "red", "circle", "triangle", "grows slowly", "gray"),
      ("cyan", "yellow", "square", "circle", "moves right slowly", "black"),
      ("magenta", "green", "circle", "square", "bounces slowly", "navy"),
      ("blue", "white", "square", "triangle", "moves up slowly", "gray"),
      ("red", "cyan", "circle", "circle", "grows quickly", "black"),
      ("yellow", "blue", "square", "square", "moves down slowly", "gray"),
      ("green", "red", "triangle", "circle", "orbits clockwise slowly", "black"),
    )
  ]
  measurements = {
    "image_to_video": lambda: applications.image_to_video(cascade, clips),
    "inpainting": lambda: applications.inpainting(cascade, clips),
    "cinemagraphs": lambda: applications.cinemagraphs(cascade, clips),
    "style": lambda: applications.styled(cascade, pretrained.style_of(_STYLE.value), clips),
    "two_prompts": lambda: applications.two_prompts(cascade, pairs),
    "long_video": lambda: applications.long_video(cascade, clips.captions[: _NUM_LONG.value]),
  }
  if not _STYLE.value:
    del measurements["style"]
  if unknown := set(_ONLY.value) - set(measurements):
    raise ValueError(f"--only={unknown.pop()} must be among {', '.join(measurements)}")
  for name in _ONLY.value or measurements:
    print(f"{name}: {json.dumps(measurements[name](), indent=2)}", flush=True)


if __name__ == "__main__":
  cli.run(main)
