"""The cascade: a base model generates the whole clip at once, super-resolution refines it in windows.

Every application takes the same path with something given: known pixels, a clip to start from, windows along time for clips
longer than the network was trained on, prompts that change along time.
"""

import dataclasses
from collections.abc import Sequence
from typing import TypedDict, Unpack

import jax
import jax.numpy as jnp
import numpy as np
from etils import epath
from jaxtyping import ArrayLike, Bool, Float, Key, UInt8

from lumiere import averages, checkpoints, pretrained, release_folder
from lumiere import mesh as meshes
from lumiere.data import frames
from lumiere.pretrained_text import TextEncoder
from lumiere.sampling import checks
from lumiere.sampling import given as givens
from lumiere.sampling.generator import Generator, Progress, Start
from lumiere.sampling.given import Fit, Fitting, Given
from lumiere.sampling.prompts import Prompt, check_prompts
from lumiere.sampling.windows import condition, in_windows
from lumiere.sections import SamplingConfig
from lumiere.sizes import Size, as_text, check_multiple, divided, size_of

Image = UInt8[np.ndarray, "_h _w 3"]
Video = UInt8[np.ndarray, "_t _h _w 3"]


class Options(TypedDict, total=False):
  """Options of all methods that generate videos, given by name.

  Attributes:
    seed: of all noise. Video i depends on (seed, first_index + i) and its prompt, not on the other videos.
    first_index: number of the first prompt, when prompts come in batches.
    sampling: settings for the base; by default those of its experiment.
    ssr_sampling: the same for super-resolution.
    progress: wraps the steps and shows them, as `tqdm.tqdm(steps, desc=title)` does; an exception in it ends the sampling.
  """

  seed: int
  first_index: int
  sampling: SamplingConfig | None
  ssr_sampling: SamplingConfig | None
  progress: Progress | None


