"""One run of sample.py: from its flags to files.

    check -> read input files -> settings -> restore the cascade -> sample in batches -> write

Errors are reported before weights are read, which takes minutes at the paper's size.
"""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jaxtyping import UInt8
from tqdm import tqdm

from lumiere import checkpoints, fields, sizes
from lumiere.averages import LONGEST, SHORTEST
from lumiere.data import frames
from lumiere.experiment import Experiment
from lumiere.mesh import make_mesh
from lumiere.sampling import given as givens
from lumiere.sampling import inputs, outputs
from lumiere.sampling.cascade import Cascade
from lumiere.sampling.checks import check_conditional, check_style, multiple_of
from lumiere.sampling.given import Fitting, Given
from lumiere.sampling.prompts import Prompt, check_prompts, in_one_line
from lumiere.sampling.windows import in_windows
from lumiere.sections import MeshConfig, SamplingConfig
from lumiere.sizes import Size, check_multiple, divided, nearest_shape, of_like_area

# (cascade, prompts, **options) -> videos
Make = Callable[..., UInt8[np.ndarray, "b t h w 3"]]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Request:
  """What to generate, and from what. The fields are the flags of sample.py and documented there.

  Attributes:
    command: a key of `COMMANDS` in sample.py.
    prompts: as `inputs.read_prompts` gives them.
  """

  command: str
  prompts: Sequence[Prompt]
  workdir: str
  ssr_workdir: str | None = None
  text_encoder: str | None = None
  step: int | None = None
  ssr_step: int | None = None
  ema: float | None = None
  style: str | None = None
  style_strength: Sequence[float] | None = None
  size: str | None = None
  fit: str = "crop"
  num_frames: int | None = None
  fps: float | None = None
  steps: int | None = None
  ssr_steps: int | None = None
  sampler: str | None = None
  guidance_scale: float | None = None
  guidance_interval: Sequence[str] | None = None
  window: int | None = None
  stride: int | None = None
  base_window: int | None = None
  base_stride: int | None = None
  seed: int = 0
  batch_size: int = 8
  data: int = 1
  fsdp: int = 1
  frames: int = 1
  out: str = "out"
  format: str = "mp4"
  image: Sequence[str] = ()
  at: Sequence[int] = ()
  video: str | None = None
  mask: str | None = None
  box: Sequence[str] | None = None
  border: Sequence[str] | None = None
  soft_edge: int = 0
  strength: float = 0.7

  def __post_init__(self):
    fields.at_least("--batch_size", self.batch_size, 1)
    fields.between("--seed", self.seed, 0, 2**32 - 1)
    fields.between("--strength", self.strength, 0, 1)
    if self.fps is not None:
      fields.between("--fps", self.fps, 0.1, 1000)
    if self.num_frames is not None:
      fields.at_least("--num_frames", self.num_frames, 1)
    if self.ema is not None:
      fields.between("--ema", self.ema, SHORTEST, LONGEST)
    for strength in self.style_strength or ():
      fields.between("--style_strength", strength, 0, 1)
    for flag, needed, why in (
      ("style_strength", self.style, "--style, the workdir of the style's t2i run"),
      ("base_stride", self.base_window, "--base_window"),
      ("ssr_step", self.ssr_workdir, "--ssr_workdir"),
      ("ssr_steps", self.ssr_workdir, "--ssr_workdir"),
      ("window", self.ssr_workdir, "--ssr_workdir; windows of the base are --base_window"),
      ("stride", self.ssr_workdir, "--ssr_workdir; windows of the base are --base_window"),
      ("soft_edge", self.command == "fill" or self.mask, "--mask"),
    ):
      # A flag without effect is a misunderstanding.
      if getattr(self, flag) not in (None, 0) and not needed:
        raise ValueError(f"--{flag} needs {why}")
    if self.fit == "bucket" and self.size is not None:
      raise ValueError(f"--fit=bucket chooses the size: leave out --size={self.size}, or --fit")


