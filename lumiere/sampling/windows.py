"""Clips that are generated in windows along time: which ones, in what windows, and the caption of each window."""

import dataclasses
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from lumiere.experiment import Experiment
from lumiere.sampling.generator import Generator, check_length
from lumiere.sampling.prompts import Prompt, of_windows, timed
from lumiere.sections import SamplingConfig
from multidiffusion.windows import plan_windows


def in_windows(
  experiment: Experiment,
  sampling: SamplingConfig | None,
  prompts: Sequence[Prompt],
  num_frames: int,
  *,
  long: bool = False,
) -> SamplingConfig:
  """The sampling settings of a clip, with windows of the training length if it needs windows and the settings have none.

  Args:
    experiment: of the model.
    sampling: settings; None for those of the experiment.
    prompts: captions; those that change along time need windows.
    num_frames: frames of a video.
    long: whether videos longer than the model's training length need windows too.

  Raises:
    ValueError: if the model cannot generate that many frames, or a prompt holds for too few of them.
  """
  sampling, length = sampling or experiment.sampling, experiment.data.num_frames
  changing = any(len(timed(prompt)) > 1 for prompt in prompts)
  if not sampling.window and (changing or (long and num_frames > length)):
    # More windows over each frame when prompts change: the fade from one to the next is longer.
    stride = max(1, length // (4 if changing else 2))
    tapered = {"window": length, "stride": stride, "window_weights": "tapered"}
    sampling = dataclasses.replace(sampling, **tapered)
  check_length(experiment, sampling, num_frames)
  if changing:  # every prompt has a window
    of_windows(prompts, plan_windows(num_frames, sampling.window, sampling.stride))
  return sampling


def condition(
  generator: Generator, prompts: Sequence[Prompt], num_frames: int, sampling: SamplingConfig
) -> tuple[dict[str, jax.Array], tuple[str, ...]]:
  """(caption states, names of those with one value per window): [b ...], or [n b ...] if prompts change along time."""
  if all(len(timed(prompt)) == 1 for prompt in prompts):
    return dict(generator.encode([timed(prompt)[0] for prompt in prompts])), ()
  plan = plan_windows(num_frames, sampling.window, sampling.stride)
  rows = of_windows(prompts, plan)
  texts = sorted({text for row in rows for shares in row for text in shares})
  states = generator.encode(texts)
  shares = np.array([[[each.get(text, 0.0) for text in texts] for each in row] for row in rows])
  mix = lambda x: jnp.einsum("nbk,k...->nb...", jnp.asarray(shares, x.dtype), x)
  mixed = {}
  for name, x in states.items():
    if x.dtype == bool:  # which states are tokens: of any of the prompts
      mixed[name] = mix(x.astype(jnp.float32)) > 0
    elif generator.experiment.model.attends_to_padding:
      mixed[name] = mix(x)
    else:
      mixed[name] = mix(x * states[f"{name}_mask"][..., None])
  return mixed, tuple(mixed)
