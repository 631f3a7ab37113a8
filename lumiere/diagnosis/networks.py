"""A network with its weights, and how well it denoises by noise level, apart from how its training draws and weighs the levels."""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from diffusion.objective import PREDICTIONS, convert
from diffusion.schedule import alpha_sigma
from lumiere.experiment import PARENTS, Experiment
from lumiere.model import abstract_model, image_of
from lumiere.sections import EvaluationConfig
from lumiere.trained import Trained
from lumiere.training.stages import Stage, random_crop
from lumiere.weights import Weights

Batch = Mapping[str, Array | np.ndarray]


@dataclasses.dataclass(frozen=True)
class Network:
  """A model of some stage.

  Attributes:
    experiment: of its training.
    params: its trained weights.
    frozen: its frozen weights.
  """

  experiment: Experiment
  params: Weights
  frozen: Weights

  @classmethod
  def image_of(cls, trained: Trained) -> "Network":
    """The image network of a run: its own, or the one that a video run has frozen."""
    experiment = trained.experiment
    if not experiment.is_video:
      return cls(experiment, trained.params, {})
    data = dataclasses.replace(experiment.data, num_frames=1)
    image = dataclasses.replace(
      experiment, stage=PARENTS[experiment.stage], temporal=None, masks=None, data=data,
      evaluation=EvaluationConfig(),
    )  # fmt: skip
    return cls(image, image_of(experiment, trained.frozen), {})

  def holding(self, params: Weights) -> "Network":
    """The same network with other trained weights; what is compiled is shared."""
    other = dataclasses.replace(self, params=params)
    other.__dict__["_measure"] = self._measure
    return other

  def errors(
    self, batch: Batch, log_snrs: Sequence[float], told: float = 0.0
  ) -> dict[str, Float[np.ndarray, " levels"]]:
    """Mean square error of the clean pictures at each noise level, if what the network gives is read as eps, v or x0.

    Args:
      batch: `video` or `image`, and captions; see `lumiere.data.loader`. A picture for a video network, and the contrary, is
        no input.
      log_snrs: noise levels.
      told: added to the level that the network is told.
    """
    levels = jnp.asarray(log_snrs, jnp.float32)
    found = self._measure(self.params, self.frozen, batch, levels, levels + told, jax.random.key(0))
    return dict(zip(PREDICTIONS, np.asarray(found).T, strict=True))

  def error(self, batch: Batch, log_snrs: Sequence[float]) -> Float[np.ndarray, " levels"]:
    """The same, read as the experiment says."""
    return self.errors(batch, log_snrs)[self.experiment.diffusion.prediction]

  @functools.cached_property
  def _measure(self) -> Callable:
    experiment = self.experiment
    stage, schedule = Stage(experiment), experiment.diffusion.make_schedule()
    rebuild, _, _ = abstract_model(experiment)
    lowest, highest = float(schedule.log_snr(1.0)), float(schedule.log_snr(0.0))

    @jax.jit
    def measure(params, frozen, batch, levels, told, key):
      model = rebuild(params, frozen)
      x = batch["video" if experiment.is_video else "image"]
      noise_key, crop_key, condition_key = jax.random.split(key, 3)
      conditioning = model.encode_text(batch)
      if config := experiment.super_resolution:
        if config.crop:
          x = random_crop(x, config.crop, config.factor, crop_key)
        conditioning |= stage.low_res_conditioning(x, condition_key)
      denoiser, noise = model.denoiser(schedule), jax.random.normal(noise_key, x.shape)

      def at(level):
        log_snr, of_network = level
        alpha, sigma = alpha_sigma(log_snr)
        z = alpha * x + sigma * noise
        every = lambda value: jnp.full(len(x), value)
        prediction = denoiser(z, every(jnp.clip(of_network, lowest, highest)), conditioning)
        clean = (convert(prediction, z, every(log_snr), kind, "x0") for kind in PREDICTIONS)
        return jnp.stack([jnp.mean(jnp.square(each - x)) for each in clean])

      return jax.lax.map(at, (levels, told))

    return measure


def as_images(batch: Batch) -> dict[str, np.ndarray]:
  """The middle frame of each clip of a batch."""
  if "image" in batch:
    return dict(batch)
  rest = {name: x for name, x in batch.items() if name != "video"}
  return rest | {"image": batch["video"][:, batch["video"].shape[1] // 2]}


def with_the_next_caption(batch: Batch) -> dict[str, np.ndarray]:
  """The batch with each caption replaced by that of the next example."""
  names = ("tokens", "mask", "text", "text_mask")
  return {name: np.roll(x, 1, axis=0) if name in names else x for name, x in batch.items()}
