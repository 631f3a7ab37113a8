"""One training step: a pure function of (state, frozen weights, batch).

A batch may be processed in several parts (microbatches), one after another; the gradient is the mean of theirs. Devices keep
their own examples: of k parts, part i holds examples i, i + k, i + 2k, ... All randomness is folded from the step number, so
that a resumed run repeats the uninterrupted one bit for bit.
"""

from collections.abc import Callable, Mapping

import einops
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array

from lumiere import averages
from lumiere.state import TrainState
from lumiere.training.metrics import StepMetrics
from lumiere.training.stages import Stage
from lumiere.weights import Weights

Rebuild = Callable[[Weights, Weights], object]


def make_train_step(
  stage: Stage, rebuild: Rebuild, optimizer: optax.GradientTransformation, shardings=None
):
  """The jitted step `(state, frozen, batch) -> (state, metrics)`; it donates the state.

  Args:
    stage: defines the losses of a batch.
    rebuild: `(params, frozen) -> model`.
    optimizer: over the trainable weights.
    shardings: of the state; None lets the compiler choose.
  """
  root = jax.random.key(stage.experiment.seed)
  decay, parts = stage.experiment.train.ema_decay, stage.experiment.train.num_microbatches

  def loss_of(params: Weights, frozen: Weights, batch, key):
    losses, log_snr = stage.losses(rebuild, params, frozen, batch, key)
    return jnp.mean(losses), (losses, log_snr)

  value_and_grad = jax.value_and_grad(loss_of, has_aux=True)

  def in_parts(params: Weights, frozen: Weights, batch, key):
    if parts == 1:
      (_, seen), grads = value_and_grad(params, frozen, batch, key)
      return grads, seen

    def body(total, part):
      (_, seen), grads = value_and_grad(params, frozen, *part)
      return jax.tree.map(lambda t, g: t + g / parts, total, grads), seen

    split = jax.tree.map(lambda x: einops.rearrange(x, "(b k) ... -> k b ...", k=parts), batch)
    zeros = jax.tree.map(jnp.zeros_like, params)
    grads, seen = jax.lax.scan(body, zeros, (split, jax.random.split(key, parts)))
    return grads, jax.tree.map(jnp.ravel, seen)

  def train_step(state: TrainState, frozen: Weights, batch: Mapping[str, Array]):
    key = jax.random.fold_in(root, state.step)
    grads, (losses, log_snr) = in_parts(state.params, frozen, batch, key)
    updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
    params = optax.apply_updates(state.params, updates)
    # Ramped up, so that the average soon forgets the initialisation.
    ramped = jnp.minimum(decay, (1.0 + state.step) / (10.0 + state.step))
    ema = optax.incremental_update(params, state.ema, 1.0 - ramped)
    metrics = StepMetrics.single_from_model_output(
      loss=jnp.mean(losses), grad_norm=optax.tree.norm(grads), losses=losses, log_snr=log_snr
    )
    kept = {
      length: averages.updated(average, params, state.step + 1, float(length))
      for length, average in state.averages.items()
    }
    return TrainState(state.step + 1, params, ema, opt_state, kept), metrics

  # Metrics are whole everywhere: every process reads them.
  outputs = None if shardings is None else (shardings, jax.P())
  return jax.jit(train_step, donate_argnums=0, out_shardings=outputs)


def make_eval_step(stage: Stage, rebuild: Rebuild, shardings=None):
  """The jitted `(params, frozen, batch, index) -> metrics`: the same losses, with noise fixed by the batch's index."""
  root = jax.random.key(stage.experiment.seed + 1)

  def eval_step(params: Weights, frozen: Weights, batch: Mapping[str, Array], index):
    key = jax.random.fold_in(root, index)
    losses, log_snr = stage.losses(rebuild, params, frozen, batch, key)
    return StepMetrics.single_from_model_output(
      loss=jnp.mean(losses), grad_norm=jnp.zeros(()), losses=losses, log_snr=log_snr
    )

  return jax.jit(eval_step, out_shardings=None if shardings is None else jax.P())
