"""Prediction types and the training loss.

    z = alpha x + sigma eps,   v = alpha eps - sigma x                                                              (1)

so each of eps, v and x0 determines the other two:

    x0  = (z - sigma eps) / alpha = alpha z - sigma v                                                               (2)
    eps = (z - alpha x0) / sigma  = sigma z + alpha v                                                               (3)
    v   = (alpha z - x0) / sigma  = (eps - sigma z) / alpha                                                         (4)

The loss is the mean squared error of the predicted quantity. In terms of x0 this weights the squared error by snr (eps) or
snr + 1 (v). `min_snr` (Hang et al., 2023) makes the weight min(snr, gamma) for every prediction type. `v` makes it that of v,
min(snr + 1, gamma), as Li and He (2025) weigh x0: detail, which is learnt where there is little noise, is not lost beside the
large errors at high noise. `power` makes it snr^power, between uniform x0 (0) and eps (1). `sigmoid` (Kingma and
Gao, 2023; Hoogeboom et al., 2024) makes the loss an integral over log-SNR that does not depend on how likely the levels are:

    L = integral sigmoid(bias - log_snr) |eps error|^2 d log_snr,   estimated by its value over the density of levels  (5)

In terms of x0 the weight is exp(bias) sigmoid(log_snr - bias): constant above the bias, proportional to the SNR below it.
"""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from diffusion.levels import Levels, StartsOfSteps
from diffusion.schedule import Schedule, alpha_sigma, expand_like

PREDICTIONS = ("eps", "v", "x0")
WEIGHTINGS = ("uniform", "min_snr", "v", "power", "sigmoid")

# (z [b ...], log_snr [b], conditioning) -> prediction [b ...]; the leaves of a conditioning have a leading batch axis.
Denoiser = Callable[[Array, Array, Any], Array]


def convert(
  prediction: Float[Array, "b ..."],
  z: Float[Array, "b ..."],
  log_snr: Float[Array, " b"],
  source: str,
  target: str,
) -> Float[Array, "b ..."]:
  """Equations (2) to (4): converts one prediction type to another.

  Raises:
    ValueError: for a type that is not "eps", "v" or "x0".
  """
  for kind in (source, target):
    check_prediction(kind)
  alpha, sigma = alpha_sigma(expand_like(log_snr, z))
  match source, target:
    case "eps", "x0":
      return (z - sigma * prediction) / alpha
    case "v", "x0":
      return alpha * z - sigma * prediction
    case "x0", "eps":
      return (z - alpha * prediction) / sigma
    case "v", "eps":
      return sigma * z + alpha * prediction
    case "x0", "v":
      return (alpha * z - prediction) / sigma
    case "eps", "v":
      return (prediction - sigma * z) / alpha
  return prediction


@dataclasses.dataclass(frozen=True)
class Objective:
  """The training objective.

  Attributes:
    prediction: what the network predicts: "eps", "v" or "x0".
    weighting: "uniform" for that quantity, "min_snr", "v", "power" or "sigmoid".
    min_snr_gamma: gamma of min_snr.
    v_gamma: gamma of v.
    snr_power: exponent of power.
    sigmoid_bias: bias of sigmoid, in log-SNR.
  """

  prediction: str = "v"
  weighting: str = "uniform"
  min_snr_gamma: float = 5.0
  v_gamma: float = 16.0
  snr_power: float = 0.25
  sigmoid_bias: float = 0.0

  def __post_init__(self):
    check_prediction(self.prediction)
    if self.weighting not in WEIGHTINGS:
      raise ValueError(f"weighting={self.weighting!r} must be one of {', '.join(WEIGHTINGS)}")
    for name in ("min_snr_gamma", "v_gamma"):
      if getattr(self, name) <= 0:
        raise ValueError(f"{name}={getattr(self, name)} must be positive")
    for name in ("snr_power", "sigmoid_bias"):
      if not math.isfinite(getattr(self, name)):
        raise ValueError(f"{name}={getattr(self, name)} must be a finite number")

  def losses(
    self,
    denoiser: Denoiser,
    schedule: Schedule,
    x: Float[Array, "b ..."],
    key: PRNGKeyArray,
    conditioning: Any,
    levels: Levels | StartsOfSteps = Levels(),  # noqa: B008  (frozen)
    teacher: Denoiser | None = None,
  ) -> tuple[Float[Array, " b"], Float[Array, " b"]]:
    """Draws a noise level and noise for each example, and evaluates the denoiser.

    Args:
      denoiser: gives `prediction`.
      schedule: the process.
      x: clean data.
      key: of levels and noise.
      conditioning: passed to the denoiser.
      levels: which of the schedule's noise levels are drawn.
      teacher: gives `prediction` too, and the denoiser learns to give the same; None has it learn from the data.

    Returns:
      (losses, log_snr): weighted mean squared error of each example, in float32, and its noise level.
    """
    time_key, noise_key = jax.random.split(key)
    time = schedule.sample_time(time_key, len(x))
    log_snr = levels.log_snr(schedule, time)
    noise = jax.random.normal(noise_key, x.shape, x.dtype)
    alpha, sigma = alpha_sigma(expand_like(log_snr, x))
    z = alpha * x + sigma * noise
    if teacher is None:
      target = {"eps": noise, "v": alpha * noise - sigma * x, "x0": x}[self.prediction]
    else:
      target = jax.lax.stop_gradient(teacher(z, log_snr, conditioning).astype(jnp.float32))
    error = denoiser(z, log_snr, conditioning).astype(jnp.float32) - target
    weight = self.weight(log_snr)
    if self.weighting == "sigmoid":
      weight *= levels.slope(schedule, time)
    return weight * jnp.mean(jnp.square(error).reshape(len(x), -1), axis=1), log_snr

  def weight(self, log_snr: Float[Array, " b"]) -> Float[Array, " b"]:
    """Weight of the mean squared error at a noise level; for sigmoid, before the division by the density of levels."""
    if self.weighting == "uniform":
      return jnp.ones_like(log_snr)
    if self.weighting == "sigmoid":
      towards = {
        "eps": jnp.ones_like(log_snr),
        "v": jax.nn.sigmoid(log_snr),
        "x0": jnp.exp(log_snr),
      }[self.prediction]
      return towards * jax.nn.sigmoid(self.sigmoid_bias - log_snr)
    snr = jnp.exp(log_snr)
    implied = {"eps": snr, "v": snr + 1, "x0": jnp.ones_like(snr)}[self.prediction]
    if self.weighting == "power":
      return snr**self.snr_power / implied
    if self.weighting == "v":
      return jnp.minimum(snr + 1, self.v_gamma) / implied
    return jnp.minimum(snr, self.min_snr_gamma) / implied


def check_prediction(prediction: str):
  """Raises ValueError unless it is a prediction type."""
  if prediction not in PREDICTIONS:
    raise ValueError(f"prediction={prediction!r} must be one of {', '.join(PREDICTIONS)}")
