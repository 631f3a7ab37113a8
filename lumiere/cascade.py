"""Text to video: the base model makes the whole clip at once, super-resolution refines it in windows."""

import dataclasses
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from etils import epath
from jaxtyping import ArrayLike, Float, Key, UInt8

from lumiere.data import frames
from lumiere.experiment import SamplingConfig
from lumiere.generation import Generator
from lumiere.text.encoders import TextEncoder
from lumiere.training import checkpoints
from lumiere.training import mesh as meshes


@dataclasses.dataclass(frozen=True)
class Cascade:
  """A base model and, unless it is None, a super-resolution model.

  Attributes:
    base: text -> video.
    ssr: video -> video of a higher resolution.
  """

  base: Generator
  ssr: Generator | None = None

  @classmethod
  def restore(
    cls,
    base: epath.PathLike,
    ssr: epath.PathLike | None = None,
    *,
    base_step: int | None = None,
    ssr_step: int | None = None,
    text_encoder: epath.PathLike | None = None,
    mesh: jax.sharding.Mesh | None = None,
  ) -> "Cascade":
    """From the workdirs of their trainings, the averaged weights.

    Args:
      base: workdir of a "stunet" run.
      ssr: workdir of an "ssr" run; None leaves videos at the base resolution.
      base_step: checkpoint of the base; None is the newest.
      ssr_step: checkpoint of the super-resolution model.
      text_encoder: folder of a pretrained text encoder, for models that have none of their own.
      mesh: devices that share the weights, one of `lumiere.training.mesh.make_mesh`; sample under `jax.set_mesh` of it.
        None is one device.

    Raises:
      CheckpointError: if one is missing, unreadable or of another stage.
      ValueError: if the two do not fit together.
    """
    first = load_generator(base, "stunet", base_step, mesh)
    if text_encoder is not None:
      if first.experiment.text is None or first.experiment.text.encoder is not None:
        raise ValueError(f"text_encoder={text_encoder} is not wanted: {base} reads prompts itself")
      first.text_encoder = TextEncoder.restore(
        text_encoder, first.experiment.text.max_length, mesh=mesh or meshes.one_device()
      )
    if ssr is None:
      return cls(first)
    second = load_generator(ssr, "ssr", ssr_step, mesh)
    second.text_encoder = first.text_encoder
    low, high = first.experiment.data.resolution, second.experiment.data.resolution
    factor = second.experiment.super_resolution.factor
    if low * factor != high:
      raise ValueError(
        f"{base} makes {low}x{low} videos, but {ssr} was trained from {high // factor}x{high // factor} to {high}x{high}"
      )
    return cls(first, second)

  def __call__(
    self,
    prompts: Sequence[str],
    *,
    num_frames: int | None = None,
    seed: int = 0,
    first_index: int = 0,
    sampling: SamplingConfig | None = None,
    ssr_sampling: SamplingConfig | None = None,
    progress: bool = False,
  ) -> UInt8[np.ndarray, "b t h w 3"]:
    """Makes one video for each prompt.

    Args:
      prompts: captions.
      num_frames: frames of a video; by default as the base was trained.
      seed: of all noise. Video i depends on (seed, first_index + i) and its prompt, not on the others.
      first_index: number of the first prompt, for prompts that come in batches.
      sampling: settings for the base; by default those of its experiment.
      ssr_sampling: the same for super-resolution.
      progress: shows a progress bar a stage.

    Raises:
      ValueError: if there is no prompt, or the base cannot make that many frames.
    """
    check_prompts(prompts)
    data = self.base.experiment.data
    shape = (num_frames or data.num_frames, data.resolution, data.resolution, 3)
    base_keys, ssr_keys = jax.vmap(jax.random.split, out_axes=1)(
      example_keys(seed, first_index, len(prompts))
    )
    title = "base video" if progress else ""
    videos = self.base.sample(self.base.encode(prompts), shape, base_keys, sampling, title)
    if self.ssr is not None:
      videos = self.upscale(videos, prompts, ssr_keys, ssr_sampling, progress)
    return frames.to_uint8(np.asarray(videos))

  def upscale(
    self,
    low_res: Float[ArrayLike, "b t h w 3"],
    prompts: Sequence[str],
    keys: Key[jax.Array, "b"],
    sampling: SamplingConfig | None = None,
    progress: bool = False,
  ) -> Float[jax.Array, "b t h2 w2 3"]:
    """Super-resolution of videos in [-1, 1], of any length, through MultiDiffusion; `keys`: one a video."""
    sampling = sampling or self.ssr.experiment.sampling
    noise_keys, sample_keys = jax.vmap(jax.random.split, out_axes=1)(keys)
    conditioning = self.ssr.encode(prompts)
    conditioning |= self.ssr.condition_on(low_res, sampling.augmentation_level, noise_keys)
    shape = conditioning["low_res"].shape[1:]
    title = "super-resolution" if progress else ""
    return self.ssr.sample(conditioning, shape, sample_keys, sampling, title)


def load_generator(
  workdir: epath.PathLike,
  stage: str,
  step: int | None = None,
  mesh: jax.sharding.Mesh | None = None,
) -> Generator:
  """A trained model of a stage, from its workdir; raises CheckpointError."""
  trained = checkpoints.load_trained(workdir, (stage,), step, mesh)
  return Generator(
    trained.experiment, trained.step, trained.rebuild, trained.params, trained.frozen
  )


def example_keys(seed: int, first: int, count: int) -> jax.Array:
  """Keys of the examples first, ..., first + count - 1."""
  return jax.vmap(jax.random.fold_in, (None, 0))(
    jax.random.key(seed), jnp.arange(first, first + count)
  )


def check_prompts(prompts: Sequence[str]):
  """Raises ValueError unless there are prompts and none is blank."""
  if isinstance(prompts, str):
    raise ValueError(f"prompts={prompts!r} must be a list of strings, not one string")
  if not prompts:
    raise ValueError("there is no prompt")
  for index, prompt in enumerate(prompts):
    if not prompt.strip():
      raise ValueError(f"prompt {index + 1} of {len(prompts)} is blank")
