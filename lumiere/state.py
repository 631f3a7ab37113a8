"""What training carries from step to step, as one plain pytree. Frozen weights and random keys are not part of it."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import optax

from lumiere.weights import Weights


@jax.tree_util.register_dataclass
@dataclasses.dataclass
class TrainState:
  """The trainable weights and what goes with them.

  Attributes:
    step: steps taken, an int32 scalar (trees of shardings and the like have the same form, hence no type).
    params: trainable weights.
    ema: their exponential moving average: what is sampled from.
    opt_state: optimizer state.
  """

  step: Any
  params: Weights
  ema: Weights
  opt_state: optax.OptState


def init_state(params: Weights, optimizer: optax.GradientTransformation) -> TrainState:
  """The state before the first step. Weights are loaded before this, so that the average starts from them."""
  # The average needs buffers of its own: the step donates both.
  return TrainState(
    jnp.zeros((), jnp.int32), params, jax.tree.map(jnp.copy, params), optimizer.init(params)
  )
