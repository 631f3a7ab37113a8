"""Samplers: from noise to data in a few steps.

A step goes from the noise level t to a lower one, s. It takes x0 from the denoiser (predict, convert, threshold) and
combines it linearly with what is there, with coefficients that depend on t and s alone:

    z_s = a x0 + a' x0_previous + b z_t + c noise                                                                   (1)

With alpha_{t|s} = alpha_t / alpha_s and sigma_{t|s}^2 = sigma_t^2 - alpha_{t|s}^2 sigma_s^2:

    DDPM (Ho et al., 2020; ancestral, of the posterior q(z_s | z_t, x0))
        a = alpha_s sigma_{t|s}^2 / sigma_t^2,   b = alpha_{t|s} sigma_s^2 / sigma_t^2,
        c^2 = (sigma_{t|s}^2 sigma_s^2 / sigma_t^2)^(1 - gamma) (sigma_{t|s}^2)^gamma                               (2)
        where gamma is a constant, or predicted for each value (Nichol & Dhariwal, 2021, equation 15)
    DDIM (Song et al., 2021)
        c^2 = eta^2 sigma_s^2 / sigma_t^2 (1 - alpha_{t|s}^2),   b = sqrt(sigma_s^2 - c^2) / sigma_t,
        a = alpha_s - b alpha_t                                                                                     (3)
    DPM-Solver++(2M) (Lu et al., 2022), with h = (log_snr_s - log_snr_t) / 2 and k = h / (2 h_previous)
        b = sigma_s / sigma_t,   a = -alpha_s expm1(-h) (1 + k),   a' = alpha_s expm1(-h) k                         (4)
        k = 0 in the first step, and in the last one, whose target is clean and whose h is infinite.

The coefficients are computed in NumPy, in float64, before anything is traced. The last target is clean data: there every
sampler returns x0.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float64, Key

from diffusion.objective import Denoiser, convert
from diffusion.schedule import Schedule
from diffusion.thresholding import Threshold, static

# One row of (1) per step: "log_snr", "x0", "x0_previous", "z", "noise", "noise_ratio" (the noise of the larger variance
# divided by "noise") and "index". All are float32 except the last.
Table = dict[str, np.ndarray]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class State:
  """The state of sampling; leaves are arrays, or their shapes, hence no types.

  Attributes:
    z: the noisy data.
    x0: the last prediction of clean data: the history of multistep samplers, and the preview.
  """

  z: Any
  x0: Any


class Sampler:
  """Equation (1): `initialize`, `update` for every row of `table`, `finalize`."""

  def coefficients(self, log_snrs: Float64[np.ndarray, " n"]) -> dict[str, np.ndarray]:
    """Coefficients of (1) for the steps between consecutive levels; missing ones are zero."""
    raise NotImplementedError

  @property
  def is_stochastic(self) -> bool:
    """Whether steps add noise."""
    return False

  def table(self, log_snrs: Float64[np.ndarray, " n"]) -> Table:
    """The coefficients of all steps."""
    steps = len(log_snrs) - 1
    absent = {
      "x0_previous": np.zeros(steps),
      "noise": np.zeros(steps),
      "noise_ratio": np.ones(steps),
    }
    rows = absent | self.coefficients(log_snrs) | {"log_snr": log_snrs[:-1]}
    return {name: row.astype(np.float32) for name, row in rows.items()} | {
      "index": np.arange(steps, dtype=np.int32)
    }

  def initialize(self, noise: Float[Array, "b ..."]) -> State:
    """The state before the first step; `noise` is standard normal."""
    return State(noise, jnp.zeros_like(noise))

  def update(
    self, state: State, step: dict[str, Any], x0: Float[Array, "b ..."], noise: Array | None
  ) -> State:
    """One step: `step` is a row of `table`, `x0` the thresholded prediction, `noise` None for deterministic samplers."""
    z = step["x0"] * x0 + step["x0_previous"] * state.x0 + step["z"] * state.z
    return State(z if noise is None else z + step["noise"] * noise, x0)

  def finalize(self, state: State) -> Float[Array, "b ..."]:
    """The sample."""
    return state.z


@dataclasses.dataclass(frozen=True)
class DDPM(Sampler):
  """Equation (2); `gamma` in [0, 1] interpolates from the smaller to the larger of DDPM's two variances."""

  gamma: float = 0.0

  def __post_init__(self):
    _check_unit("gamma", self.gamma)

  @property
  def is_stochastic(self) -> bool:
    """See `Sampler`."""
    return True

  def coefficients(self, log_snrs: Float64[np.ndarray, " n"]) -> dict[str, np.ndarray]:
    """See `Sampler`."""
    alpha_t, sigma_t, alpha_s, sigma_s = _scales(log_snrs)
    ratio = alpha_t / alpha_s
    # sigma_{t|s}^2 = 1 - snr_t / snr_s times sigma_t^2: no difference of nearly equal numbers.
    larger = -np.expm1(log_snrs[:-1] - log_snrs[1:]) * sigma_t**2
    smaller = larger * sigma_s**2 / sigma_t**2
    with np.errstate(divide="ignore"):
      noise = np.where(smaller > 0, np.sqrt(smaller ** (1 - self.gamma) * larger**self.gamma), 0)
      noise_ratio = np.where(smaller > 0, np.sqrt(larger / smaller) ** (1 - self.gamma), 1)
    return {
      "x0": alpha_s * larger / sigma_t**2,
      "z": ratio * sigma_s**2 / sigma_t**2,
      "noise": noise,
      "noise_ratio": noise_ratio,
    }


