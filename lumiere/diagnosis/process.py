"""Whether the process fits imported weights: what they predict, and which noise levels they were told.

A trained network denoises best when it is read as it was trained. So each other reading is tried: its output as eps, v and x0, and
the number that it embeds for another noise level than the true one. Errors are compared by their logarithm, averaged over levels.
"""

from collections.abc import Sequence

import numpy as np

from lumiere.diagnosis.findings import Finding, Plot, judged
from lumiere.diagnosis.networks import Batch, Network

LEVELS = (-8.0, -6.0, -4.0, -2.0, 0.0, 2.0, 4.0)
SHIFTS = (-4.0, -2.0, -1.0, 1.0, 2.0, 4.0)
# Differences of mean log errors that are no accident.
OF_READINGS, OF_SHIFTS = 0.1, 0.05


def look(network: Network, batch: Batch) -> list[Finding]:
  """Findings of an image network on pictures."""
  readings = network.errors(batch, LEVELS)
  return [
    denoising(network, batch, readings[network.experiment.diffusion.prediction]),
    prediction(network, readings),
    schedule(network, batch, readings),
  ]


def guess(batch: Batch, log_snrs: Sequence[float]) -> np.ndarray:
  """Error of the best guess that looks at one pixel at a time, for pixels of a normal distribution."""
  x = batch["image" if "image" in batch else "video"]
  variance = float(np.var(x, axis=tuple(range(x.ndim - 1))).mean())
  return variance / (1 + np.exp(np.asarray(log_snrs)) * variance)


def denoising(network: Network, batch: Batch, errors: np.ndarray) -> Finding:
  """Whether the network denoises better than a guess pixel by pixel."""
  ratio = errors / guess(batch, LEVELS)
  levels = ", ".join(f"{r:.2g} at {level:g}" for level, r in zip(LEVELS, ratio, strict=True))
  lines = {
    "network": list(zip(LEVELS, errors.tolist(), strict=True)),
    "pixel by pixel": list(zip(LEVELS, guess(batch, LEVELS).tolist(), strict=True)),
  }
  bad = float(np.mean(np.log(ratio)))
  return judged(
    "image network",
    "wrong" if bad > 0 or not np.isfinite(errors).all() else "fine",
    f"its error over that of a guess pixel by pixel, by log-SNR: {levels}",
    "these weights do not denoise this data as they are read: see the next lines, and whether the pictures are of the kind "
    "that they were trained on",
    Plot(lines, "log-SNR", "mean square error of the clean picture"),
  )


def prediction(network: Network, readings: dict[str, np.ndarray]) -> Finding:
  """Whether what the network gives is what the config takes it for."""
  own = network.experiment.diffusion.prediction
  scores = {kind: float(np.mean(np.log(errors))) for kind, errors in readings.items()}
  best = min(scores, key=scores.get)
  others = ", ".join(
    f"{np.exp(s - scores[own]):.2g} times if {kind}" for kind, s in scores.items() if kind != own
  )
  is_wrong = best != own and scores[own] - scores[best] > OF_READINGS
  return judged(
    "prediction",
    "wrong" if is_wrong else "fine",
    f"diffusion.prediction={own!r}; the error would be {others}",
    f"the weights predict {best}: set diffusion.prediction={best!r} where they were imported",
  )


def schedule(network: Network, batch: Batch, readings: dict[str, np.ndarray]) -> Finding:
  """Whether the number that the network embeds stands for the true noise level."""
  own = network.experiment.diffusion.prediction
  # As the weights would be read: a wrong prediction type has a line of its own.
  kind = min(readings, key=lambda kind: float(np.mean(np.log(readings[kind]))))
  scores = {0.0: float(np.mean(np.log(readings[kind])))}
  for shift in SHIFTS:
    scores[shift] = float(np.mean(np.log(network.errors(batch, LEVELS, shift)[kind])))
  best = min(scores, key=scores.get)
  ratio = np.exp(scores[best] - scores[0.0])
  is_wrong = best != 0 and scores[0.0] - scores[best] > OF_SHIFTS
  lines = {
    "error": sorted((shift, float(np.exp(score - scores[0.0]))) for shift, score in scores.items())
  }
  return judged(
    "schedule",
    "wrong" if is_wrong else "fine",
    f"the network denoises best when it is told the true log-SNR{f' {best:+g}, with {ratio:.2f} times the error' if best else ''}"
    + ("" if kind == own else f" (read as {kind})"),
    f"the weights were trained with another schedule than diffusion.schedule={dict(network.experiment.diffusion.schedule)}: "
    "its noise levels at the timesteps that the network is told are others",
    Plot(lines, "log-SNR that the network is told, from the true one", "error, relative"),
  )
