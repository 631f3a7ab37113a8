"""Makes videos: from prompts, pictures, videos with holes, other videos, and longer than the network was trained on.

python sample.py --prompt="a red circle moves to the left" --workdir=runs/stunet_tiny --ssr_workdir=runs/ssr_tiny --out=out

For each prompt: OUT/000_PROMPT.mp4, a contact sheet, an X-T slice and a JSON file with what is needed to make it again.
"""

import json
import os
import pathlib
import re

from absl import flags

from lumiere import cli, fields

_PROMPT = flags.DEFINE_multi_string(
  "prompt",
  [],
  "What to show; may be given several times. 'FRAME: PROMPT' ones are the prompts of one video, which change along time.",
)
_PROMPTS_FILE = flags.DEFINE_string("prompts_file", None, "A text file with one prompt a line.")
_WORKDIR = flags.DEFINE_string("workdir", None, "Workdir of the stunet training run.")
_SSR_WORKDIR = flags.DEFINE_string(
  "ssr_workdir", None, "Workdir of the ssr run; without it videos keep the base resolution."
)
_TEXT_ENCODER = flags.DEFINE_string(
  "text_encoder", None, "Folder of a converted text encoder, for models without one of their own."
)
_STEP = flags.DEFINE_integer("step", None, "Checkpoint of the base run; default: the newest.")
_SSR_STEP = flags.DEFINE_integer(
  "ssr_step", None, "Checkpoint of the ssr run; default: the newest."
)
_STYLE = flags.DEFINE_string(
  "style", None, "Workdir of a t2i run fine-tuned to a style, for the base's image weights."
)
_STYLE_STRENGTH = flags.DEFINE_multi_float(
  "style_strength", None, "0 to 1; several give a strip that compares them. Default: 0.75."
)
_NUM_FRAMES = flags.DEFINE_integer("num_frames", None, "Frames; default: as trained.")
_FPS = flags.DEFINE_float("fps", None, "Frames per second of the file; default: as trained.")
_STEPS = flags.DEFINE_integer(
  "steps", None, "Sampler steps of the base; default: as its config says."
)
_SSR_STEPS = flags.DEFINE_integer("ssr_steps", None, "Sampler steps of super-resolution.")
_SAMPLER = flags.DEFINE_enum("sampler", None, ["ddpm", "ddim", "dpm++"], "Sampler of both stages.")
_GUIDANCE = flags.DEFINE_float("guidance_scale", None, "Classifier-free guidance; 1 is none.")
_WINDOW = flags.DEFINE_integer(
  "window", None, "Frames of a super-resolution window; 0: all at once."
)
_STRIDE = flags.DEFINE_integer("stride", None, "Frames between the starts of windows.")
_BASE_WINDOW = flags.DEFINE_integer(
  "base_window", None, "Frames of a window of the base; default: none, or as trained where needed."
)
_BASE_STRIDE = flags.DEFINE_integer(
  "base_stride", None, "Frames between their starts; default: half a window."
)
_SEED = flags.DEFINE_integer("seed", 0, "The same seed gives the same bytes.")
_BATCH = flags.DEFINE_integer("batch_size", 8, "Prompts sampled at a time.")
_DATA = flags.DEFINE_integer("data", 1, "Devices that share prompts and windows.")
_FSDP = flags.DEFINE_integer("fsdp", 1, "Devices that share the weights; prompts and windows too.")
_FRAMES = flags.DEFINE_integer("frames", 1, "Devices that share each clip of the base, along time.")
_OUT = flags.DEFINE_string("out", "out", "Folder to write to.")
_FORMAT = flags.DEFINE_enum("format", "mp4", ["mp4", "gif", "webp", "png"], "png: numbered frames.")
_IMAGE = flags.DEFINE_multi_string("image", [], "A picture file; several for several keyframes.")
_AT = flags.DEFINE_multi_integer(
  "at", [], "Frame of each --image, -1 is the last; default: 0, and for a second one -1."
)
_VIDEO = flags.DEFINE_string("video", None, "A video file.")
_MASK = flags.DEFINE_string(
  "mask", None, "A picture, or for a video a video, of its size: white where pixels are made new."
)
_BOX = flags.DEFINE_list(
  "box", None, "LEFT,TOP,RIGHT,BOTTOM in pixels: what is made new, in place of --mask."
)
_BORDER = flags.DEFINE_list(
  "border", None, "LEFT,TOP,RIGHT,BOTTOM pixels to add around the video and to make new."
)
_SOFT_EDGE = flags.DEFINE_integer(
  "soft_edge", 0, "Pixels over which what is kept fades into what is made."
)
_STRENGTH = flags.DEFINE_float(
  "strength", 0.7, "Share of the steps that are run, 0 to 1: more is farther from the video."
)

