"""The training state, one plain pytree. Frozen weights and random keys are not part of it."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax

from lumiere.weights import Weights


@jax.tree_util.register_dataclass
@dataclasses.dataclass
class TrainState:
  """The trainable weights, their average and the optimizer state.

  Attributes:
    step: number of steps taken, an int32 scalar. (Untyped, as trees of shardings and shapes have the same form.)
    params: trainable weights.
    ema: their exponential moving average, which sampling uses.
    opt_state: optimizer state.
    averages: further averages, by their length, that others are found from (`lumiere.averages`).
  """

  step: Any
  params: Weights
  ema: Weights
  opt_state: optax.OptState
  averages: Mapping[str, Weights] = dataclasses.field(default_factory=dict)


def init_state(
  params: Weights, optimizer: optax.GradientTransformation, lengths: Sequence[float] = ()
) -> TrainState:
  """The state before the first step. Load weights before, so that the averages start from them."""
  # Averages need buffers of their own, as the step donates all of them.
  copied = lambda: jax.tree.map(jnp.copy, params)
  averages = {f"{length:g}": copied() for length in lengths}
  return TrainState(jnp.zeros((), jnp.int32), params, copied(), optimizer.init(params), averages)
