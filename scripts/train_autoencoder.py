"""Trains a small autoencoder on pictures of moving shapes, for configs/t2i_latent_tiny.py.

python scripts/train_autoencoder.py --out=runs/autoencoder

It learns to give pictures back (mean absolute and square error), with latents held near a normal distribution by a small weight
(Rombach et al., 2022, without their perceptual and adversarial terms, which pictures of flat colours do without). Last, the
weights are changed so that latents have unit variance.
"""

import math
import sys
from pathlib import Path

import numpy as np
from absl import flags

from lumiere import cli

sys.path.insert(0, str(Path(__file__).parents[1]))  # for configs/

_OUT = flags.DEFINE_string("out", "runs/autoencoder", "The folder to write, not there yet.")
_STEPS = flags.DEFINE_integer("steps", 2000, "Steps of training.", lower_bound=1)
_BATCH = flags.DEFINE_integer("batch_size", 32, "Pictures of a step.", lower_bound=1)
LEARNING_RATE, REGULARISER = 2e-3, 1e-4
REPORTS = 10  # lines that say how it goes
JUDGED = 16  # batches that are not trained on


def main():
  """Trains, scales, measures and writes."""
  import jax
  import jax.numpy as jnp
  import optax

  from configs import t2i_latent_tiny
  from lumiere import files, pretrained_autoencoder, weights
  from lumiere.data import frames
  from lumiere.experiment import Experiment
  from lumiere.latents.autoencoder import Autoencoder
  from lumiere.training import loop

  config = t2i_latent_tiny.get_config()
  config.train.batch_size = _BATCH.value
  experiment = Experiment.from_config(config)
  make = lambda: Autoencoder(experiment.autoencoder, rngs=weights.Seeds(experiment.seed))
  rebuild, params, _ = weights.split(make())
  schedule = optax.warmup_cosine_decay_schedule(0, LEARNING_RATE, 50, max(_STEPS.value, 51))
  optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(schedule))
  state = optimizer.init(params)

  def loss_of(params, images, key):
    network = rebuild(params, {})
    mean, log_variance = network.moments(images)
    error = network.decode(network.latents(mean, log_variance, key)) - images
    divergence = (jnp.square(mean) + jnp.exp(log_variance) - 1 - log_variance) / 2
    back = jnp.mean(jnp.abs(error)) + jnp.mean(jnp.square(error))
    return back + REGULARISER * jnp.mean(divergence), jnp.mean(jnp.square(error))

  @jax.jit
  def step(params, state, images, key):
    (_, error), grads = jax.value_and_grad(loss_of, has_aux=True)(params, images, key)
    updates, state = optimizer.update(grads, state, params)
    return optax.apply_updates(params, updates), state, error

  every = max(1, _STEPS.value // REPORTS)
  with files.whole_folder(Path(_OUT.value)) as partial:
    for number, batch in zip(
      range(1, _STEPS.value + 1), loop.make_loader(experiment, "train"), strict=False
    ):
      key = jax.random.fold_in(jax.random.key(experiment.seed), number)
      params, state, error = step(params, state, batch["image"], key)
      if number % every == 0:
        print(f"step {number} of {_STEPS.value}: {decibels(error):.1f} dB", flush=True)

    encode = jax.jit(lambda params, images: rebuild(params, {}).encode(images))
    back = jax.jit(lambda params, images: rebuild(params, {}).decode(encode(params, images)))
    batches = loop.make_loader(experiment, "validation")
    held_out = [batch["image"] for _, batch in zip(range(JUDGED), batches, strict=False)]
    spread = float(np.std([encode(params, images) for images in held_out]))
    params = scaled(params, 1 / spread)
    error = np.mean([np.square(back(params, images) - images) for images in held_out])
    pretrained_autoencoder.save(partial, experiment.autoencoder, params)
    pairs = np.stack([held_out[0], np.asarray(back(params, held_out[0]))], axis=1)[:8]
    frames.write_image(partial / "sheet.png", frames.contact_sheet(list(frames.to_uint8(pairs))))
  print(
    f"{_OUT.value}: {decibels(error):.1f} dB on pictures that it has not seen; latents had a standard deviation of {spread:.3f} and "
    "have 1 now; sheet.png shows eight pictures, as they are and given back"
  )


def scaled(params, factor: float):
  """The same autoencoder with latents that are `factor` times as large."""
  moments, latents = params["dense_moments"], params["dense_latents"]
  half = moments["bias"].size // 2  # means come first, logarithms of variances second
  means = np.where(np.arange(2 * half) < half, factor, 1.0).astype(np.float32)
  shift = np.where(np.arange(2 * half) < half, 0.0, 2 * math.log(factor)).astype(np.float32)
  return {
    **params,
    "dense_moments": {
      "kernel": moments["kernel"] * means,
      "bias": moments["bias"] * means + shift,
    },
    "dense_latents": {**latents, "kernel": latents["kernel"] / factor},
  }


def decibels(square_error: float) -> float:
  """Peak signal-to-noise ratio of pictures in [-1, 1]."""
  return 10 * math.log10(4 / float(square_error))


if __name__ == "__main__":
  cli.run(main)
