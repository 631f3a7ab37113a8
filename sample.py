"""Makes videos from prompts.

python sample.py --prompt="a red circle moves to the left" --workdir=runs/stunet_tiny --ssr_workdir=runs/ssr_tiny --out=out

For each prompt: OUT/000_PROMPT.mp4, a contact sheet, an X-T slice and a JSON file with what is needed to make it again.
"""

import json
import os
import pathlib
import re

from absl import flags

from lumiere import cli

_PROMPT = flags.DEFINE_multi_string("prompt", [], "What to show; may be given several times.")
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
_SEED = flags.DEFINE_integer("seed", 0, "The same seed gives the same bytes.")
_BATCH = flags.DEFINE_integer("batch_size", 8, "Prompts sampled at a time.")
_DATA = flags.DEFINE_integer("data", 1, "Devices that share prompts and windows.")
_FSDP = flags.DEFINE_integer("fsdp", 1, "Devices that share the weights; prompts and windows too.")
_FRAMES = flags.DEFINE_integer("frames", 1, "Devices that share each clip of the base, along time.")
_OUT = flags.DEFINE_string("out", "out", "Folder to write to.")
_FORMAT = flags.DEFINE_enum("format", "mp4", ["mp4", "gif", "webp", "png"], "png: numbered frames.")


def main():
  """Reads the flags, makes the videos, writes them."""
  prompts, out = read_prompts(), writable_folder(_OUT.value)
  if _WORKDIR.value is None:
    raise ValueError("--workdir is missing: give the workdir of a stunet training run")
  if _BATCH.value < 1:
    raise ValueError(f"--batch_size={_BATCH.value} must be 1 or more")
  if _FPS.value is not None and _FPS.value <= 0:
    raise ValueError(f"--fps={_FPS.value} must be above 0")

  import jax

  from lumiere import Cascade
  from lumiere.data import frames

  mesh = device_mesh()
  cascade = Cascade.restore(
    _WORKDIR.value,
    _SSR_WORKDIR.value,
    base_step=_STEP.value,
    ssr_step=_SSR_STEP.value,
    text_encoder=_TEXT_ENCODER.value,
    mesh=mesh,
  )
  shared = {"sampler": _SAMPLER.value, "guidance_scale": _GUIDANCE.value}
  sampling = changed(cascade.base, shared | {"num_steps": _STEPS.value})
  ssr_sampling = None
  if cascade.ssr:
    windows = {"window": _WINDOW.value, "stride": stride(cascade.ssr)}
    ssr_sampling = changed(cascade.ssr, shared | windows | {"num_steps": _SSR_STEPS.value})
  fps = _FPS.value or cascade.base.experiment.data.fps

  for first in range(0, len(prompts), _BATCH.value):
    batch = prompts[first : first + _BATCH.value]
    with jax.set_mesh(mesh):
      videos = cascade(
        batch,
        num_frames=_NUM_FRAMES.value,
        seed=_SEED.value,
        first_index=first,
        sampling=sampling,
        ssr_sampling=ssr_sampling,
        progress=True,
      )
    for index, (prompt, video) in enumerate(zip(batch, videos, strict=True), first):
      name = f"{index:03d}_{slug(prompt)}"
      frames.write_video(out / f"{name}.{_FORMAT.value}", video, fps)
      frames.write_image(out / f"{name}_sheet.png", frames.contact_sheet([video], [prompt]))
      frames.write_image(out / f"{name}_xt.png", frames.xt_slice(video))
      about = describe(cascade, prompt, index, len(video), fps, sampling, ssr_sampling)
      (out / f"{name}.json").write_text(json.dumps(about, indent=2) + "\n")
      print(out / f"{name}.{_FORMAT.value}")


def device_mesh():
  """The mesh that the flags describe; raises ValueError if there are not so many devices."""
  import jax

  from lumiere.experiment import MeshConfig
  from lumiere.training.mesh import make_mesh

  shape = {"--data": _DATA.value, "--fsdp": _FSDP.value, "--frames": _FRAMES.value}
  if min(shape.values()) < 1:
    raise ValueError(f"{' '.join(f'{k}={v}' for k, v in shape.items())}: each must be 1 or more")
  count = _DATA.value * _FSDP.value * _FRAMES.value
  if count > len(jax.devices()):
    raise ValueError(
      f"{' '.join(f'{k}={v}' for k, v in shape.items())} needs {count} devices; there are {len(jax.devices())}"
    )
  return make_mesh(MeshConfig(_FSDP.value, _FRAMES.value), jax.devices()[:count])


def read_prompts() -> list[str]:
  """The prompts of both flags; raises ValueError if there is none."""
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
  return prompts


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


def changed(generator, changes: dict):
  """The model's own sampling settings with those changed that a flag gave."""
  from lumiere import experiment

  given = {name: value for name, value in changes.items() if value is not None}
  own = vars(generator.experiment.sampling)
  return experiment.from_mapping(experiment.SamplingConfig, own | given, "sampling")


def stride(generator) -> int | None:
  """The flag's, or for another window one that keeps the model's overlap."""
  own = generator.experiment.sampling
  if _STRIDE.value is not None or not _WINDOW.value or not own.window:
    return _STRIDE.value
  return max(1, _WINDOW.value - (own.window - own.stride))


def slug(prompt: str) -> str:
  """A file name of a prompt's first words."""
  return re.sub(r"[^a-z0-9]+", "-", prompt.lower()).strip("-")[:48] or "prompt"


def describe(cascade, prompt, index, num_frames, fps, sampling, ssr_sampling) -> dict:
  """Everything that the video depends on."""
  import dataclasses

  import jax

  about = {
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
  cli.run(main)
