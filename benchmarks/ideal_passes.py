"""One pass against keyframes, with the best networks that there can be: what is lost by the division of labour alone.

python -m lumiere.fetch --what=i3d
python benchmarks/ideal_passes.py --out=out/ideal_passes

On the world of `orbits.py` the best denoiser is known: the mean of all clips that a caption may mean, each weighed by how well it
explains what is there. In place of trained networks it makes

    one pass           all 16 frames
    keyframes          every 4th frame, and then those between: in one window of all frames, in windows of 8 frames that overlap
                       (averaged at every step: MultiDiffusion), or in windows that do not
    true keyframes     those between the keyframes of true clips

by this project's sampler, windows and known pixels. `one_pass.py` is the same with trained networks. OUT/results.json,
OUT/table.md and OUT/slices.png are what docs/evidence.md shows.
"""

import functools
import json
import pathlib
import sys
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from absl import flags

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))

from lumiere import cli  # noqa: E402

PHASES, SIZES = 120, (0.27, 0.30, 0.33)
WINDOW = 8
WINDOWS = {  # stride, weights; 0 is one window of all frames
  "one window": (0, ""),
  "overlapping windows": (WINDOW // 2, "tapered"),
  "independent windows": (WINDOW, "uniform"),
}
METHODS = (
  "one pass",
  *(f"{keyframes}, {way}" for keyframes in ("keyframes", "true keyframes") for way in WINDOWS),
)
STEPS, BATCH = 64, 12
# How far a known pixel may be from that of a clip, in [-1, 1]: keyframes are themselves made, and clips are on a grid.
TOLERANCE = 0.1


def main():
  """Samples, measures, prints the tables and draws the slices."""
  from benchmarks import one_pass, orbits

  values = flags.FLAGS
  out = pathlib.Path(values.out)
  out.mkdir(parents=True, exist_ok=True)
  said = orbits.held_out(values.each)
  unsaid = [asked.without_motion() for asked in said]
  true = orbits.truth(said)
  sets, free = {"true clips": true}, {}
  results = {"true clips": orbits.measured(true, true, said)}
  for method in METHODS:
    sets[method] = sample_all(method, said)
    free[method] = sample_all(method, unsaid)
    results[method] = orbits.measured(sets[method], free[method], said)
    print(f"{method}: done", flush=True)
  others = orbits.truth(orbits.held_out(values.each, seed=2))
  for method, found in one_pass.distances(out, others, sets).items():
    results[method] |= found
  (out / "results.json").write_text(json.dumps(results, indent=2) + "\n")
  (out / "table.md").write_text(table := one_pass.tables(results) + "\n")
  print(table)
  one_pass.draw_slices(out / "slices.png", free)


def sample_all(method: str, asked: Sequence) -> np.ndarray:
  """Clips for all captions."""
  parts = []
  for first in range(0, len(asked), BATCH):
    some = list(asked[first : first + BATCH])
    padded = some + some[-1:] * (BATCH - len(some))  # one size, one compilation
    parts.append(make(method, padded, first)[: len(some)])
  return np.concatenate(parts)


def make(method: str, asked: Sequence, first: int) -> np.ndarray:
  """Clips for a batch of captions, uint8 [b t h w 3]; noise depends on `first` and on the stage."""
  from benchmarks import orbits
  from lumiere.data import frames

  shape = (len(asked), orbits.NUM_FRAMES, orbits.RESOLUTION, orbits.RESOLUTION, 3)
  mask = np.zeros((*shape[:4], 1), np.float32)
  if method == "one pass":
    made = sampled("", conditioning(asked, np.zeros(shape), mask), 2 * first)
    return frames.to_uint8(np.asarray(made))
  source, way = method.split(", ")
  if source == "keyframes":
    few = (slice(None), slice(None, None, orbits.EVERY))
    given = conditioning(asked, np.zeros(shape)[few], mask[few])
    keyframes = frames.to_uint8(np.asarray(sampled("keyframes", given, 2 * first)))
  else:
    keyframes = orbits.truth(asked)[:, :: orbits.EVERY]
  known = np.zeros(shape, np.float32)
  known[:, :: orbits.EVERY] = frames.to_float(keyframes)
  mask[:, :: orbits.EVERY] = 1
  made = sampled(way, conditioning(asked, known, mask), 2 * first + 1)
  return frames.to_uint8(np.asarray(made))


def conditioning(asked: Sequence, known: np.ndarray, mask: np.ndarray) -> dict[str, np.ndarray]:
  """What `best_denoiser` takes; captions that say rate and direction allow these only."""
  from benchmarks import orbits
  from lumiere.data import frames
  from lumiere.data.moving_shapes.scene import BACKGROUNDS, COLOURS

  as_float = lambda table, names: frames.to_float(np.array([table[n] for n in names], np.uint8))
  rates = [orbits.signed(quarters, way) for quarters, way in all_rates()]
  said = ["turns" in a.caption for a in asked]
  return {
    "colour": as_float(COLOURS, [a.scene.things[0].colour for a in asked]),
    "background": as_float(BACKGROUNDS, [a.scene.background for a in asked]),
    "allowed": np.array(
      [[not s or rate == a.turns for rate in rates] for s, a in zip(said, asked, strict=True)]
    ),
    "known": np.concatenate([known, mask], axis=-1).astype(np.float32),
  }


def sampled(way: str, given: dict[str, np.ndarray], seed: int):
  """Clips [b t h w 3] of a batch; `way` is a key of WINDOWS, "keyframes", or "" for one pass."""
  import jax

  return sampler(way)(given, jax.random.key(seed))


@functools.cache
def sampler(way: str):
  """The compiled sampler of a way to make clips."""
  import jax

  from benchmarks import orbits
  from diffusion import samplers
  from diffusion.known import keep_known
  from diffusion.schedule import make_schedule
  from multidiffusion.denoiser import windowed
  from multidiffusion.windows import plan_windows

  stride, weights = WINDOWS.get(way, (0, ""))
  every = orbits.EVERY if way == "keyframes" else 1
  num_frames = orbits.NUM_FRAMES // every
  denoiser = best_denoiser(Clips.draw(WINDOW if stride else num_frames, every))
  if stride:
    plan = plan_windows(num_frames, WINDOW, stride)
    denoiser = windowed(denoiser, plan, weights=weights, per_frame=["known"])

  def run(given, key):
    known, mask = given["known"][..., :3], given["known"][..., 3:]
    noise = jax.random.normal(key, known.shape)
    return samplers.sample(
      keep_known(denoiser, "x0", known, mask, noise),
      noise,
      given,
      key,
      sampler=samplers.make_sampler("ddim"),
      schedule=make_schedule("cosine"),
      prediction="x0",
      num_steps=STEPS,
    )

  return jax.jit(run)


class Clips(NamedTuple):
  """All clips of the world at some frames, but for their colours.

  Attributes:
    coverage: how far the circle covers each pixel.
    rates: of each clip, the place of its rate and direction among all.
  """

  coverage: np.ndarray
  rates: np.ndarray

  @classmethod
  def draw(cls, num_frames: int, every: int = 1) -> "Clips":
    """Every rate and direction, from `PHASES` places and in `SIZES`, at frames 0, `every`, 2 `every`, ..."""
    from benchmarks import orbits
    from lumiere.data.moving_shapes.render import render
    from lumiere.data.moving_shapes.scene import Scene

    drawn, rates = [], []
    for index, (quarters, way) in enumerate(all_rates()):
      for size in SIZES:
        for phase in 2 * np.pi * np.arange(PHASES) / PHASES:
          thing = orbits.orbiting("white", quarters, way, size, float(phase))
          video = render(
            Scene((thing,), "black"), num_frames, orbits.FPS / every, orbits.RESOLUTION
          )
          drawn.append((video[..., 0] + 1) / (video.max() + 1))
          rates.append(index)
    return cls(np.stack(drawn).astype(np.float32), np.array(rates))


def all_rates() -> list[tuple[int, str]]:
  """(quarter turns a second, direction), in a fixed order."""
  from benchmarks import orbits

  return [(quarters, way) for quarters in orbits.QUARTERS for way in orbits.WAYS]


def best_denoiser(clips: Clips):
  """`(z, log_snr, conditioning) -> E[x0 | z, caption, known pixels]`, x0 being one of the clips, all as likely.

  The conditioning has, for each example, `colour` and `background` [b 3] in [-1, 1], `allowed` [b rates] of the caption, and
  `known` [b t h w 4] as `lumiere.masks.shown` makes it, whole frames only.
  """
  import einops
  import jax
  import jax.numpy as jnp

  from diffusion.schedule import alpha_sigma, expand_like

  coverage = jnp.asarray(einops.rearrange(clips.coverage, "n t h w -> n t (h w)"))
  squares = jnp.sum(coverage**2, axis=2)

  def denoise(z, log_snr, conditioning):
    alpha, sigma = alpha_sigma(expand_like(log_snr, z))
    background = conditioning["background"][:, None, None, None]
    way = conditioning["colour"][:, None, None, None] - background
    length = jnp.sum(jnp.square(conditioning["colour"] - conditioning["background"]), axis=1)
    shown, mask = jnp.split(conditioning["known"], [3], axis=-1)
    is_known = mask[:, :, 0, 0, 0]
    # -|y - a x|^2 / (2 s^2) of each clip x and frame, up to what all clips share; y is a frame, known or noisy.
    scale = jnp.where(is_known, 1.0, alpha[:, 0, 0, 0])
    spread = jnp.where(is_known, TOLERANCE, sigma[:, 0, 0, 0])
    frame = jnp.where(mask > 0, shown, z) - scale[:, :, None, None, None] * background
    along = einops.rearrange(jnp.sum(frame * way, axis=-1), "b t h w -> b t (h w)")
    weight = scale / spread**2
    logits = jnp.einsum("ntp,btp->bn", coverage, along * weight[..., None])
    logits -= 0.5 * jnp.einsum("nt,bt->bn", squares, weight * scale * length[:, None])
    logits = jnp.where(conditioning["allowed"][:, clips.rates], logits, -jnp.inf)
    mean = jnp.einsum("bn,ntp->btp", jax.nn.softmax(logits, axis=1), coverage)
    mean = einops.rearrange(mean, "b t (h w) -> b t h w 1", h=z.shape[2])
    return background + mean * way

  return denoise


if __name__ == "__main__":
  flags.DEFINE_string("out", "out/ideal_passes", "Where tables and slices go.")
  flags.DEFINE_integer(
    "each", 8, "Captions of each rate and direction; with 34 there is FVD, too.", 1
  )
  cli.run(main)
