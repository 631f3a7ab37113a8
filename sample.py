"""Makes videos: from prompts, pictures, videos with holes, other videos, and longer than the network was trained on.

python sample.py --prompt="a red circle moves to the left" --workdir=runs/stunet_masked_tiny --ssr_workdir=runs/ssr_tiny

For each prompt: OUT/000_PROMPT_seed0.mp4, a contact sheet, an X-T slice and a JSON file with what is needed to make it again.
"""

import dataclasses

from absl import flags

from lumiere import cli

flags.DEFINE_multi_string(
  "prompt",
  [],
  "What to show; may be given several times. 'FRAME: PROMPT' ones, one of them at frame 0, are the prompts of one video, "
  "which change along time; a prompt that itself begins with '0:' is written '\\0: ...'.",
)
flags.DEFINE_string("prompts_file", None, "A text file with one prompt a line.")
flags.DEFINE_string("workdir", None, "Workdir of the stunet training run.")
flags.DEFINE_string(
  "ssr_workdir", None, "Workdir of the ssr run; without it videos keep the base resolution."
)
flags.DEFINE_string(
  "text_encoder", None, "Folder of a converted text encoder, for models without one of their own."
)
flags.DEFINE_integer("step", None, "Checkpoint of the base run; default: the newest.")
flags.DEFINE_integer("ssr_step", None, "Checkpoint of the ssr run; default: the newest.")
flags.DEFINE_float(
  "ema", None, "Length of the base's average, such as 0.1, for runs with config.train.averages."
)
flags.DEFINE_string(
  "style", None, "Workdir of a t2i run fine-tuned to a style, for the base's image weights."
)
flags.DEFINE_multi_float(
  "style_strength", None, "0 to 1; several give a strip that compares them. Default: 0.75."
)
flags.DEFINE_integer("num_frames", None, "Frames; default: as trained.")
flags.DEFINE_float("fps", None, "Frames per second of the file; default: as trained.")
flags.DEFINE_integer("steps", None, "Sampler steps of the base; default: as its config says.")
flags.DEFINE_integer("ssr_steps", None, "Sampler steps of super-resolution.")
flags.DEFINE_enum("sampler", None, ["ddpm", "ddim", "dpm++"], "Sampler of both stages.")
flags.DEFINE_float("guidance_scale", None, "Classifier-free guidance; 1 is none.")
flags.DEFINE_integer("window", None, "Frames of a super-resolution window; 0: all at once.")
flags.DEFINE_integer("stride", None, "Frames between the starts of windows.")
flags.DEFINE_integer(
  "base_window", None, "Frames of a window of the base; default: none, or as trained where needed."
)
flags.DEFINE_integer("base_stride", None, "Frames between their starts; default: half a window.")
flags.DEFINE_integer(
  "seed", 0, "0 to 2**32 - 1. The same seed gives the same bytes; it is part of the files' names."
)
flags.DEFINE_integer("batch_size", 8, "Prompts sampled at a time.")
flags.DEFINE_integer("data", 1, "Devices that share prompts and windows.")
flags.DEFINE_integer("fsdp", 1, "Devices that share the weights; prompts and windows too.")
flags.DEFINE_integer("frames", 1, "Devices that share each clip of the base, along time.")
flags.DEFINE_string("out", "out", "Folder to write to.")
flags.DEFINE_enum("format", "mp4", ["mp4", "gif", "webp", "png"], "png: numbered frames.")
flags.DEFINE_multi_string("image", [], "A picture file; several for several keyframes.")
flags.DEFINE_multi_integer(
  "at", [], "Frame of each --image, -1 is the last; default: 0, and for a second one -1."
)
flags.DEFINE_string("video", None, "A video file.")
flags.DEFINE_string(
  "mask", None, "A picture, or for a video a video, of its size: white where pixels are made new."
)
flags.DEFINE_list(
  "box", None, "LEFT,TOP,RIGHT,BOTTOM in pixels: what is made new, in place of --mask."
)
flags.DEFINE_list(
  "border", None, "LEFT,TOP,RIGHT,BOTTOM pixels to add around the video and to make new."
)
flags.DEFINE_integer("soft_edge", 0, "Pixels over which what is kept fades into what is made.")
flags.DEFINE_float(
  "strength", 0.7, "Share of the steps that are run, 0 to 1: more is farther from the video."
)

MODELS = "--workdir=runs/stunet_masked_tiny --ssr_workdir=runs/ssr_tiny"
COMMANDS = {
  "generate": cli.Command(
    "Text to video; the default.",
    f'python sample.py --prompt="a red circle moves to the left" {MODELS}',
    ("num_frames",),
  ),
  "animate": cli.Command(
    "Pictures to video: one that begins to move, first and last frame, any keyframes, or a region that moves (--mask).",
    f'python sample.py animate --image=circle.png --prompt="a red circle moves to the left on black" {MODELS}',
    ("image", "at", "mask", "soft_edge", "num_frames"),
  ),
  "fill": cli.Command(
    "In- and outpainting: makes a part of a video anew and keeps the rest exactly.",
    f'python sample.py fill --video=clip.mp4 --box=16,16,48,48 --prompt="a red circle bounces on black" {MODELS}',
    ("video", "mask", "box", "border", "soft_edge"),
  ),
  "edit": cli.Command(
    "Video to video: keeps layout and motion as far as --strength leaves them.",
    f'python sample.py edit --video=clip.mp4 --strength=0.7 --prompt="a green square bounces on navy" {MODELS}',
    ("video", "strength"),
  ),
  "extend": cli.Command(
    "Clips of any length, made in overlapping windows; goes on from --video, if one is given.",
    f'python sample.py extend --num_frames=64 --prompt="0: a red circle bounces on black" --prompt="32: a blue square grows on black" {MODELS}',
    ("num_frames", "video"),
  ),
}


def main(command: str):
  """Reads the flags and makes the videos."""
  values = flags.FLAGS
  # Without JAX: what is missing is said at once.
  from lumiere.sampling.prompts import read_prompts

  prompts = read_prompts(values.prompt, values.prompts_file)
  if not values.workdir:
    raise ValueError("--workdir is missing: give the workdir of a stunet training run")
  from lumiere.sampling.request import Request, fulfil

  names = {field.name for field in dataclasses.fields(Request)} - {"command", "prompts"}
  given = {name: values[name].value for name in names}
  fulfil(Request(command=command, prompts=prompts, **given), COMMANDS[command].flags)


if __name__ == "__main__":
  cli.run(main, COMMANDS)