MODELS = "--workdir=runs/stunet_tiny --ssr_workdir=runs/ssr_tiny"
MASKED = "--workdir=runs/stunet_masked_tiny --ssr_workdir=runs/ssr_tiny"
COMMANDS = {
  "generate": cli.Command(
    "Text to video; the default.",
    f'python sample.py --prompt="a red circle moves to the left" {MODELS}',
    ("num_frames",),
  ),
  "animate": cli.Command(
    "Pictures to video: one that begins to move, first and last frame, any keyframes, or a region that moves (--mask).",
    f'python sample.py animate --image=circle.png --prompt="a red circle moves to the left on black" {MASKED}',
    ("image", "at", "mask", "soft_edge", "num_frames"),
  ),
  "fill": cli.Command(
    "In- and outpainting: makes a part of a video anew and keeps the rest exactly.",
    f'python sample.py fill --video=clip.mp4 --box=16,16,48,48 --prompt="a red circle bounces on black" {MASKED}',
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
  """Reads the flags, makes the videos, writes them."""
  prompts, out = read_prompts(), writable_folder(_OUT.value)
  if not _WORKDIR.value:
    raise ValueError("--workdir is missing: give the workdir of a stunet training run")
  fields.at_least("--batch_size", _BATCH.value, 1)
  if _FPS.value is not None:
    fields.above("--fps", _FPS.value, 0)
  check_strengths()

  import jax
  from tqdm import tqdm

  from lumiere import Cascade
  from lumiere.data import frames
  from lumiere.sampling.prompts import check_prompts, in_one_line
  from lumiere.sampling.windows import in_windows

  mesh = device_mesh()
  base, high = experiments()
  # All that can be refused is, before weights are read.
  make, length = maker(command, base, high)
  shared = {"sampler": _SAMPLER.value, "guidance_scale": _GUIDANCE.value}
  windows = {"window": _BASE_WINDOW.value}
  windows["stride"] = stride(base.sampling, _BASE_WINDOW.value, _BASE_STRIDE.value)
  sampling = changed(base.sampling, shared | windows | {"num_steps": _STEPS.value})
  ssr_sampling = None
  if _SSR_WORKDIR.value is not None:
    windows = {"window": _WINDOW.value}
    windows["stride"] = stride(high.sampling, _WINDOW.value, _STRIDE.value)
    ssr_sampling = changed(high.sampling, shared | windows | {"num_steps": _SSR_STEPS.value})
  # The cascade asks the same, but with its weights in memory.
  check_prompts(prompts, length)
  in_windows(base, sampling, prompts, length, long=command != "generate")
  if ssr_sampling is not None:
    in_windows(high, ssr_sampling, prompts, length)
  fps = _FPS.value or base.data.fps
  cascade = Cascade.restore(
    _WORKDIR.value,
    _SSR_WORKDIR.value,
    base_step=_STEP.value,
    ssr_step=_SSR_STEP.value,
    text_encoder=_TEXT_ENCODER.value,
    mesh=mesh,
  )
  strengths = (_STYLE_STRENGTH.value or [0.75]) if _STYLE.value else [None]
  styled = [(s, cascade if s is None else cascade.restyle(_STYLE.value, s)) for s in strengths]

  for first in range(0, len(prompts), _BATCH.value):
    batch = prompts[first : first + _BATCH.value]
    made = []
    for strength, model in styled:
      with jax.set_mesh(mesh):
        videos = make(
          model,
          batch,
          seed=_SEED.value,
          first_index=first,
          sampling=sampling,
          ssr_sampling=ssr_sampling,
          progress=tqdm,
        )
      made.append(videos)
      for index, (prompt, video) in enumerate(zip(batch, videos, strict=True), first):
        caption = in_one_line(prompt)
        name = f"{index:03d}_{slug(caption)}" + ("" if strength is None else f"_style{strength:g}")
        frames.write_video(out / f"{name}.{_FORMAT.value}", video, fps)
        sheet = frames.contact_sheet([video], [caption])
        frames.write_image(out / f"{name}_sheet.png", sheet)
        frames.write_image(out / f"{name}_xt.png", frames.xt_slice(video))
        about = describe(command, cascade, prompt, index, len(video), fps, sampling, ssr_sampling)
        if strength is not None:
          about["style"] = {"workdir": _STYLE.value, "strength": strength}
        (out / f"{name}.json").write_text(json.dumps(about, indent=2) + "\n")
        print(out / f"{name}.{_FORMAT.value}")
    if len(styled) > 1:
      for row, caption in enumerate(map(in_one_line, batch)):
        strip = frames.contact_sheet(
          [videos[row] for videos in made],
          [f"style strength {strength:g}: {caption}" for strength in strengths],
        )
        frames.write_image(out / f"{first + row:03d}_{slug(caption)}_styles.png", strip)


def experiments():
  """Those of the base and of what makes the last resolution, super-resolution if there is one; a style must fit the base."""
  from lumiere import checkpoints
  from lumiere.sampling.cascade import check_style

  base, _ = checkpoints.load_experiment(_WORKDIR.value, _STEP.value, ("stunet",))
  if _STYLE.value is not None:
    check_style(base, _STYLE.value)
  if _SSR_WORKDIR.value is None:
    return base, base
  return base, checkpoints.load_experiment(_SSR_WORKDIR.value, _SSR_STEP.value, ("ssr",))[0]


def maker(command: str, base, high):
  """(what makes the videos of a command, `(cascade, prompts, **options) -> videos`; their frames). Reads and checks its files."""
  from lumiere.data import frames
  from lumiere.sampling import given as givens
  from lumiere.sampling.cascade import check_conditional

  size, fps = high.data.resolution, base.data.fps
  count = base.data.num_frames if _NUM_FRAMES.value is None else _NUM_FRAMES.value
  fields.at_least("--num_frames", count, 1)
  if command == "generate":
    make = lambda model, prompts, **options: model.generate(prompts, num_frames=count, **options)
    return make, count
  if command == "edit":
    fields.between("--strength", _STRENGTH.value, 0, 1)
    video = read_video(base, size)
    make = lambda model, prompts, **options: model.edit(
      prompts, video, strength=_STRENGTH.value, **options
    )
    return make, len(video)
  if command == "extend":
    if _NUM_FRAMES.value is None:
      raise ValueError("--num_frames is missing: how long the video is to be")
    if _VIDEO.value is None:
      return lambda model, prompts, **options: model.extend(prompts, count, **options), count

  check_conditional(base)
  if command == "extend":
    given = givens.beginning(read_video(base, size, cut=False), count, size)
  elif command == "animate":
    images = read_images()
    at = _AT.value or (0, -1)[: len(images)]
    moving = None if _MASK.value is None else frames.read_mask(_MASK.value, fps)[0]
    given = givens.pictures(images, at, count, size, moving, _SOFT_EDGE.value)
  else:
    given = givens.with_hole(*hole(read_video(base, size), fps), size, _SOFT_EDGE.value)
  make = lambda model, prompts, **options: model.complete(
    prompts, [given] * len(prompts), **options
  )
  return make, len(given.video)


def read_images():
  """The pictures of --image."""
  from lumiere.data import frames

  if not _IMAGE.value:
    raise ValueError("--image is missing: give the picture that is to move")
  images = [frames.read_image(path) for path in _IMAGE.value]
  for path, image in zip(_IMAGE.value, images, strict=True):
    print(f"{path}: {image.shape[1]}x{image.shape[0]} pixels; its middle square is resized")
  return images


def read_video(base, size: int, cut: bool = True):
  """The video of --video at the model's frame rate; with `cut`, in a length that the base can make. Says what was done."""
  from lumiere.data import frames

  if _VIDEO.value is None:
    raise ValueError("--video is missing: give a video file")
  fps = base.data.fps
  video = frames.read_video(_VIDEO.value, fps)
  read = len(video)
  if cut and read <= base.data.num_frames:
    factor = base.temporal.total_factor
    video = video[: read // factor * factor]
    if not len(video):
      raise ValueError(
        f"--video={_VIDEO.value} has {read} frames at {fps:g} fps; {factor} or more are needed"
      )
  print(
    f"{_VIDEO.value}: {read} frames at {fps:g} fps, {len(video)} used; {video.shape[2]}x{video.shape[1]} pixels, the middle "
    f"square is resized to {size}x{size}"
  )
  return video


def hole(video, fps):
  """(the video with its border, what of it is made new), from --mask, --box and --border."""
  import numpy as np

  from lumiere.data import frames

  if [_MASK.value, _BOX.value, _BORDER.value].count(None) != 2:
    raise ValueError("one of --mask, --box and --border is needed: what is to be made new")
  height, width = video.shape[1:3]
  if _MASK.value is not None:
    new = frames.read_mask(_MASK.value, fps)
    return video, new if len(new) == 1 else new[: len(video)]
  if _BOX.value is not None:
    left, top, right, bottom = four_numbers("box", _BOX.value)
    if not (0 <= left < right <= width and 0 <= top < bottom <= height):
      raise ValueError(
        f"--box={','.join(_BOX.value)} must lie within the video's {width}x{height} pixels"
      )
    new = np.zeros((1, height, width), bool)
    new[:, top:bottom, left:right] = True
    return video, new
  left, top, right, bottom = four_numbers("border", _BORDER.value)
  if min(left, top, right, bottom) < 0 or not any((left, top, right, bottom)):
    raise ValueError(f"--border={','.join(_BORDER.value)} must be 0 or more pixels, one above 0")
  around = ((0, 0), (top, bottom), (left, right))
  new = np.pad(np.zeros((1, height, width), bool), around, constant_values=True)
  return np.pad(video, (*around, (0, 0))), new


def four_numbers(name: str, values: list[str]) -> list[int]:
  """LEFT,TOP,RIGHT,BOTTOM."""
  if len(values) != 4 or not all(re.fullmatch(r"\s*-?\d+\s*", value) for value in values):
    raise ValueError(
      f"--{name}={','.join(values)} must be four whole numbers, LEFT,TOP,RIGHT,BOTTOM"
    )
  return [int(value) for value in values]


def check_strengths():
  """Raises ValueError unless --style_strength goes with --style and lies in [0, 1]."""
  for strength in _STYLE_STRENGTH.value or ():
    if _STYLE.value is None:
      raise ValueError("--style_strength needs --style, the workdir of the style's t2i run")
    fields.between("--style_strength", strength, 0, 1)


def device_mesh():
  """The mesh that the flags describe; raises ValueError if there are not so many devices."""
  import jax

  from lumiere.experiment import MeshConfig
  from lumiere.mesh import make_mesh

  shape = {"--data": _DATA.value, "--fsdp": _FSDP.value, "--frames": _FRAMES.value}
  if min(shape.values()) < 1:
    raise ValueError(f"{' '.join(f'{k}={v}' for k, v in shape.items())}: each must be 1 or more")
  count = _DATA.value * _FSDP.value * _FRAMES.value
  if count > len(jax.devices()):
    raise ValueError(
      f"{' '.join(f'{k}={v}' for k, v in shape.items())} needs {count} devices; there are {len(jax.devices())}"
    )
  return make_mesh(MeshConfig(_FSDP.value, _FRAMES.value), jax.devices()[:count])


def read_prompts() -> list:
  """The prompts of both flags; raises ValueError if there is none."""
  from lumiere.sampling import prompts as timed

  prompts = list(_PROMPT.value)
  if _PROMPTS_FILE.value is not None:
    lines = pathlib.Path(_PROMPTS_FILE.value).read_text(encoding="utf-8").splitlines()
    found = [line.strip() for line in lines if line.strip()]
    if not found:
      raise ValueError(
        f"--prompts_file={_PROMPTS_FILE.value} holds no prompt: one a line is expected"
      )
    prompts += found
  if not prompts:
    raise ValueError("--prompt is missing: give at least one prompt, or --prompts_file")
  if blank := [prompt for prompt in prompts if not prompt.strip()]:
    raise ValueError(f"--prompt={blank[0]!r} is blank")
  return timed.parse(prompts)


def writable_folder(path: str) -> pathlib.Path:
  """Makes the folder before anything is computed; raises OSError if it cannot be written."""
  folder = pathlib.Path(path)
  try:
    folder.mkdir(parents=True, exist_ok=True)
  except OSError as error:
    raise OSError(f"--out={path} cannot be made a folder: {error.strerror}") from error
  if not os.access(folder, os.W_OK):
    raise OSError(f"--out={path} cannot be written")
  return folder


def changed(own, changes: dict):
  """A model's own sampling settings with those changed that a flag gave."""
  from lumiere import experiment

  given = {name: value for name, value in changes.items() if value is not None}
  return fields.from_mapping(experiment.SamplingConfig, vars(own) | given, "sampling")


def stride(own, window: int | None, given: int | None) -> int | None:
  """The flag's, or for another window one that keeps the model's overlap, half a window if it has none."""
  if given is not None or not window:
    return given
  return max(1, window - (own.window - own.stride) if own.window else window // 2)


def slug(caption: str) -> str:
  """A file name of a prompt's first words."""
  return re.sub(r"[^a-z0-9]+", "-", caption.lower()).strip("-")[:48] or "prompt"


def describe(command, cascade, prompt, index, num_frames, fps, sampling, ssr_sampling) -> dict:
  """Everything that the video depends on."""
  import dataclasses

  import jax

  about = {
    "command": command,
    **{name: flags.FLAGS[name].value for name in COMMANDS[command].flags},
    "prompt": prompt,
    "index": index,
    "seed": _SEED.value,
    "num_frames": num_frames,
    "fps": fps,
    "batch_size": _BATCH.value,
    "format": _FORMAT.value,
    "base": {
      "workdir": _WORKDIR.value,
      "step": cascade.base.step,
      "sampling": dataclasses.asdict(sampling),
    },
    "jax": jax.__version__,
    "device": jax.devices()[0].device_kind,
  }
  if cascade.ssr:
    about["ssr"] = {
      "workdir": _SSR_WORKDIR.value,
      "step": cascade.ssr.step,
      "sampling": dataclasses.asdict(ssr_sampling),
    }
  return about


if __name__ == "__main__":
  cli.run(main, COMMANDS)
