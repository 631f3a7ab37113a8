"""Sampling from one trained model: noise and a condition in, a clip (or pictures) out.

The denoiser is put together here, from the inside out:

    model -> classifier-free guidance -> windows -> sampler

and run by a host loop around one jitted step, so that progress can be shown and the weights stay arguments of the step.
"""

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Key
from tqdm import tqdm

from diffusion.guidance import classifier_free
from diffusion.samplers import State, denoise_step, draw_noise
from lumiere.experiment import Experiment, SamplingConfig
from lumiere.model import Conditioning, unconditional
from lumiere.text import TEXT_KEYS
from lumiere.text.encoders import TextEncoder
from lumiere.text.tokenize import ByteTokenizer
from lumiere.weights import Weights
from multidiffusion.denoiser import windowed
from multidiffusion.windows import plan_windows
from ssr.augmentation import augment, upsample
from stunet import layout
from stunet.stunet import check_num_frames


class Generator:
  """A trained model with the ways to condition and to sample it."""

  def __init__(
    self,
    experiment: Experiment,
    step: int,
    rebuild: Callable,
    params: Weights,
    frozen: Weights,
    text_encoder: TextEncoder | None = None,
  ):
    """A model from its parts.

    Args:
      experiment: how it was trained.
      step: how long.
      rebuild: `rebuild(params, frozen)` gives the model, as `lumiere.weights.split` does.
      params: its trained weights.
      frozen: its frozen weights.
      text_encoder: reads prompts for a model that has no encoder of its own.
    """
    self.text_encoder = text_encoder
    self.experiment, self.step = experiment, step
    self.schedule = experiment.diffusion.make_schedule()
    self._rebuild, self._weights = rebuild, (params, frozen)
    self._steps: dict[str, Callable] = {}

  def encode(self, prompts: Sequence[str]) -> Conditioning:
    """Caption states of prompts; nothing for a network without text.

    Raises:
      ValueError: if the network takes embeddings of an encoder that is not part of it.
    """
    text = self.experiment.text
    if text is None:
      return {}
    if text.encoder is None:
      if self.text_encoder is None:
        raise ValueError(
          f"text_encoder is missing: this {self.experiment.stage} model takes the states of a pretrained text encoder; "
          "give one that lumiere.interop.convert wrote"
        )
      conditioning = self.text_encoder.condition(prompts)
      if (width := conditioning["text"].shape[-1]) != self.experiment.model.text_dim:
        raise ValueError(
          f"text_encoder gives states of width {width}; this model was trained with {self.experiment.model.text_dim}"
        )
      if text.null == "zeros":
        return {name: conditioning[name] for name in ("text", "text_mask")}
      return conditioning
    return self.encode_batch(ByteTokenizer(text.max_length)(prompts))

  def encode_batch(self, batch: Mapping[str, ArrayLike]) -> Conditioning:
    """Caption states of a loader's batch, from its tokens or its embeddings."""
    names = ("tokens", "mask", *TEXT_KEYS)
    return self._encode(*self._weights, {name: batch[name] for name in names if name in batch})

  @functools.cached_property
  def _encode(self):
    return jax.jit(lambda params, frozen, batch: self._rebuild(params, frozen).encode_text(batch))

  def condition_on(
    self, low_res: Float[ArrayLike, "b ... h w c"], augmentation_level: float, keys: Key[Array, "b"]
  ) -> Conditioning:
    """The super-resolution condition: upsampled, then noised once for the whole clip, before any window is cut.

    Args:
      low_res: images or videos in [-1, 1].
      augmentation_level: noise level in [0, 1].
      keys: one an example.
    """
    config = self.experiment.super_resolution
    upsampled = upsample(jnp.asarray(low_res), config.factor, config.aligned)
    level = jnp.full(len(low_res), augmentation_level, jnp.float32)
    noise = draw_noise(keys, upsampled.shape)
    return {
      "low_res": augment(upsampled, self.schedule.log_snr(level), noise),
      "augmentation_level": level,
    }

  def sample(
    self,
    conditioning: Conditioning,
    shape: tuple[int, ...],
    keys: Key[Array, "b"],
    sampling: SamplingConfig | None = None,
    progress: str = "",
  ) -> Float[Array, "b ..."]:
    """Samples a batch.

    Args:
      conditioning: what `encode` and `condition_on` gave, merged.
      shape: of one example, [t h w c] or [h w c].
      keys: one an example: its noise depends on nothing else.
      sampling: how; by default as the experiment says.
      progress: title of a progress bar; empty for none.

    Returns:
      videos or images in [-1, 1].

    Raises:
      ValueError: if the network cannot make that many frames.
    """
    sampling = sampling or self.experiment.sampling
    if self.experiment.is_video:
      check_num_frames(shape[0], self.experiment.temporal.total_factor)
    sampler = sampling.make_sampler()
    table = sampler.table(self.schedule.sampling_log_snrs(sampling.num_steps))
    initial_keys, step_keys = jax.vmap(jax.random.split, out_axes=1)(keys)
    state = sampler.initialize(draw_noise(initial_keys, (len(keys), *shape)))
    step = self._jitted(sampling)
    for index in tqdm(range(sampling.num_steps), desc=progress, disable=not progress, leave=True):
      row = {name: column[index] for name, column in table.items()}
      state = jax.block_until_ready(step(*self._weights, state, row, conditioning, step_keys))
    return sampler.finalize(state)

  def _jitted(self, sampling: SamplingConfig) -> Callable:
    """The jitted sampler step; the settings are part of the program, weights and data are not."""
    name = repr(sampling)
    if name not in self._steps:
      self._steps[name] = jax.jit(self.step_function(sampling), donate_argnums=2)
    return self._steps[name]

  def step_function(self, sampling: SamplingConfig) -> Callable:
    """The pure sampler step `(params, frozen, state, row, conditioning, keys) -> state`; `row` of the sampler's table."""
    return functools.partial(self._denoise_step, sampling)

  def _denoise_step(
    self,
    sampling: SamplingConfig,
    params: Weights,
    frozen: Weights,
    state: State,
    row: Mapping[str, Any],
    conditioning: Conditioning,
    keys: Key[Array, "b"],
  ) -> State:
    denoiser = self._rebuild(params, frozen).denoiser(self.schedule)
    if self.experiment.text:
      denoiser = classifier_free(
        denoiser, unconditional, sampling.guidance_scale, sampling.guidance_rescale
      )
    if self.experiment.is_video and sampling.window:
      # Devices that share examples share windows: as many at a time as keep them all busy.
      sharing = layout.axis_size(layout.DATA) * layout.axis_size(layout.FSDP)
      clips, num_frames = state.z.shape[:2]
      denoiser = windowed(
        denoiser,
        plan_windows(num_frames, sampling.window, sampling.stride),
        weights=sampling.window_weights,
        windows_per_batch=windows_at_a_time(self.experiment, sampling, num_frames, clips, sharing)[
          1
        ],
        per_frame=("low_res",) if "low_res" in conditioning else (),
      )
    return denoise_step(
      denoiser,
      state,
      row,
      conditioning,
      keys,
      sampler=sampling.make_sampler(),
      prediction=self.experiment.diffusion.prediction,
      threshold=sampling.make_threshold(),
    )


def windows_at_a_time(
  experiment: Experiment, sampling: SamplingConfig, num_frames: int, clips: int, sharing: int
) -> tuple[int, int]:
  """(windows of a clip, how many of them are denoised at a time): at least `sampling.windows_per_batch`.

  With `clips` clips, and twice as many examples where guidance doubles them, that number divides over the `sharing`
  devices; so it may be more than there are windows.
  """
  count = len(plan_windows(num_frames, sampling.window, sampling.stride).starts)
  examples = clips * (2 if is_guided(experiment, sampling) else 1)
  multiple = sharing // math.gcd(sharing, examples)
  wanted = min(sampling.windows_per_batch, count)
  return count, -(-wanted // multiple) * multiple


def is_guided(experiment: Experiment, sampling: SamplingConfig) -> bool:
  """Whether a call of the network is of two halves, with and without the caption."""
  return experiment.text is not None and sampling.guidance_scale not in (0, 1)
