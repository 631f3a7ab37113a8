"""Metrics of a run: loss, gradient norm, and loss by noise level."""

import flax
import jax.numpy as jnp
from clu import metrics
from jaxtyping import Array, Float

# Borders between noise levels, in log-SNR: from nearly pure noise to nearly clean.
LOG_SNR_BORDERS = (-6.0, -2.0, 2.0, 6.0)


@flax.struct.dataclass
class LossByNoise(metrics.Metric):
  """Mean loss of the examples in each band of log-SNR; NaN where a band saw none."""

  total: Float[Array, " bands"]
  count: Float[Array, " bands"]

  @classmethod
  def empty(cls):
    """No example yet."""
    zeros = jnp.zeros(len(LOG_SNR_BORDERS) + 1)
    return cls(zeros, zeros)

  @classmethod
  def from_model_output(cls, losses: Float[Array, " b"], log_snr: Float[Array, " b"], **_):
    """From each example's loss and noise level."""
    bands = jnp.searchsorted(jnp.array(LOG_SNR_BORDERS), log_snr)
    empty = cls.empty()
    return cls(empty.total.at[bands].add(losses), empty.count.at[bands].add(1.0))

  def merge(self, other):
    """Over more examples."""
    return LossByNoise(self.total + other.total, self.count + other.count)

  def compute(self):
    """[bands] mean losses."""
    return jnp.where(self.count > 0, self.total / jnp.maximum(self.count, 1), jnp.nan)


@flax.struct.dataclass
class StepMetrics(metrics.Collection):
  """Of one step, or merged over several."""

  loss: metrics.Average.from_output("loss")
  grad_norm: metrics.Average.from_output("grad_norm")
  by_noise: LossByNoise


def scalars(collected: StepMetrics, prefix: str) -> dict[str, float]:
  """Names and numbers for a metric writer; bands that saw no example are left out."""
  values = collected.compute()
  borders = ("-inf", *(f"{border:g}" for border in LOG_SNR_BORDERS), "inf")
  bands = {
    f"{prefix}/loss_log_snr_{low}_to_{high}": float(value)
    for low, high, value in zip(borders[:-1], borders[1:], values["by_noise"], strict=True)
    if value == value  # not NaN
  }
  return {f"{prefix}/loss": float(values["loss"])} | bands