@dataclasses.dataclass(frozen=True)
class DDIM(Sampler):
  """Equation (3); `eta` 0 is deterministic, 1 has DDPM's smaller variance."""

  eta: float = 0.0

  def __post_init__(self):
    _check_unit("eta", self.eta)

  @property
  def is_stochastic(self) -> bool:
    """See `Sampler`."""
    return self.eta > 0

  def coefficients(self, log_snrs: Float64[np.ndarray, " n"]) -> dict[str, np.ndarray]:
    """See `Sampler`."""
    alpha_t, sigma_t, alpha_s, sigma_s = _scales(log_snrs)
    noise = self.eta * sigma_s / sigma_t * np.sqrt(1 - (alpha_t / alpha_s) ** 2)
    z = np.sqrt(sigma_s**2 - noise**2) / sigma_t
    return {"x0": alpha_s - z * alpha_t, "z": z, "noise": noise}


@dataclasses.dataclass(frozen=True)
class DPMSolverPlusPlus2M(Sampler):
  """Equation (4): second order, deterministic, one call of the denoiser a step."""

  def coefficients(self, log_snrs: Float64[np.ndarray, " n"]) -> dict[str, np.ndarray]:
    """See `Sampler`."""
    _, sigma_t, alpha_s, sigma_s = _scales(log_snrs)
    h = np.diff(log_snrs) / 2
    k = np.zeros(len(h))
    k[1:-1] = h[1:-1] / (2 * h[:-2])
    towards = -alpha_s * np.expm1(-h)
    return {"x0": towards * (1 + k), "x0_previous": -towards * k, "z": sigma_s / sigma_t}


SAMPLERS = {"ddpm": DDPM, "ddim": DDIM, "dpm++": DPMSolverPlusPlus2M}


def make_sampler(name: str, **options) -> Sampler:
  """ "ddpm" with `gamma`, "ddim" with `eta`, or "dpm++".

  Raises:
    ValueError: for another name or a value out of range.
  """
  if name not in SAMPLERS:
    raise ValueError(f"sampler={name!r} must be one of {', '.join(SAMPLERS)}")
  return SAMPLERS[name](**options)


def denoise_step(
  denoiser: Denoiser,
  state: State,
  step: dict[str, Any],
  conditioning: Any,
  key: Key[Array, "..."],
  *,
  sampler: Sampler,
  prediction: str,
  threshold: Threshold,
) -> State:
  """One step of sampling, a pure function: for `jax.lax.scan`, or jitted in a host loop that shows progress.

  Args:
    denoiser: predicts `prediction`. If it returns twice as many channels as z has, the others are 2 gamma - 1 of equation
      (2), which only `DDPM` uses.
    state: the state before the step.
    step: a row of the sampler's table.
    conditioning: passed to the denoiser.
    key: of the whole sampling; the step's noise is drawn from it and the step's index. One key, or one per example [b],
      which makes an example's noise independent of its batch.
    sampler: how to step.
    prediction: "eps", "v" or "x0".
    threshold: keeps x0 in range.
  """
  log_snr = jnp.full(len(state.z), step["log_snr"], jnp.float32)
  predicted = denoiser(state.z, log_snr, conditioning)
  predicted, variance = jnp.split(predicted, [state.z.shape[-1]], axis=-1)
  x0 = threshold(convert(predicted, state.z, log_snr, prediction, "x0"))
  noise = None
  if sampler.is_stochastic:
    noise = draw_noise(fold_in(key, step["index"]), state.z.shape)
    if variance.size:
      noise *= step["noise_ratio"] ** ((variance + 1) / 2)
  return sampler.update(state, step, x0, noise)


def fold_in(key: Key[Array, "..."], data) -> Key[Array, "..."]:
  """`jax.random.fold_in` of one key, or of one key per example [b]."""
  return (
    jax.vmap(jax.random.fold_in, (0, None))(key, data)
    if key.ndim
    else jax.random.fold_in(key, data)
  )


def draw_noise(key: Key[Array, "..."], shape: tuple[int, ...]) -> Float[Array, "b ..."]:
  """Standard normal noise of a batch, from one key, or from one key per example [b]."""
  if key.ndim:
    return jax.vmap(lambda k: jax.random.normal(k, shape[1:]))(key)
  return jax.random.normal(key, shape)


def sample(
  denoiser: Denoiser,
  noise: Float[Array, "b ..."],
  conditioning: Any,
  key: Key[Array, "..."],
  *,
  sampler: Sampler,
  schedule: Schedule,
  prediction: str,
  num_steps: int,
  threshold: Threshold = static,
) -> Float[Array, "b ..."]:
  """Runs all steps in one scan.

  Args:
    denoiser: predicts `prediction`.
    noise: standard normal, of the shape of the sample.
    conditioning: passed to the denoiser.
    key: of the noise that stochastic samplers add.
    sampler: how to step.
    schedule: the noise levels to pass through.
    prediction: "eps", "v" or "x0".
    num_steps: calls of the denoiser.
    threshold: keeps predictions of x0 in range.

  Raises:
    ValueError: if num_steps is below 1.
  """
  table = sampler.table(schedule.sampling_log_snrs(num_steps))

  def body(state, step):
    options = dict(sampler=sampler, prediction=prediction, threshold=threshold)
    return denoise_step(denoiser, state, step, conditioning, key, **options), None

  state, _ = jax.lax.scan(body, sampler.initialize(noise), table)
  return sampler.finalize(state)


def _scales(log_snrs):
  """(alpha_t, sigma_t, alpha_s, sigma_s) of all steps."""
  alpha, sigma = (1 / np.sqrt(1 + np.exp(-sign * log_snrs)) for sign in (1, -1))
  return alpha[:-1], sigma[:-1], alpha[1:], sigma[1:]


def _check_unit(name: str, value: float):
  if not 0 <= value <= 1:
    raise ValueError(f"{name}={value} must be between 0 and 1")
