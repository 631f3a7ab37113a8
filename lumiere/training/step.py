"""One training step: a pure function of (state, frozen weights, batch).

All randomness is folded from the step number, so that a resumed run repeats the uninterrupted one bit for bit.
"""

from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array

from lumiere.training.metrics import StepMetrics
from lumiere.training.stages import Stage
from lumiere.training.state import TrainState
from lumiere.weights import Weights

Rebuild = Callable[[Weights, Weights], object]


def make_train_step(stage: Stage, rebuild: Rebuild, optimizer: optax.GradientTransformation):
  """The jitted step `(state, frozen, batch) -> (state, metrics)`; it donates the state.

  Args:
    stage: says how a batch becomes losses.
    rebuild: `(params, frozen) -> model`.
    optimizer: over the trainable weights.
  """
  root = jax.random.key(stage.experiment.seed)
  decay = stage.experiment.train.ema_decay

  def loss_of(params: Weights, frozen: Weights, batch, key):
    losses, log_snr = stage.losses(rebuild(params, frozen), batch, key)
    return jnp.mean(losses), (losses, log_snr)

  def train_step(state: TrainState, frozen: Weights, batch: Mapping[str, Array]):
    key = jax.random.fold_in(root, state.step)
    (loss, (losses, log_snr)), grads = jax.value_and_grad(loss_of, has_aux=True)(
      state.params, frozen, batch, key
    )
    updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
    params = optax.apply_updates(state.params, updates)
    # Ramped up, so that the average soon forgets the initialisation.
    ramped = jnp.minimum(decay, (1.0 + state.step) / (10.0 + state.step))
    ema = optax.incremental_update(params, state.ema, 1.0 - ramped)
    metrics = StepMetrics.single_from_model_output(
      loss=loss, grad_norm=optax.tree.norm(grads), losses=losses, log_snr=log_snr
    )
    return TrainState(state.step + 1, params, ema, opt_state), metrics

  return jax.jit(train_step, donate_argnums=0)


def make_eval_step(stage: Stage, rebuild: Rebuild):
  """The jitted `(params, frozen, batch, index) -> metrics`: the same losses, with noise fixed by the batch's index."""
  root = jax.random.key(stage.experiment.seed + 1)

  def eval_step(params: Weights, frozen: Weights, batch: Mapping[str, Array], index):
    losses, log_snr = stage.losses(rebuild(params, frozen), batch, jax.random.fold_in(root, index))
    return StepMetrics.single_from_model_output(
      loss=jnp.mean(losses), grad_norm=jnp.zeros(()), losses=losses, log_snr=log_snr
    )

  return jax.jit(eval_step)
