"""The four training stages. A stage defines the network, what is trained, and how a batch becomes losses.

    t2i        images            text -> image                        everything trains, the text encoder too
    stunet     videos            text (and known pixels) -> video     inflation trains; the t2i network is frozen
    ssr_image  image crops       low resolution -> high resolution    everything trains
    ssr        video windows     low resolution -> high resolution    inflation trains; the ssr_image network is frozen

They differ in two ways only: image or video, base or super-resolution. The loop knows none of them by name. A video network can
also be distilled: it then learns from a teacher, whose weights are among the frozen ones.
"""

import dataclasses
import math
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Float64, PRNGKeyArray

from diffusion.distillation import two_steps_in_one
from diffusion.guidance import classifier_free
from diffusion.levels import StartsOfSteps
from lumiere import masks, weights
from lumiere.experiment import PARENTS, Experiment
from lumiere.model import (
  TEACHER,
  Model,
  abstract_model,
  build_model,
  drop_text,
  unconditional,
  with_teacher,
)
from lumiere.sizes import Size
from ssr.augmentation import augment, degrade, upsample


@dataclasses.dataclass(frozen=True)
class Stage:
  """The training stage of an experiment."""

  experiment: Experiment

  @property
  def parent(self) -> str | None:
    """The stage whose network this one inflates, or None."""
    return PARENTS.get(self.experiment.stage)

  def build(self) -> Model:
    """The freshly initialised model."""
    return build_model(self.experiment, weights.Seeds(self.experiment.seed))

  def abstract(self):
    """`lumiere.model.abstract_model`, a teacher's weights included."""
    rebuild, params, frozen = abstract_model(self.experiment)
    return rebuild, params, with_teacher(self.experiment, frozen, params)

  def batch_shapes(self, size: Size | None = None) -> dict[str, jax.ShapeDtypeStruct]:
    """Shapes and dtypes of a batch, over all processes; of frames of a size, by default the largest that is trained on."""
    experiment = self.experiment
    data, text, b = experiment.data, experiment.text, experiment.train.batch_size
    frame = (*(max(data.training_sizes, key=math.prod) if size is None else size), 3)
    clip = (
      ("video", (b, data.num_frames, *frame)) if experiment.is_video else ("image", (b, *frame))
    )
    shapes = {clip[0]: jax.ShapeDtypeStruct(clip[1], jnp.float32)}
    if text:
      mask = jax.ShapeDtypeStruct((b, text.max_length), jnp.bool)
      if text.encoder:
        return shapes | {"tokens": jax.ShapeDtypeStruct(mask.shape, jnp.int32), "mask": mask}
      states = jax.ShapeDtypeStruct((*mask.shape, experiment.model.text_dim), jnp.float32)
      shapes |= {"text": states, "text_mask": mask}
      if text.null == "empty":
        shapes |= {"null_text": states, "null_text_mask": mask}
    return shapes

  def losses(
    self,
    rebuild: Callable[[weights.Weights, weights.Weights], Model],
    params: weights.Weights,
    frozen: weights.Weights,
    batch: Mapping[str, Array],
    key: PRNGKeyArray,
  ) -> tuple[Float[Array, " b"], Float[Array, " b"]]:
    """The loss of each example, and its log-SNR.

    Args:
      rebuild: `(params, frozen) -> model`.
      params: the trained weights.
      frozen: all others, a teacher's included.
      batch: of the shapes of `batch_shapes`.
      key: of all that is drawn.
    """
    experiment, model = self.experiment, rebuild(params, frozen)
    x = batch["video" if experiment.is_video else "image"]
    text_key, crop_key, condition_key, loss_key = jax.random.split(key, 4)
    mask_key, latent_key = (jax.random.fold_in(key, number) for number in (4, 6))
    conditioning = model.encode_text(batch)
    if experiment.text:
      if experiment.text.null == "empty" and "null_text" not in conditioning:
        raise ValueError(
          "config.data.embeddings is empty: text.null='empty' needs the states of the empty caption, which lumiere.embed writes"
        )
      dropped = jax.random.bernoulli(text_key, experiment.text.drop_rate, (len(x),))
      conditioning = drop_text(conditioning, dropped)
    if experiment.is_super_resolution:
      config = experiment.super_resolution
      if config.crop:
        x = random_crop(x, config.crop, config.factor, crop_key)
      conditioning |= self.low_res_conditioning(x, condition_key)
    if experiment.masks:
      mask = masks.draw_masks(experiment.masks, mask_key, x.shape)
      conditioning |= {"known": masks.shown(*model.known(x, mask))}
    x = model.encode(x, latent_key)
    schedule = experiment.diffusion.make_schedule()
    objective = experiment.diffusion.make_objective()
    levels, teacher = experiment.train.make_levels(), None
    if experiment.distillation:
      teacher = rebuild(frozen[TEACHER], frozen).denoiser(schedule)
      scales, scale_key = experiment.distillation.guidance_scales, jax.random.fold_in(key, 5)
      if scales:
        told = jax.random.uniform(scale_key, (len(x),), minval=scales[0], maxval=scales[1])
        conditioning |= {"guidance_scale": told}
      if experiment.distillation.halves_steps:
        passed = self.teachers_log_snrs()
        levels = StartsOfSteps(passed)
        threshold = experiment.sampling.make_threshold()
        teacher = two_steps_in_one(teacher, passed, objective.prediction, threshold)
      elif scales:
        teacher = classifier_free(teacher, unconditional, told)
    return objective.losses(
      model.denoiser(schedule), schedule, x, loss_key, conditioning, levels, teacher
    )

  def teachers_log_snrs(self) -> Float64[np.ndarray, " n"]:
    """The levels of `sampling`, and between two of them the one that a sampling of twice as many steps passes."""
    schedule, sampling = self.experiment.diffusion.make_schedule(), self.experiment.sampling
    passed = sampling.make_levels().visited(schedule, 2 * sampling.num_steps)
    passed[::2] = sampling.make_levels().visited(schedule, sampling.num_steps)
    return passed

  def low_res_conditioning(
    self, x: Float[ArrayLike, "b ... c"], key: PRNGKeyArray
  ) -> dict[str, Array]:
    """The training condition of a target: degraded, upsampled, and noised at a level drawn from U(0, 1)."""
    degrade_key, level_key, noise_key = jax.random.split(key, 3)
    config = self.experiment.super_resolution
    upsampled = upsample(degrade(x, config.factor, degrade_key), config.factor, config.aligned)
    level = jax.random.uniform(level_key, (len(x),))
    if (
      not self.experiment.model.augmentation_embedding
    ):  # without an embedding of the level, the condition is clean
      level = jnp.zeros_like(level)
    log_snr = self.experiment.diffusion.make_schedule().log_snr(level)
    return {
      "low_res": augment(upsampled, log_snr, jax.random.normal(noise_key, x.shape)),
      "augmentation_level": level,
    }


def random_crop(
  x: Float[Array, "b ... h w c"], size: int, multiple: int, key: PRNGKeyArray
) -> Float[Array, "b ... size size c"]:
  """A square from each example, the same in all its frames, at a random place whose corner is a multiple of `multiple`."""
  *_, height, width, _ = x.shape
  if size > min(height, width):
    raise ValueError(f"super_resolution.crop={size} is larger than the frames, {height}x{width}")
  room = jnp.array([[(height - size) // multiple, (width - size) // multiple]])
  corners = multiple * jax.random.randint(key, (len(x), 2), 0, room + 1)

  def crop(example, corner):
    rows = jax.lax.dynamic_slice_in_dim(example, corner[0], size, axis=-3)
    return jax.lax.dynamic_slice_in_dim(rows, corner[1], size, axis=-2)

  return jax.vmap(crop)(x, corners)
