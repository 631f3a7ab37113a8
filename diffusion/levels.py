"""Which noise levels training draws and sampling visits, apart from the process and from the number that networks embed.

With a time u in [0, 1], drawn by training or passed by sampling, a schedule's level log_snr(u) becomes

    log_snr(u) + shift + (spread - 1) (log_snr(u) - log_snr(1/2))                                                   (1)

kept between the schedule's ends. Frames of a clip say the same over and over, so that layout and motion are decided at more
noise than in a still: a shift below 0 spends more of the work there, a spread above 1 leaves some for detail.
"""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float64

from diffusion.schedule import Schedule


@dataclasses.dataclass(frozen=True)
class Levels:
  """Equation (1).

  Attributes:
    shift: added to every log-SNR.
    spread: factor of the distances from the level at time 1/2.
  """

  shift: float = 0.0
  spread: float = 1.0

  def __post_init__(self):
    if not math.isfinite(self.shift):
      raise ValueError(f"log_snr_shift={self.shift} must be a finite number")
    if not 0 < self.spread < math.inf:
      raise ValueError(f"log_snr_spread={self.spread} must be above 0")

  def log_snr(self, schedule: Schedule, time: Float[Array, " b"]) -> Float[Array, " b"]:
    """The level at a time in [0, 1]."""
    return jnp.clip(self._free(schedule, time), schedule.log_snr(1.0), schedule.log_snr(0.0))

  def slope(self, schedule: Schedule, time: Float[Array, " b"]) -> Float[Array, " b"]:
    """-d log_snr / d time of equation (1): one over the density of levels, if times are uniform."""
    return -jax.vmap(jax.grad(lambda t: self._free(schedule, t)))(time)

  def _free(self, schedule: Schedule, time):
    log_snr = schedule.log_snr(time)
    return log_snr + (self.shift + (self.spread - 1) * (log_snr - float(schedule.log_snr(0.5))))

  def visited(self, schedule: Schedule, num_steps: int) -> Float64[np.ndarray, " n"]:
    """The levels that sampling passes: those of the schedule, all but the first and the last (clean data) moved.

    Raises:
      ValueError: if a level would be as noisy as the first one.
    """
    levels = schedule.sampling_log_snrs(num_steps)
    moved = levels[1:-1]
    moved = moved + (self.shift + (self.spread - 1) * (moved - float(schedule.log_snr(0.5))))
    if len(moved) and moved[0] <= levels[0]:
      raise ValueError(
        f"log_snr_shift={self.shift} leaves no room for num_steps={num_steps}: the second level would be {moved[0]:.3g}, "
        f"not above the first one, {levels[0]:.3g}"
      )
    return np.concatenate([levels[:1], moved, levels[-1:]])


@dataclasses.dataclass(frozen=True)
class StartsOfSteps:
  """The noise levels from which a student's steps start: what its training draws in place of `Levels` (`diffusion.distillation`).

  Attributes:
    log_snrs: the levels that the teacher passes, noisiest first, the last one clean: two steps for each of the student's.
  """

  log_snrs: Float64[np.ndarray, " n"]

  def log_snr(self, schedule: Schedule, time: Float[Array, " b"]) -> Float[Array, " b"]:
    """The level at a time in [0, 1], all equally likely."""
    starts = jnp.asarray(self.log_snrs[:-1:2], jnp.float32)
    index = jnp.minimum((time * len(starts)).astype(jnp.int32), len(starts) - 1)
    return starts[index]
