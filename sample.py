"""Generates videos: text-to-video, image-to-video, inpainting, video-to-video, and videos of any length.

python sample.py --prompt="a red circle moves to the left"
python sample.py --prompt="a red circle moves to the left" --workdir=runs/stunet_masked_tiny --ssr_workdir=runs/ssr_tiny

For each prompt: OUT/000_PROMPT_seed0.mp4, a contact sheet, an X-T slice and a JSON file with everything it depends on.
"""

import dataclasses

from absl import flags

from lumiere import cli

flags.DEFINE_multi_string(
  "prompt",
  [],
  "The caption; may be given several times. 'FRAME: PROMPT' ones, one of them at frame 0, are the prompts of one video, "
  "which change along time; a prompt that itself begins with '0:' is written '\\0: ...'.",
)
flags.DEFINE_string("prompts_file", None, "A text file with one prompt per line.")
flags.DEFINE_string(
  "workdir", None, "Workdir of a stunet training run, or a release; default: the model that ships."
)
flags.DEFINE_string(
  "ssr_workdir",
  None,
  "The same of super-resolution. Without it, or empty, videos keep the base resolution; default: that of the model that ships.",
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
  "style",
  None,
  "Workdir of a t2i run that was fine-tuned to a style, or its release, or the name of one that ships; its image weights "
  "are used.",
)
flags.DEFINE_multi_float(
  "style_strength", None, "0 to 1; several give a strip that compares them. Default: 0.75."
)
flags.DEFINE_string(
  "size", None, "HEIGHTxWIDTH of the videos in pixels, or a side; default: as trained."
)
flags.DEFINE_integer("num_frames", None, "Frames; default: as trained.")
flags.DEFINE_float("fps", None, "Frames per second of the video file; default: as trained.")
flags.DEFINE_integer("steps", None, "Sampling steps of the base; default: as in its config.")
flags.DEFINE_integer("ssr_steps", None, "Sampling steps of super-resolution.")
flags.DEFINE_enum("sampler", None, ["ddpm", "ddim", "dpm++"], "Sampler of both stages.")
flags.DEFINE_float("guidance_scale", None, "Classifier-free guidance; 1 is none.")
flags.DEFINE_list(
  "guidance_interval",
  None,
  "LOWEST,HIGHEST log-SNR at which there is guidance; other steps call the network with the caption only. Empty: all steps have it.",
)
flags.DEFINE_integer("window", None, "Frames of a super-resolution window; 0: all at once.")
flags.DEFINE_integer("stride", None, "Frames between the starts of windows.")
flags.DEFINE_integer(
  "base_window",
  None,
  "Frames of a window of the base; default: the training length, where windows are needed.",
)
flags.DEFINE_integer(
  "base_stride", None, "Frames between the starts of the base's windows; default: half a window."
)
flags.DEFINE_integer(
  "seed", 0, "0 to 2**32 - 1. The same seed gives the same bytes; it is part of the files' names."
)
flags.DEFINE_integer("batch_size", 8, "Prompts per batch.")
flags.DEFINE_integer("data", 1, "Devices that share prompts and windows.")
flags.DEFINE_integer("fsdp", 1, "Devices that share the weights, and prompts and windows too.")
flags.DEFINE_integer("frames", 1, "Devices that share each clip of the base, along time.")
flags.DEFINE_string("out", "out", "Folder to write to.")
flags.DEFINE_enum("format", "mp4", ["mp4", "gif", "webp", "png"], "png: numbered frames.")
flags.DEFINE_multi_string("image", [], "An image file; may be given several times for keyframes.")
flags.DEFINE_multi_integer(
  "at", [], "Frame of each --image, -1 is the last; default: 0, and for a second one -1."
)
flags.DEFINE_string("video", None, "A video file.")
flags.DEFINE_string(
  "mask",
  None,
  "An image (or, for a video, a video) of the same size, white where pixels are generated.",
)
flags.DEFINE_list(
  "box", None, "LEFT,TOP,RIGHT,BOTTOM in pixels: the part to generate, in place of --mask."
)
flags.DEFINE_list(
  "border", None, "LEFT,TOP,RIGHT,BOTTOM: pixels to add around the video and to generate."
)
flags.DEFINE_enum(
  "fit",
  "crop",
  ["crop", "pad", "bucket"],
  "How what is given gets the shape of the videos. crop: its middle is used; pad: all of it, and what lies beside it in the frame "
  "is generated; bucket: the videos get the nearest shape that the model was trained on, or of the same number of pixels.",
)
flags.DEFINE_integer("soft_edge", 0, "Pixels over which given pixels blend into generated ones.")
flags.DEFINE_float(
  "strength", 0.7, "Share of the steps that are run, 0 to 1: the more, the farther from the video."
)

COMMANDS = {
  "generate": cli.Command(
    "Text-to-video; the default.",
    'python sample.py --prompt="a red circle moves to the left"',
    ("num_frames",),
  ),
  "animate": cli.Command(
    "Image-to-video: a first frame, keyframes, or a region that moves (--mask).",
    'python sample.py animate --image=circle.png --prompt="a red circle moves to the left on black"',
    ("image", "at", "mask", "soft_edge", "fit", "num_frames"),
  ),
  "fill": cli.Command(
    "Inpainting and outpainting: generates a part of a video and keeps the rest exactly.",
    'python sample.py fill --video=clip.mp4 --box=16,16,48,48 --prompt="a red circle bounces on black"',
    ("video", "mask", "box", "border", "soft_edge", "fit"),
  ),
  "edit": cli.Command(
    "Video-to-video: keeps layout and motion, the less the higher --strength, with a new prompt.",
    'python sample.py edit --video=clip.mp4 --strength=0.7 --prompt="a green square bounces on navy"',
    ("video", "strength", "fit"),
  ),
  "extend": cli.Command(
    "Videos of any length, in overlapping windows; continues --video, if one is given.",
    'python sample.py extend --num_frames=64 --prompt="0: a red circle bounces on black" --prompt="32: a blue square grows on black"',
    ("num_frames", "video", "fit"),
  ),
}


def main(command: str):
  """Reads the flags and generates the videos."""
  values = flags.FLAGS
  # Imported without JAX, so that a missing flag is reported at once.
  from lumiere import pretrained
  from lumiere.sampling.prompts import read_prompts

  prompts = read_prompts(values.prompt, values.prompts_file)
  workdir, ssr_workdir = pretrained.cascade_of(values.workdir, values.ssr_workdir)
  from lumiere.sampling.request import Request, fulfil

  models = dict(workdir=workdir, ssr_workdir=ssr_workdir, style=pretrained.style_of(values.style))
  names = {field.name for field in dataclasses.fields(Request)} - {"command", "prompts", *models}
  given = {name: values[name].value for name in names}
  fulfil(Request(command=command, prompts=prompts, **models, **given), COMMANDS[command].flags)


if __name__ == "__main__":
  cli.run(main, COMMANDS)
