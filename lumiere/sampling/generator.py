"""Sampling from one trained model: noise and conditioning in, clips (or images) out.

The denoiser is composed here, from the inside out:

    model -> classifier-free guidance -> windows -> known pixels -> sampler

A host loop around one jitted step runs it, so that progress can be shown. Weights are arguments of the step.
"""

import dataclasses
import functools
import math
import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from absl import logging
from jaxtyping import Array, ArrayLike, Float, Key

from diffusion.guidance import classifier_free
from diffusion.known import keep_known
from diffusion.samplers import State, denoise_step, draw_noise
from diffusion.schedule import alpha_sigma
from lumiere import weights
from lumiere.experiment import Experiment
from lumiere.fields import between
from lumiere.masks import shown
from lumiere.model import Conditioning, image_prefixes, unconditional
from lumiere.pretrained_text import TextEncoder
from lumiere.sections import SamplingConfig
from lumiere.text import TEXT_KEYS
from lumiere.text.tokenize import cut_off
from lumiere.weights import Weights
from multidiffusion.denoiser import windowed
from multidiffusion.windows import plan_windows
from ssr.augmentation import augment, upsample
from stunet import layout
from stunet.stunet import check_num_frames

# `progress(steps, desc=title)` iterates over the steps and shows them; `tqdm.tqdm` for example.
Progress = Callable[..., Iterable[int]]


class Known(NamedTuple):
  """The known pixels of clips.

  Attributes:
    video: the given pixels in [-1, 1]; values where the mask is 0 are ignored.
    mask: how far each pixel is known, in [0, 1].
  """

  video: Float[ArrayLike, "b t h w 3"]
  mask: Float[ArrayLike, "b t h w 1"]


class Start(NamedTuple):
  """A clip that sampling starts from (SDEdit, Meng et al., 2022): it is noised, and only the last steps are run.

  Attributes:
    video: the clip, in [-1, 1].
    strength: share of the steps that are run, in [0, 1]: 0 returns the clip, 1 keeps almost nothing of it.
  """

  video: Float[ArrayLike, "b t h w 3"]
  strength: float


class SamplingError(RuntimeError):
  """Sampling has failed; the message names the model."""


