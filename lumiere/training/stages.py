"""The four training stages. A stage defines the network, what is trained, and how a batch becomes losses.

    t2i        images            text -> image                        everything trains, the text encoder too
    stunet     videos            text (and known pixels) -> video     inflation trains; the t2i network is frozen
    ssr_image  image crops       low resolution -> high resolution    everything trains
    ssr        video windows     low resolution -> high resolution    inflation trains; the ssr_image network is frozen

They differ in two ways only: image or video, base or super-resolution. The loop knows none of them by name.
"""

import dataclasses
import math
from collections.abc import Mapping

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, PRNGKeyArray

from lumiere import masks, weights
from lumiere.experiment import PARENTS, Experiment
from lumiere.model import Model, build_model, drop_text
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
    self, model: Model, batch: Mapping[str, Array], key: PRNGKeyArray
  ) -> tuple[Float[Array, " b"], Float[Array, " b"]]:
    """The loss of each example, and its log-SNR."""
    experiment = self.experiment
    x = batch["video" if experiment.is_video else "image"]
    text_key, crop_key, condition_key, loss_key = jax.random.split(key, 4)
    mask_key = jax.random.fold_in(key, 4)
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
      conditioning |= {"known": masks.shown(x, mask)}
    schedule = experiment.diffusion.make_schedule()
    objective = experiment.diffusion.make_objective()
    levels = experiment.train.make_levels()
    return objective.losses(model.denoiser(schedule), schedule, x, loss_key, conditioning, levels)

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