def fulfil(request: Request, flags: Sequence[str] = ()):
  """Generates the videos of a request and writes them.

  Args:
    request: what to generate.
    flags: names of further fields that the JSON files record.

  Raises:
    ValueError: if a flag or file cannot be used; names it, before weights are read.
    CheckpointError: if a model is missing, damaged or of another stage.
    OSError: if a file cannot be read or written.
  """
  out, mesh = outputs.writable_folder(request.out), device_mesh(request)
  base, high = experiments(request)
  size = output_size(request, base, high)
  make, length = maker(request, base, high, size)
  sampling, ssr_sampling = sampling_settings(request, base, high)
  # The cascade checks the same, but after its weights are in memory.
  if request.command == "edit" and not round(request.strength * sampling.num_steps):
    raise ValueError(
      f"--strength={request.strength:g} of {sampling.num_steps} steps leaves no step to run: the video would come back as it is"
    )
  check_prompts(request.prompts, length)
  in_windows(base, sampling, request.prompts, length, long=request.command != "generate")
  if ssr_sampling is not None:
    in_windows(high, ssr_sampling, request.prompts, length)

  cascade = Cascade.restore(
    request.workdir,
    request.ssr_workdir,
    base_step=request.step,
    ssr_step=request.ssr_step,
    ema=request.ema,
    text_encoder=request.text_encoder,
    mesh=mesh,
  ).of_size(size)
  strengths = (request.style_strength or [0.75]) if request.style else [None]
  styled = [
    cascade if strength is None else cascade.restyle(request.style, strength)
    for strength in strengths
  ]
  fps = request.fps or base.data.fps
  common = {
    "command": request.command,
    **{name: getattr(request, name) for name in flags},
    **{
      name: getattr(request, name)
      for name in ("seed", "batch_size", "format", "text_encoder", "ema")
    },
    "fps": fps,
    "size": size,
  }
  about = outputs.describe(cascade, sampling, ssr_sampling)
  about["base"]["workdir"] = request.workdir
  if cascade.ssr:
    about["ssr"]["workdir"] = request.ssr_workdir
  if request.style:
    common["style"] = {
      "workdir": request.style,
      "step": checkpoints.load_experiment(request.style)[1],
    }

  for first in range(0, len(request.prompts), request.batch_size):
    batch = request.prompts[first : first + request.batch_size]
    made = []
    for strength, model in zip(strengths, styled, strict=True):
      with jax.set_mesh(mesh):
        videos = make(
          model,
          batch,
          seed=request.seed,
          first_index=first,
          sampling=sampling,
          ssr_sampling=ssr_sampling,
          progress=tqdm,
        )
      made.append(videos)
      for index, (prompt, video) in enumerate(zip(batch, videos, strict=True), first):
        own = {"prompt": prompt, "index": index, "num_frames": len(video)}
        stem = outputs.file_stem(index, prompt, request.seed)
        if strength is not None:
          stem += f"_style{strength:g}"
          own["style"] = common["style"] | {"strength": strength}
        print(outputs.write(out, stem, video, prompt, fps, common | own | about, request.format))
    if len(styled) > 1:
      for row, prompt in enumerate(batch):
        strip = frames.contact_sheet(
          [videos[row] for videos in made],
          [f"style strength {strength:g}: {in_one_line(prompt)}" for strength in strengths],
        )
        stem = outputs.file_stem(first + row, prompt, request.seed)
        frames.write_image(out / f"{stem}_styles.png", strip)


def device_mesh(request: Request) -> jax.sharding.Mesh:
  """The mesh that --data, --fsdp and --frames describe; raises ValueError if there are not so many devices."""
  shape = {f"--{name}": getattr(request, name) for name in ("data", "fsdp", "frames")}
  text = " ".join(f"{flag}={value}" for flag, value in shape.items())
  if min(shape.values()) < 1:
    raise ValueError(f"{text}: each must be 1 or more")
  count = request.data * request.fsdp * request.frames
  if count > len(jax.devices()):
    raise ValueError(f"{text} needs {count} devices; there are {len(jax.devices())}")
  return make_mesh(MeshConfig(request.fsdp, request.frames), jax.devices()[:count])


def experiments(request: Request) -> tuple[Experiment, Experiment]:
  """The experiments of the base and of super-resolution, or of the base twice; checks that a style fits the base."""
  base, _ = checkpoints.load_experiment(request.workdir, request.step, ("stunet",))
  if request.style is not None:
    check_style(base, request.style)
  if request.ssr_workdir is None:
    return base, base
  return base, checkpoints.load_experiment(request.ssr_workdir, request.ssr_step, ("ssr",))[0]


def output_size(request: Request, base: Experiment, high: Experiment) -> Size:
  """Height and width of the videos: those of --size, of --fit=bucket for what is given, or of the training."""
  factor = 1 if high is base else high.super_resolution.factor
  multiple = multiple_of(base, None if high is base else high)
  if request.fit == "bucket":
    buckets = [(factor * h, factor * w) for h, w in base.data.buckets]
    left, top, right, bottom = inputs.read_border(request.border)
    height, width = source_size(request)
    shown = height + top + bottom, width + left + right
    return nearest_shape(shown, buckets or of_like_area(high.data.size, multiple))
  if request.size is None:
    return high.data.size
  size = sizes.read(request.size, "--size")
  check_multiple("--size", size, multiple)
  return size


