"""Variance-preserving diffusion processes, parametrised by log signal-to-noise ratios.

    z_t = alpha_t x + sigma_t eps,   eps ~ N(0, I),   alpha_t^2 + sigma_t^2 = 1                                     (1)
    log_snr_t = log(alpha_t^2 / sigma_t^2),   alpha_t^2 = sigmoid(log_snr_t),   sigma_t^2 = sigmoid(-log_snr_t)     (2)

Time runs from 0 (data) to 1 (noise). Outside of this file a noise level is given by its log-SNR. A schedule defines how
likely a level is in training, which levels sampling passes through, and the number that a network embeds (`timestep`).

`CosineSchedule` is continuous (Nichol & Dhariwal 2021 in the truncated form of Hoogeboom et al. 2023):

    log_snr(t) = -2 log tan(t_0 + t (t_1 - t_0)) + shift,   t_0, t_1 = arctan(exp(-log_snr_{max, min} / 2))          (3)

`DiscreteSchedule` has the N steps of DDPM, with the betas that public checkpoints were trained with. Between two steps its
log-SNR is interpolated linearly.
"""

import abc
import dataclasses
import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float64, PRNGKeyArray

KINDS = ("squaredcos_cap_v2", "linear", "scaled_linear")
SPACINGS = ("trailing", "leading", "linspace")


def alpha_sigma(log_snr: Float[Array, "*s"]) -> tuple[Float[Array, "*s"], Float[Array, "*s"]]:
  """Equation (2): signal and noise scale; exactly (1, 0) and (0, 1) at +inf and -inf."""
  return jnp.sqrt(jax.nn.sigmoid(log_snr)), jnp.sqrt(jax.nn.sigmoid(-log_snr))


def expand_like(per_example: Array, x: Array) -> Array:
  """[b] -> [b 1 ... 1], so that it multiplies x [b ...]."""
  return per_example.reshape(per_example.shape + (1,) * (x.ndim - per_example.ndim))


def resolution_shift(resolution: int, reference: int = 64) -> float:
  """Log-SNR shift with which noise destroys as much at `resolution` as at `reference` pixels (Hoogeboom et al., 2023)."""
  return 2 * math.log(reference / resolution)


class Schedule(abc.ABC):
  """The interface of a schedule. Functions of arrays return JAX arrays for JAX arrays, else NumPy float64.

  Attributes:
    num_timesteps: scale of the number that networks embed.
  """

  num_timesteps: int

  @abc.abstractmethod
  def log_snr(self, time):
    """Log-SNR at a time in [0, 1]."""

  @abc.abstractmethod
  def time(self, log_snr):
    """The inverse, clamped to [0, 1]."""

  def timestep(self, log_snr):
    """The number that networks embed, a float in [0, num_timesteps]."""
    return self.num_timesteps * self.time(log_snr)

  @abc.abstractmethod
  def sample_time(self, key: PRNGKeyArray, size: int) -> Float[Array, " b"]:
    """Times of a training batch."""

  @abc.abstractmethod
  def sampling_log_snrs(self, num_steps: int) -> Float64[np.ndarray, " n"]:
    """The num_steps + 1 levels that sampling passes through, from noise to clean data (+inf)."""


@dataclasses.dataclass(frozen=True)
class CosineSchedule(Schedule):
  """Equation (3).

  Attributes:
    log_snr_min: log-SNR at time 1, before the shift.
    log_snr_max: log-SNR at time 0, before the shift.
    log_snr_shift: added throughout; `resolution_shift` gives the one for a resolution.
    num_timesteps: scale of the number that networks embed.
  """

  log_snr_min: float = -15.0
  log_snr_max: float = 15.0
  log_snr_shift: float = 0.0
  num_timesteps: int = 1000

  def __post_init__(self):
    if self.log_snr_min >= self.log_snr_max:
      raise ValueError(
        f"log_snr_min={self.log_snr_min} must be below log_snr_max={self.log_snr_max}"
      )
    if not math.isfinite(self.log_snr_shift):
      raise ValueError(f"log_snr_shift={self.log_snr_shift} must be a finite number")
    _check_timesteps(self.num_timesteps)

  @functools.cached_property
  def _ends(self) -> tuple[float, float]:
    return math.atan(math.exp(-self.log_snr_max / 2)), math.atan(math.exp(-self.log_snr_min / 2))

  def log_snr(self, time):
    """See `Schedule`."""
    xp, (start, end) = _module(time), self._ends
    return -2 * xp.log(xp.tan(start + time * (end - start))) + self.log_snr_shift

  def time(self, log_snr):
    """See `Schedule`."""
    xp, (start, end) = _module(log_snr), self._ends
    angle = xp.arctan(xp.exp((self.log_snr_shift - log_snr) / 2))
    return xp.clip((angle - start) / (end - start), 0.0, 1.0)

  def sample_time(self, key: PRNGKeyArray, size: int) -> Float[Array, " b"]:
    """Evenly spaced times with one random offset, in random order: less variance than independent draws (VDM, appendix I.1)."""
    offset_key, order_key = jax.random.split(key)
    times = (jax.random.uniform(offset_key) + jnp.arange(size)) / size
    return jax.random.permutation(order_key, times)

  def sampling_log_snrs(self, num_steps: int) -> Float64[np.ndarray, " n"]:
    """Evenly spaced times from 1 down; the last target is clean data."""
    check_num_steps(num_steps)
    return np.append(self.log_snr(np.linspace(1, 0, num_steps + 1)[:-1]), np.inf)


