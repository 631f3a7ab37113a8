"""How a run stands that is under way: its loss by noise level, its average, and whether it uses that frames belong together."""

import numpy as np
from etils import epath

from lumiere import checkpoints
from lumiere.diagnosis.findings import Finding, Plot, judged
from lumiere.diagnosis.networks import Batch, Network
from lumiere.diagnosis.process import guess
from lumiere.experiment import STAGES
from lumiere.training import samples

LEVELS = (-8.0, -6.0, -4.0, -2.0, 0.0, 2.0, 4.0)
CLIPS = 16


def look(workdir: epath.PathLike) -> list[Finding]:
  """Findings of the newest checkpoint of a run, on its held-out clips.

  Raises:
    CheckpointError: if there is none.
  """
  trained = checkpoints.load_trained(workdir, STAGES)
  experiment = trained.experiment
  averaged = Network(experiment, trained.params, trained.frozen)
  batch = next(samples.held_out_batches(experiment, CLIPS))
  errors = averaged.error(batch, LEVELS)
  found = [by_level(batch, errors, trained.step)]
  own = checkpoints.load_trained(workdir, STAGES, trained.step, averaged=False)
  found.append(average(experiment, errors, averaged.holding(own.params).error(batch, LEVELS)))
  if experiment.is_video:
    found.append(together(Network.image_of(trained), batch, errors))
  return found


def by_level(batch: Batch, errors: np.ndarray, step: int) -> Finding:
  """Where the loss stands at each noise level."""
  ratio = errors / guess(batch, LEVELS)
  levels = ", ".join(f"{r:.2g} at {level:g}" for level, r in zip(LEVELS, ratio, strict=True))
  lines = {
    f"step {step}": list(zip(LEVELS, errors.tolist(), strict=True)),
    "pixel by pixel": list(zip(LEVELS, guess(batch, LEVELS).tolist(), strict=True)),
  }
  return judged(
    "held-out error",
    "wrong" if not np.isfinite(errors).all() else "look" if ratio.max() > 1 else "fine",
    f"at step {step}, over that of a guess pixel by pixel, by log-SNR: {levels}",
    "where it is above 1 nothing is learnt yet: early in a run that is no surprise; later, look at train.log_snr_shift and "
    "log_snr_spread, which say how often a level is drawn",
    Plot(lines, "log-SNR", "mean square error of the clean clip"),
  )


def average(experiment, averaged: np.ndarray, own: np.ndarray) -> Finding:
  """Whether the average is behind the weights that it is of."""
  ratio = float(np.exp(np.mean(np.log(averaged / own))))
  return judged(
    "average",
    "look" if ratio > 1.1 else "fine",
    f"the averaged weights' error is {ratio:.2f} times that of the weights themselves (train.ema_decay={experiment.train.ema_decay:g})",
    "the average lags: samples show what the run was some time ago. Lower train.ema_decay for a run that is so short, or wait",
  )


def together(image: Network, batch: Batch, errors: np.ndarray) -> Finding:
  """How much better the clip is denoised as a whole than frame by frame, by the image network."""
  video = batch["video"]
  frames, rest = video.shape[1], {name: x for name, x in batch.items() if name != "video"}
  alone = np.mean(
    [image.error(rest | {"image": video[:, frame]}, LEVELS) for frame in range(0, frames, max(frames // 4, 1))],
    axis=0,
  )  # fmt: skip
  gain = 1 - errors / alone
  levels = ", ".join(f"{g:.0%} at {level:g}" for level, g in zip(LEVELS, gain, strict=True))
  lines = {
    "all frames together": list(zip(LEVELS, errors.tolist(), strict=True)),
    "each frame alone": list(zip(LEVELS, alone.tolist(), strict=True)),
  }
  return judged(
    "use of time",
    "look" if gain.max() < 0.05 else "fine",
    f"all frames together are denoised better than each alone, by log-SNR: {levels}",
    "the temporal layers add nothing yet: they begin as an identity, and take hundreds of steps",
    Plot(lines, "log-SNR", "mean square error of the clean clip"),
  )
