"""The training state, one plain pytree. Frozen weights and random keys are not part of it."""

import dataclasses
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
  """

  step: Any
  params: Weights
  ema: Weights
  opt_state: optax.OptState


def init_state(params: Weights, optimizer: optax.GradientTransformation) -> TrainState:
  """The state before the first step. Load weights before, so that the average starts from them."""
  # The average needs buffers of its own, as the step donates both.
  return TrainState(
    jnp.zeros((), jnp.int32), params, jax.tree.map(jnp.copy, params), optimizer.init(params)
  )