@dataclasses.dataclass(frozen=True)
class DiscreteSchedule(Schedule):
  """The N steps that public models were trained with; time is step / N.

  Attributes:
    kind: "squaredcos_cap_v2" (Nichol & Dhariwal), "linear" (DDPM) or "scaled_linear" (latent diffusion).
    num_timesteps: N.
    beta_start: first beta of the linear kinds.
    beta_end: last beta of the linear kinds.
    spacing: which steps sampling takes (Lin et al. 2023, table 2): "trailing" begins at the last one, "leading" ends at
      the first one, "linspace" does both.
  """

  kind: str = "squaredcos_cap_v2"
  num_timesteps: int = 1000
  beta_start: float = 1e-4
  beta_end: float = 0.02
  spacing: str = "trailing"

  def __post_init__(self):
    for name, value, accepted in (("kind", self.kind, KINDS), ("spacing", self.spacing, SPACINGS)):
      if value not in accepted:
        raise ValueError(f"{name}={value!r} must be one of {', '.join(accepted)}")
    _check_timesteps(self.num_timesteps)

  @functools.cached_property
  def log_snrs(self) -> Float64[np.ndarray, " n"]:
    """Log-SNR of each step."""
    steps = self.num_timesteps
    if self.kind == "linear":
      betas = np.linspace(self.beta_start, self.beta_end, steps)
    elif self.kind == "scaled_linear":
      betas = np.linspace(self.beta_start**0.5, self.beta_end**0.5, steps) ** 2
    else:
      alpha_bar = np.cos((np.arange(steps + 1) / steps + 0.008) / 1.008 * np.pi / 2) ** 2
      betas = np.minimum(1 - alpha_bar[1:] / alpha_bar[:-1], 0.999)
    log_alpha_squared = np.cumsum(np.log1p(-betas))
    return log_alpha_squared - np.log(-np.expm1(log_alpha_squared))

  def log_snr(self, time):
    """See `Schedule`."""
    xp = _module(time)
    index = xp.asarray(time) * self.num_timesteps
    return xp.interp(index, xp.arange(self.num_timesteps), xp.asarray(self.log_snrs))

  def time(self, log_snr):
    """See `Schedule`."""
    xp = _module(log_snr)
    index = xp.interp(
      -xp.asarray(log_snr), xp.asarray(-self.log_snrs), xp.arange(self.num_timesteps) * 1.0
    )
    return index / self.num_timesteps

  def sample_time(self, key: PRNGKeyArray, size: int) -> Float[Array, " b"]:
    """Each step is equally likely."""
    return jax.random.randint(key, (size,), 0, self.num_timesteps) / self.num_timesteps

  def sampling_log_snrs(self, num_steps: int) -> Float64[np.ndarray, " n"]:
    """The levels of the chosen steps; the last target is clean data."""
    check_num_steps(num_steps)
    steps = self.num_timesteps
    if num_steps > steps:
      raise ValueError(
        f"num_steps={num_steps} must be at most num_timesteps={steps} of this schedule"
      )
    if self.spacing == "trailing":
      index = np.round(steps - np.arange(num_steps) * steps / num_steps) - 1
    elif self.spacing == "leading":
      index = np.arange(num_steps)[::-1] * (steps // num_steps)
    else:
      index = np.round(np.linspace(0, steps - 1, num_steps))[::-1]
    return np.append(self.log_snrs[index.astype(int)], np.inf)


def make_schedule(name: str, **options) -> Schedule:
  """The schedule named "cosine", or a discrete one named by its kind; `options` are the fields of its class.

  Raises:
    ValueError: for another name.
  """
  if name == "cosine":
    return CosineSchedule(**options)
  if name in KINDS:
    return DiscreteSchedule(name, **options)
  raise ValueError(f"schedule name={name!r} must be one of cosine, {', '.join(KINDS)}")


def check_num_steps(num_steps: int):
  """Raises ValueError unless there is at least one step."""
  if num_steps < 1:
    raise ValueError(f"num_steps={num_steps} must be 1 or more")


def _check_timesteps(num_timesteps: int):
  if num_timesteps < 1:
    raise ValueError(f"num_timesteps={num_timesteps} must be 1 or more")


def _module(x):
  return jnp if isinstance(x, jax.Array) else np
