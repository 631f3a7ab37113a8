"""How far a denoiser of moving shapes is from the best one there is, by noise level.

The best guess of a clip x, given its noisy version z = alpha x + sigma eps and its caption, is the mean of the clips that the
caption may mean, each weighed by how well it explains z:

    E[x | z, caption] ~ sum_i w_i x_i / sum_i w_i,   w_i = exp(-|z - alpha x_i|^2 / (2 sigma^2)),   x_i drawn from the world (1)

The mean square error of no denoiser is below that of (1) with many x_i. With few of them that explain z, where there is little
noise, the sum misses clips that come nearer: then its error is too large, and its effective number of clips, which is given
beside it, is small.

Whether a model uses the motion that a caption names shows in its error with a caption of another motion: if that is no larger, it
does not.
"""

import dataclasses
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from diffusion.objective import convert
from diffusion.schedule import alpha_sigma
from lumiere.data.moving_shapes.captions import parse, write_caption
from lumiere.data.moving_shapes.render import render
from lumiere.data.moving_shapes.scene import MOTIONS, SPEEDS, Scene, Thing, place
from lumiere.sampling.generator import Generator

# Seconds that everything stays in view.
DURATION = 2.0


@dataclasses.dataclass(frozen=True)
class Gap:
  """Mean square errors at one noise level, with pixels in [-1, 1].

  Attributes:
    log_snr: the level.
    model: error of the model.
    misled: its error with a caption of another motion.
    best: error of equation (1).
    effective: its effective number of clips, (sum w)^2 / sum w^2; the median of all z.
  """

  log_snr: float
  model: float
  misled: float
  best: float
  effective: float


def scenes_of(caption: str, count: int, rng: np.random.Generator) -> list[Scene]:
  """Scenes that a caption may mean; raises ValueError if it is not of the grammar or names several things."""
  meaning = parse(caption)
  if len(meaning.things) != 1:
    raise ValueError(f"caption {caption!r} names {len(meaning.things)} things; 1 is known here")
  (asked,) = meaning.things
  scenes = []
  for _ in range(count):
    speed = asked.speed
    if speed is None and asked.motion != "still":
      speed = str(rng.choice(SPEEDS))
    thing = Thing(asked.shape, asked.colour, asked.motion, speed, (0.5, 0.5), 0.0)
    scenes.append(Scene((place(rng, thing, DURATION),), meaning.background))
  return scenes


def clips_of(
  caption: str, count: int, data, is_video: bool, rng: np.random.Generator
) -> Float[np.ndarray, "count t h w 3"]:
  """Clips that a caption may mean, as the data have them; of pictures a frame from anywhere in a clip."""
  total = round(DURATION * data.fps)
  frames = data.num_frames if is_video else 1
  clips = [
    render(scene, frames, data.fps, data.size, int(rng.integers(total - frames + 1)))
    for scene in scenes_of(caption, count, rng)
  ]
  return np.stack(clips).astype(np.float32)


def with_another_motion(caption: str, rng: np.random.Generator) -> str:
  """A caption of the same thing on the same background, with another motion; its wording may differ too.

  Raises:
    ValueError: as `scenes_of`.
  """
  (scene,) = scenes_of(caption, 1, rng)
  (thing,) = scene.things
  motion = str(rng.choice([other for other in MOTIONS if other != thing.motion]))
  speed = None if motion == "still" else str(rng.choice(SPEEDS))
  other = dataclasses.replace(thing, motion=motion, speed=speed)
  return write_caption(dataclasses.replace(scene, things=(other,)), rng)


def posterior_mean(
  z: Float[np.ndarray, " d"], log_snr: float, clips: Float[np.ndarray, "n d"]
) -> tuple[Float[np.ndarray, " d"], float]:
  """Equation (1) and its effective number of clips."""
  alpha, sigma = (float(part) for part in alpha_sigma(jnp.float32(log_snr)))
  # |z - alpha x|^2 without its part that is the same for all x.
  fit = alpha * (clips @ z) - alpha**2 * np.einsum("nd,nd->n", clips, clips) / 2
  weights = np.exp((fit - fit.max()) / sigma**2)
  weights /= weights.sum()
  return weights @ clips, float(1 / np.sum(weights**2))


def measure(
  generator: Generator,
  captions: Sequence[str],
  log_snrs: Sequence[float],
  num_scenes: int,
  seed: int = 0,
) -> list[Gap]:
  """Errors of a base, or of an image model, and of the best denoiser, on the same noisy clips.

  Args:
    generator: the model, of the endless world.
    captions: of one thing each; a clip is drawn for each.
    log_snrs: noise levels.
    num_scenes: clips in the sum of equation (1), for each caption.
    seed: of everything.
  """
  data, is_video = generator.experiment.data, generator.experiment.is_video
  prediction, rng = generator.experiment.diffusion.prediction, np.random.default_rng(seed)
  words = np.random.default_rng([seed, 1])  # so that the clips are the same whatever the captions
  rebuild, weights = generator._rebuild, generator._weights

  @jax.jit
  def denoised(params, frozen, z, log_snr, conditioning):
    denoiser = rebuild(params, frozen).denoiser(generator.schedule)
    return convert(denoiser(z, log_snr, conditioning), z, log_snr, prediction, "x0")

  sums = {level: np.zeros(3) for level in log_snrs}
  effective = {level: [] for level in log_snrs}
  for caption in captions:
    clips = clips_of(caption, num_scenes + 1, data, is_video, rng)
    true, others = clips[0], clips[1:].reshape(num_scenes, -1)
    noise = rng.standard_normal((len(log_snrs), *true.shape), np.float32)
    levels = jnp.asarray(log_snrs, jnp.float32)
    alpha, sigma = (np.asarray(x)[:, None, None, None, None] for x in alpha_sigma(levels))
    z = alpha * true + sigma * noise
    given = jnp.asarray(z if is_video else z[:, 0])
    made, misled = (
      np.asarray(denoised(*weights, given, levels, generator.encode([text] * len(log_snrs))))
      for text in (caption, with_another_motion(caption, words))
    )
    for index, level in enumerate(log_snrs):
      mean, count = posterior_mean(z[index].ravel(), level, others)
      guesses = (made[index].ravel(), misled[index].ravel(), mean)
      sums[level] += [float(np.mean((guess - true.ravel()) ** 2)) for guess in guesses]
      effective[level].append(count)
  return [
    Gap(level, *(sums[level] / len(captions)), float(np.median(effective[level])))
    for level in log_snrs
  ]