class Generator:
  """A trained model, and how it is conditioned and sampled."""

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
      experiment: of its training run.
      step: number of training steps.
      rebuild: `rebuild(params, frozen)` returns the model; see `lumiere.weights.split`.
      params: its trained weights.
      frozen: its frozen weights.
      text_encoder: encodes prompts for a model without an encoder of its own.
    """
    self.text_encoder = text_encoder
    self.experiment, self.step = experiment, step
    self.schedule = experiment.diffusion.make_schedule()
    self._rebuild, self._weights = rebuild, (params, frozen)
    self._steps: dict[str, Callable] = {}

  def encode(self, prompts: Sequence[str]) -> Conditioning:
    """Caption states of prompts; empty for a network without text.

    Raises:
      ValueError: if the network needs a pretrained text encoder, and there is none or one of another width.
    """
    text = self.experiment.text
    if text is None:
      return {}
    for prompt in prompts:
      if rest := self.cut_off(prompt):
        logging.warning("the prompt %r is too long: its end is not read: %r", prompt, rest)
      if text.encoder and (unknown := text.make_tokenizer().unknown(prompt)):
        logging.warning(
          "the prompt %r has words that this model has never seen: %s; it knows %s",
          prompt,
          ", ".join(unknown),
          ", ".join(text.words),
        )
    if text.encoder is None:
      if self.text_encoder is None:
        raise ValueError(
          f"text_encoder is missing: this {self.experiment.stage} model takes the states of a pretrained text encoder; "
          "give one that lumiere.convert wrote"
        )
      conditioning = self.text_encoder.condition(prompts)
      if (width := conditioning["text"].shape[-1]) != self.experiment.model.text_dim:
        raise ValueError(
          f"text_encoder gives states of width {width}; this model was trained with {self.experiment.model.text_dim}"
        )
      if text.null == "zeros":
        return {name: conditioning[name] for name in ("text", "text_mask")}
      return conditioning
    return self.encode_batch(text.make_tokenizer()(prompts))

  def cut_off(self, prompt: str) -> str:
    """The end of a prompt that the model does not read, for it has more tokens than it takes; empty if all is read."""
    text = self.experiment.text
    if text is None or (text.encoder is None and self.text_encoder is None):
      return ""
    own = text.encoder is not None
    return cut_off(text.make_tokenizer() if own else self.text_encoder.tokenizer, prompt)

  def encode_batch(self, batch: Mapping[str, ArrayLike]) -> Conditioning:
    """Caption states of a batch from the loader: of its tokens, or precomputed."""
    names = ("tokens", "mask", *TEXT_KEYS)
    return self._encode(*self._weights, {name: batch[name] for name in names if name in batch})

  @functools.cached_property
  def _encode(self):
    return jax.jit(lambda params, frozen, batch: self._rebuild(params, frozen).encode_text(batch))

  # From pixels to what is denoised, and back; nothing happens but in latent models.

  @functools.cached_property
  def _encode_pixels(self):
    return jax.jit(lambda params, frozen, x: self._rebuild(params, frozen).encode(x))

  @functools.cached_property
  def _to_latents(self):
    return jax.jit(lambda params, frozen, x, mask: self._rebuild(params, frozen).known(x, mask))

  @functools.cached_property
  def _decode(self):
    if self.experiment.autoencoder is None:
      return lambda params, frozen, z: z
    return jax.jit(lambda params, frozen, z: self._rebuild(params, frozen).decode(z))

  def condition_on(
    self,
    low_res: Float[ArrayLike, "b ... h w c"],
    augmentation_level: float,
    keys: Key[Array, " b"],
  ) -> Conditioning:
    """The condition of super-resolution: upsampled, with noise that is drawn once per clip, before windows are cut.

    Args:
      low_res: images or videos in [-1, 1].
      augmentation_level: noise level in [0, 1].
      keys: one per example.
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
    keys: Key[Array, " b"],
    sampling: SamplingConfig | None = None,
    progress: Progress | None = None,
    *,
    known: Known | None = None,
    start: Start | None = None,
    per_window: tuple[str, ...] = (),
  ) -> Float[Array, "b ..."]:
    """Samples a batch.

    Args:
      conditioning: the results of `encode` and `condition_on`, merged.
      shape: of one example in pixels, [t h w c] or [h w c].
      keys: one per example; its noise depends on nothing else.
      sampling: settings; by default those of the experiment.
      progress: wraps the steps, as `tqdm.tqdm(steps, desc=title)` does; an exception in it ends the sampling.
      known: given pixels.
      start: a clip to start from instead of noise.
      per_window: entries of the conditioning with one value per window of `sampling`, [n b ...].

    Returns:
      videos or images in [-1, 1].

    Raises:
      ValueError: if the network cannot generate that many frames, or has not learnt that guidance.
      SamplingError: if the result has values that are not finite.
    """
    sampling = sampling or self.experiment.sampling
    if self.experiment.is_video:
      check_length(self.experiment, sampling, shape[0])
    self.experiment.check_told(sampling)
    given = start and start.video
    if self.experiment.autoencoder:
      known = known and Known(*self._to_latents(*self._weights, known.video, known.mask))
      start = start and Start(self._encode_pixels(*self._weights, start.video), start.strength)
      factor = self.experiment.factor
      shape = (*shape[:-3], shape[-3] // factor, shape[-2] // factor, self.experiment.channels)
    sampler = sampling.make_sampler()
    log_snrs = sampling.make_levels().visited(self.schedule, sampling.num_steps)
    initial_keys, step_keys = jax.vmap(jax.random.split, out_axes=1)(keys)
    noise = draw_noise(initial_keys, (len(keys), *shape))
    first = jnp.copy(noise)  # steps donate their buffers, and the noise is still needed
    if start is not None:
      between("strength", start.strength, 0, 1)
      log_snrs = log_snrs[sampling.num_steps - round(start.strength * sampling.num_steps) :]
      if len(log_snrs) == 1:
        return jnp.asarray(given)
      alpha, sigma = alpha_sigma(jnp.float32(log_snrs[0]))
      first = alpha * start.video + sigma * noise
    if known is not None and self.experiment.masks:
      conditioning = {**conditioning, "known": shown(known.video, known.mask)}
    # On the devices of the weights, as the states that steps return: otherwise the second step would be compiled once more.
    state = jax.device_put(sampler.initialize(first), self._replicated)
    table = sampler.table(log_snrs)
    steps = range(len(log_snrs) - 1)
    for index in steps if progress is None else progress(steps, desc=self.title):
      step = self._jitted(sampling.at(log_snrs[index]), per_window)
      row = {name: column[index] for name, column in table.items()}
      state = jax.block_until_ready(
        step(
          *self._weights,
          state,
          row,
          conditioning,
          step_keys,
          known and (known.video, known.mask, noise),
        )
      )
    videos = self._decode(*self._weights, sampler.finalize(state))
    if not jnp.isfinite(videos).all():
      raise SamplingError(
        f"the {self.title} of the {self.experiment.stage} model of step {self.step} is not finite: its training may have "
        "diverged, or guidance_scale is too large"
      )
    return videos

  def with_image(self, image: Weights, strength: float | int) -> "Generator":
    """The same video model with other image weights, or with weights between its own and those.

    Args:
      image: weights of a "t2i" run of the same architecture.
      strength: 0 keeps the frozen weights, 1 replaces them by `image`; in between they are interpolated linearly.
    """
    params, frozen = self._weights
    styled = frozen
    for source, target in image_prefixes(self.experiment).items():
      styled = weights.merge(styled, functools.reduce(operator.getitem, source, image), target)
    mixed = jax.tree.map(lambda own, new: (1 - strength) * own + strength * new, frozen, styled)
    other = Generator(self.experiment, self.step, self._rebuild, params, mixed, self.text_encoder)
    other._steps = self._steps  # weights are arguments of the compiled steps
    return other

  @property
  def title(self) -> str:
    """The name of its progress bar."""
    return "super-resolution" if self.experiment.is_super_resolution else "base video"

  @property
  def _replicated(self) -> jax.sharding.Sharding:
    """Copies on all devices that hold the weights."""
    sharding = jax.tree.leaves(self._weights)[0].sharding
    if isinstance(sharding, jax.sharding.NamedSharding):
      return jax.sharding.NamedSharding(sharding.mesh, jax.sharding.PartitionSpec())
    return sharding

  def _jitted(self, sampling: SamplingConfig, per_window: tuple[str, ...]) -> Callable:
    """The jitted sampler step. Settings are part of the program; weights and data are arguments."""
    # Any number of steps and any noise levels.
    name = repr((dataclasses.replace(sampling, num_steps=1, log_snr_shift=0.0), per_window))
    if name not in self._steps:
      self._steps[name] = jax.jit(self.step_function(sampling, per_window), donate_argnums=2)
    return self._steps[name]

  def step_function(self, sampling: SamplingConfig, per_window: tuple[str, ...] = ()) -> Callable:
    """The pure sampler step `(params, frozen, state, row, conditioning, keys[, known]) -> state`.

    `row` is a row of the sampler's table, `known` is (video, mask, noise) of given pixels.
    """
    return functools.partial(self._denoise_step, sampling, per_window)

  def _denoise_step(
    self,
    sampling: SamplingConfig,
    per_window: tuple[str, ...],
    params: Weights,
    frozen: Weights,
    state: State,
    row: Mapping[str, Any],
    conditioning: Conditioning,
    keys: Key[Array, " b"],
    known: tuple[Array, Array, Array] | None = None,
  ) -> State:
    model = self._rebuild(params, frozen)
    denoiser = model.denoiser(self.schedule, variance=sampling.variance == "learned")
    if self.experiment.is_told_guidance:
      told = jnp.full(len(state.z), sampling.guidance_scale, jnp.float32)
      conditioning = {**conditioning, "guidance_scale": told}
    elif self.experiment.text:
      denoiser = classifier_free(
        denoiser, unconditional, sampling.guidance_scale, sampling.guidance_rescale
      )
    if self.experiment.is_video and sampling.window:
      # Devices that share examples also share windows: enough at a time to keep all of them busy.
      sharing = layout.axis_size(layout.DATA) * layout.axis_size(layout.FSDP)
      clips, num_frames = state.z.shape[:2]
      denoiser = windowed(
        denoiser,
        plan_windows(num_frames, sampling.window, sampling.stride),
        weights=sampling.window_weights,
        windows_per_batch=windows_at_a_time(self.experiment, sampling, num_frames, clips, sharing)[
          1
        ],
        per_frame=[name for name in ("low_res", "known") if name in conditioning],
        per_window=per_window,
      )
    prediction = self.experiment.diffusion.prediction
    if known is not None:
      denoiser = keep_known(denoiser, prediction, *known)
    return denoise_step(
      denoiser,
      state,
      row,
      conditioning,
      keys,
      sampler=sampling.make_sampler(),
      prediction=prediction,
      threshold=sampling.make_threshold(),
    )


def check_length(experiment: Experiment, sampling: SamplingConfig, num_frames: int):
  """Raises ValueError unless a video network can generate so many frames, or windows of them."""
  factor = experiment.temporal.total_factor
  if 0 < sampling.window < num_frames:
    check_num_frames(sampling.window, factor, "window")
  else:
    check_num_frames(num_frames, factor)


def windows_at_a_time(
  experiment: Experiment, sampling: SamplingConfig, num_frames: int, clips: int, sharing: int
) -> tuple[int, int]:
  """(windows of a clip, how many of them are denoised at a time).

  That is `sampling.windows_per_batch`, or fewer where as many calls do with fewer: of 5 windows, 3 at a time in place of 4. With
  `clips` clips, and twice as many examples with guidance, it is then raised to a number that divides evenly over the
  `sharing` devices, and may exceed the number of windows.
  """
  count = len(plan_windows(num_frames, sampling.window, sampling.stride).starts)
  examples = clips * (2 if is_guided(experiment, sampling) else 1)
  multiple = sharing // math.gcd(sharing, examples)
  calls = math.ceil(count / sampling.windows_per_batch)
  return count, math.ceil(math.ceil(count / calls) / multiple) * multiple


def is_guided(experiment: Experiment, sampling: SamplingConfig) -> bool:
  """Whether a call of the network has two halves, with and without the caption."""
  told = experiment.is_told_guidance
  return experiment.text is not None and not told and sampling.guidance_scale not in (0, 1)