def source_size(request: Request) -> Size:
  """Height and width of the first image, or of the video, that is given."""
  if request.command == "animate":
    return inputs.read_images(request.image)[0].shape[:2]
  if request.command == "generate" or (request.command == "extend" and request.video is None):
    raise ValueError("--fit=bucket needs an image or a video, whose shape the videos get")
  return inputs.size_of_video(request.video)


def maker(request: Request, base: Experiment, high: Experiment, size: Size) -> tuple[Make, int]:
  """(a function that generates the videos of a command, their length). Reads and checks the request's files."""
  count = request.num_frames or base.data.num_frames
  if request.command == "generate":
    return functools.partial(Cascade.generate, num_frames=count), count
  if request.command == "edit":
    # Its frames are noised by the base; the last resolution sees none of them.
    low = divided(size, 1 if high is base else high.super_resolution.factor)
    fitting = fitting_of(request, low)
    video = inputs.read_video(
      request.video, base.data.fps, fitting, functools.partial(usable, base)
    )
    return functools.partial(Cascade.edit, video=video, strength=request.strength), len(video)
  if request.command == "extend":
    if request.num_frames is None:
      raise ValueError("--num_frames is missing: give the length of the video")
    if request.video is None:
      return functools.partial(Cascade.extend, num_frames=count), count
  check_conditional(base)
  given = read_given(request, base, size, count)

  def complete(cascade: Cascade, prompts: Sequence[Prompt], **options):
    return cascade.complete(prompts, [given] * len(prompts), **options)

  return complete, len(given.video)


def fitting_of(request: Request, size: Size) -> Fitting:
  """How the frames of --video become those of the videos; with a bucket, little is left to crop."""
  fit, border = "pad" if request.fit == "pad" else "crop", inputs.read_border(request.border)
  return Fitting(inputs.size_of_video(request.video), size, fit, border)


def read_given(request: Request, base: Experiment, size: Size, count: int) -> Given:
  """The known part of the clips of "animate", "fill", and "extend" with a video."""
  fps = base.data.fps
  if request.command == "extend":
    fitting = fitting_of(request, size)
    video = inputs.read_video(request.video, fps, fitting)
    return givens.continued(video, fitting.known(), count)
  if request.command == "fill":
    return inputs.read_hole(
      request.video,
      fps,
      fitting_of(request, size),
      functools.partial(usable, base),
      mask=request.mask,
      box=request.box,
      soft_edge=request.soft_edge,
    )
  fit = "pad" if request.fit == "pad" else "crop"
  images = inputs.read_images(request.image)
  for path, image in zip(request.image, images, strict=True):
    print(f"{path}: {Fitting(image.shape[:2], size, fit).describe()}")
  at = request.at or (0, -1)[: len(images)]
  moving = None if request.mask is None else frames.read_mask(request.mask, fps)[0]
  given = givens.pictures(images, at, count, size, moving, request.soft_edge, fit)
  givens.check_something_is_new([given])
  return given


def usable(base: Experiment, count: int) -> int:
  """How many of `count` frames the base can generate, in windows if they exceed the training length."""
  factor = base.temporal.total_factor
  return count if count > base.data.num_frames else count // factor * factor


def log_snrs(interval: Sequence[str]) -> tuple[float, ...]:
  """The numbers of --guidance_interval; raises ValueError, which names it."""
  try:
    return tuple(map(float, interval))
  except ValueError:
    raise ValueError(
      f"--guidance_interval={','.join(interval)} must be LOWEST,HIGHEST log-SNR, such as -6,2, or empty"
    ) from None


def sampling_settings(
  request: Request, base: Experiment, high: Experiment
) -> tuple[SamplingConfig, SamplingConfig | None]:
  """The settings of the base and of super-resolution, with those of the flags in place of the models' own."""
  shared = {"sampler": request.sampler, "guidance_scale": request.guidance_scale}
  if request.guidance_interval is not None:
    shared["guidance_interval"] = log_snrs(request.guidance_interval)

  def changed(own: SamplingConfig, num_steps, window, stride) -> SamplingConfig:
    if stride is None and window:
      # Another window keeps the model's overlap: half a window, if it has none.
      stride = max(1, window - (own.window - own.stride) if own.window else window // 2)
    changes = shared | {"num_steps": num_steps, "window": window, "stride": stride}
    given: dict[str, Any] = {name: value for name, value in changes.items() if value is not None}
    return fields.from_mapping(SamplingConfig, vars(own) | given, "sampling")

  sampling = changed(base.sampling, request.steps, request.base_window, request.base_stride)
  base.check_told(sampling)
  if request.ssr_workdir is None:
    return sampling, None
  return sampling, changed(high.sampling, request.ssr_steps, request.window, request.stride)