@dataclasses.dataclass(frozen=True)
class Cascade:
  """A base model and, unless it is None, a super-resolution model.

  All methods that generate videos return uint8 [b t h w 3], one video per prompt. Images, videos and masks that are given may
  have any size: of "crop", the default of `fit`, the middle of the videos' shape is resized; with "pad" all of what is given is
  resized, and what lies beside it in the frame is generated.

  Attributes:
    base: text -> video.
    ssr: video -> video of a higher resolution.
    size: height and width of the videos, in pixels; None for those of training. See `of_size`.
  """

  base: Generator
  ssr: Generator | None = None
  size: Size | None = None

  @classmethod
  def restore(
    cls,
    base: epath.PathLike,
    ssr: epath.PathLike | None = None,
    *,
    base_step: int | None = None,
    ssr_step: int | None = None,
    ema: float | None = None,
    text_encoder: epath.PathLike | None = None,
    mesh: jax.sharding.Mesh | None = None,
  ) -> "Cascade":
    """Restores the averaged weights of training runs, or the weights of releases.

    Args:
      base: workdir of a "stunet" run, or the folder of its release.
      ssr: the same of an "ssr" run; None leaves videos at the base resolution.
      base_step: checkpoint of the base; None is the newest.
      ssr_step: checkpoint of the super-resolution model.
      ema: length of the base's average, for runs with `config.train.averages`; None is the average that training used.
      text_encoder: folder of a pretrained text encoder, for models without one of their own.
      mesh: devices that share the weights, made by `lumiere.mesh.make_mesh`; sample under `jax.set_mesh(mesh)`.
        None is one device.

    Raises:
      CheckpointError: if a run is missing, unreadable or of another stage.
      ValueError: if the two runs do not fit together, or a text encoder is missing, not used or not that of the training.
    """
    # Checked before weights are read, which takes minutes at the paper's size.
    record = checkpoints.load_record(base, base_step, ("stunet",))
    experiment = record.experiment
    text = experiment.text
    takes_states = text is not None and text.encoder is None
    if takes_states and text_encoder is None:
      raise ValueError(
        f"text_encoder is missing: {base} takes the states of a pretrained text encoder; give one that "
        "lumiere.convert wrote"
      )
    if text_encoder is not None and not takes_states:
      raise ValueError(
        f"text_encoder={text_encoder} is not used: {base} takes no states of a pretrained text encoder"
      )
    if text_encoder is not None:
      checks.check_text_encoder(base, record, text_encoder)
    if ssr is not None:
      record = checkpoints.load_record(ssr, ssr_step, ("ssr",))
      above = record.experiment
      if text_encoder is not None:
        checks.check_text_encoder(ssr, record, text_encoder)
      low, high = experiment.data.size, above.data.size
      if low != (start := divided(high, above.super_resolution.factor)):
        raise ValueError(
          f"{base} makes {as_text(low)} videos, but {ssr} was trained from {as_text(start)} to {as_text(high)}"
        )
    first = load_generator(base, "stunet", base_step, mesh, ema)
    if text_encoder is not None:
      first.text_encoder = TextEncoder.restore(
        text_encoder, text.max_length, mesh=mesh or meshes.one_device()
      )
    if ssr is None:
      return cls(first)
    second = load_generator(ssr, "ssr", ssr_step, mesh)
    second.text_encoder = first.text_encoder
    return cls(first, second)

  @classmethod
  def pretrained(cls, mesh: jax.sharding.Mesh | None = None) -> "Cascade":
    """The models that ship with the package: moving shapes, 16 frames of 128x128 pixels. `mesh`: as in `restore`."""
    return cls.restore(pretrained.BASE, pretrained.SSR, mesh=mesh)

  @property
  def num_frames(self) -> int:
    """Frames of the clips that the base was trained on."""
    return self.base.experiment.data.num_frames

  @property
  def resolution(self) -> Size:
    """Height and width of the videos, in pixels."""
    return self.size or (self.ssr or self.base).experiment.data.size

  @property
  def base_resolution(self) -> Size:
    """The same of the base's videos."""
    factor = self.ssr.experiment.super_resolution.factor if self.ssr else 1
    return divided(self.resolution, factor)

  def of_size(self, size: int | Sequence[int]) -> "Cascade":
    """The cascade that makes videos of another size: a side, or (height, width), in pixels.

    How well a model does at one that it was not trained on is another question.

    Raises:
      ValueError: if the networks' levels do not divide that size; names the nearest ones.
    """
    size = size_of(size)
    check_multiple(
      "size", size, checks.multiple_of(self.base.experiment, self.ssr and self.ssr.experiment)
    )
    return dataclasses.replace(self, size=size)

  def without_ssr(self) -> "Cascade":
    """The base alone, at its resolution."""
    return dataclasses.replace(self, ssr=None, size=self.base_resolution)

  def generate(
    self, prompts: Sequence[Prompt], *, num_frames: int | None = None, **options: Unpack[Options]
  ) -> UInt8[np.ndarray, "b t h w 3"]:
    """Text-to-video: generates the whole clip at once.

    Args:
      prompts: captions. A caption that changes along time, {0: "a cat", 24: "a dog"}, is generated in windows.
      num_frames: frames of a video; by default the base's training length.
      **options: see `Options`.

    Raises:
      ValueError: if there is no prompt, or the base cannot generate that many frames.
    """
    count = self.num_frames if num_frames is None else num_frames
    return self._make(prompts, count, **options)

  def animate(
    self,
    prompts: Sequence[Prompt],
    images: Sequence[Image],
    *,
    at: Sequence[int] = (0,),
    moving: Bool[np.ndarray, "_h _w"] | None = None,
    soft_edge: int = 0,
    fit: Fit = "crop",
    num_frames: int | None = None,
    **options: Unpack[Options],
  ) -> UInt8[np.ndarray, "b t h w 3"]:
    """Image-to-video: the given frames are kept exactly, the others are generated. Needs a conditional base.

    Args:
      prompts: captions.
      images: the given frames, the same for every prompt.
      at: the frame number of each image; -1 is the last frame.
      moving: for one image at frame 0: True where it may move. All other pixels stay the same in every frame (a cinemagraph).
      soft_edge: pixels over which the fixed part blends into the moving one.
      fit: how images get the shape of the videos, "crop" or "pad".
      num_frames: frames of a video; by default the base's training length.
      **options: see `Options`.

    Raises:
      ValueError: if the base is not conditional, a frame is outside the clip, or mask and image differ in size.
    """
    count = self.num_frames if num_frames is None else num_frames
    given = givens.pictures(images, at, count, self.resolution, moving, soft_edge, fit)
    return self.complete(prompts, [given] * len(prompts), **options)

  def fill(
    self,
    prompts: Sequence[Prompt],
    video: Video,
    new: Bool[np.ndarray, "_t _h _w"],
    *,
    soft_edge: int = 0,
    fit: Fit = "crop",
    **options: Unpack[Options],
  ) -> UInt8[np.ndarray, "b t h w 3"]:
    """Inpainting and outpainting: pixels that are not `new` are kept exactly. Needs a conditional base.

    Args:
      prompts: captions.
      video: the clip, the same for every prompt. A clip longer than the base's training length is generated in windows.
      new: True where pixels are generated; one mask for all frames, or one per frame.
      soft_edge: pixels over which kept pixels blend into generated ones.
      fit: how the video gets the shape of the videos that are made, "crop" or "pad".
      **options: see `Options`.

    Raises:
      ValueError: if the base is not conditional, or mask and video differ in size or length.
    """
    given = givens.with_hole(video, new, self.resolution, soft_edge, fit)
    return self.complete(prompts, [given] * len(prompts), **options)

  def edit(
    self,
    prompts: Sequence[Prompt],
    video: Video,
    *,
    strength: float | int = 0.7,
    fit: Fit = "crop",
    **options: Unpack[Options],
  ) -> UInt8[np.ndarray, "b t h w 3"]:
    """Video-to-video (SDEdit): keeps layout and motion of the video, the less the higher `strength`, with a new prompt.

    Args:
      prompts: captions.
      video: the clip, the same for every prompt. A clip longer than the base's training length is generated in windows.
      strength: share of the sampling steps that are run, in [0, 1].
      fit: how the video gets the shape of the videos that are made: "crop", or "pad", which lets its edge go on beside it.
      **options: see `Options`.

    Raises:
      ValueError: if `strength` is out of range.
    """
    low = Fitting(video.shape[1:3], self.base_resolution, fit).video(video)
    clips = np.repeat(frames.to_float(low)[None], len(prompts), axis=0)
    return self._make(
      prompts, len(video), start=Start(clips, float(strength)), long=True, **options
    )

  def extend(
    self,
    prompts: Sequence[Prompt],
    num_frames: int,
    *,
    video: Video | None = None,
    fit: Fit = "crop",
    **options: Unpack[Options],
  ) -> UInt8[np.ndarray, "b t h w 3"]:
    """Clips of any length: the base also works in overlapping windows, which are reconciled at every step.

    Args:
      prompts: captions, which may change along time.
      num_frames: frames of a video. Memory grows only with the frames themselves.
      video: a clip to continue; its frames come first, exactly. Needs a conditional base.
      fit: how that clip gets the shape of the videos, "crop" or "pad".
      **options: see `Options`; the length of windows is `sampling.window`, by default the base's training length.

    Raises:
      ValueError: if the given clip leaves no frame to generate, or a base that is not conditional should continue one.
    """
    if video is None:
      return self._make(prompts, num_frames, long=True, **options)
    given = givens.beginning(video, num_frames, self.resolution, fit)
    return self.complete(prompts, [given] * len(prompts), **options)

  def complete(
    self, prompts: Sequence[Prompt], given: Sequence[Given], **options: Unpack[Options]
  ) -> UInt8[np.ndarray, "b t h w 3"]:
    """Generates the pixels that are not given, one clip per prompt. `animate`, `fill` and continuations use it.

    Args:
      prompts: captions.
      given: the known pixels of each clip, at the cascade's resolution and all of one length. Clips longer than the base's
        training length are generated in windows. Pixels whose mask is 1 are returned exactly.
      **options: see `Options`.

    Raises:
      ValueError: if the base is not conditional (it was not trained with `config.masks`), or nothing is left to make.
    """
    checks.check_conditional(self.base.experiment)
    if len(given) != len(prompts):
      raise ValueError(
        f"{len(given)} clips for {len(prompts)} prompts: one clip per prompt is needed"
      )
    givens.check_something_is_new(given)
    return self._make(prompts, len(given[0].video), given, long=True, **options)

  def restyle(self, style: epath.PathLike, strength: float | int) -> "Cascade":
    """The cascade with the base's image weights interpolated to a style's; temporal weights stay (section 4).

    Args:
      style: workdir of a "t2i" run that was fine-tuned from the base's image model.
      strength: alpha of W = alpha W_style + (1 - alpha) W_own. 0 is the base as it is, 1 the style's weights; the paper
        chooses between 0.5 and 1 by hand.

    Raises:
      CheckpointError: if there is no such run.
      ValueError: if `strength` is not in [0, 1], or the run's network differs from the base's.
    """
    if not 0 <= strength <= 1:
      raise ValueError(f"style_strength={strength} must be between 0 and 1")
    checks.check_style(self.base.experiment, style)
    trained = checkpoints.load_trained(style, ("t2i",))
    return dataclasses.replace(self, base=self.base.with_image(trained.params, strength))

  def _make(
    self,
    prompts: Sequence[Prompt],
    num_frames: int,
    given: Sequence[Given] = (),
    *,
    start: Start | None = None,
    long: bool = False,
    seed: int = 0,
    first_index: int = 0,
    sampling: SamplingConfig | None = None,
    ssr_sampling: SamplingConfig | None = None,
    progress: Progress | None = None,
  ) -> UInt8[np.ndarray, "b t h w 3"]:
    """The path of all applications: base, super-resolution, given pixels put back.

    With `long`, clips longer than the base's training length are generated in windows.
    """
    check_prompts(prompts, num_frames)
    sampling = in_windows(self.base.experiment, sampling, prompts, num_frames, long=long)
    low = self.base_resolution
    base_keys, ssr_keys = jax.vmap(jax.random.split, out_axes=1)(
      example_keys(seed, first_index, len(prompts))
    )
    conditioning, per_window = condition(self.base, prompts, num_frames, sampling)
    part = [each.reduced(low) for each in given]
    videos = self.base.sample(
      conditioning,
      (num_frames, *low, 3),
      base_keys,
      sampling,
      progress,
      known=givens.as_known(part),
      start=start,
      per_window=per_window,
    )
    made = givens.put_back(part, videos)
    if self.ssr is None:
      return made
    videos = self.upscale(
      frames.to_float(made), prompts, ssr_keys, ssr_sampling, progress, given=given
    )
    return givens.put_back(given, videos)

  def upscale(
    self,
    low_res: Float[ArrayLike, "b t h w 3"],
    prompts: Sequence[Prompt],
    keys: Key[jax.Array, " b"],
    sampling: SamplingConfig | None = None,
    progress: Progress | None = None,
    *,
    given: Sequence[Given] = (),
  ) -> Float[jax.Array, "b t h2 w2 3"]:
    """Super-resolution of videos of any length, with MultiDiffusion.

    Args:
      low_res: videos of the base, in [-1, 1].
      prompts: captions.
      keys: one per video.
      sampling: settings; by default those of the experiment.
      progress: shows the steps.
      given: known pixels of each clip at the high resolution, which the generated ones continue.

    Returns:
      videos, nominally in [-1, 1].
    """
    sampling = in_windows(self.ssr.experiment, sampling, prompts, low_res.shape[1])
    noise_keys, sample_keys = jax.vmap(jax.random.split, out_axes=1)(keys)
    conditioning, per_window = condition(self.ssr, prompts, low_res.shape[1], sampling)
    conditioning |= self.ssr.condition_on(low_res, sampling.augmentation_level, noise_keys)
    return self.ssr.sample(
      conditioning,
      conditioning["low_res"].shape[1:],
      sample_keys,
      sampling,
      progress,
      known=givens.as_known(given),
      per_window=per_window,
    )


def load_generator(
  workdir: epath.PathLike,
  stage: str,
  step: int | None = None,
  mesh: jax.sharding.Mesh | None = None,
  ema: float | None = None,
) -> Generator:
  """A trained model of a stage, from its workdir; raises CheckpointError, and ValueError if the average is not there."""
  trained = checkpoints.load_trained(workdir, (stage,), step, mesh)
  params = trained.params
  if ema is not None:
    if release_folder.is_release(workdir):
      raise ValueError(
        f"ema={ema:g}: {workdir} is a release, which holds one average of the weights"
      )
    found = averages.combine(workdir, params, trained.step, ema)
    params = jax.tree.map(lambda new, old: jax.device_put(new, old.sharding), found, params)
  return Generator(trained.experiment, trained.step, trained.rebuild, params, trained.frozen)


def example_keys(seed: int, first: int, count: int) -> jax.Array:
  """Keys of the examples first, ..., first + count - 1."""
  return jax.vmap(jax.random.fold_in, (None, 0))(
    jax.random.key(seed), jnp.arange(first, first + count)
  )
