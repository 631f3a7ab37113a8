"""Optax from a config."""

import jax
import optax
import optax.contrib

from lumiere.sections import OptimizerConfig


def learning_rate(config: OptimizerConfig, num_steps: int) -> optax.Schedule:
  """Linear warm-up, then constant or a cosine down to zero at `num_steps`."""
  if config.decay == "cosine":
    after = optax.cosine_decay_schedule(
      config.learning_rate, max(num_steps - config.warmup_steps, 1)
    )
  else:
    after = optax.constant_schedule(config.learning_rate)
  warmup = optax.linear_schedule(0.0, config.learning_rate, config.warmup_steps)
  return optax.join_schedules([warmup, after], [config.warmup_steps])


def make_optimizer(config: OptimizerConfig, num_steps: int) -> optax.GradientTransformation:
  """Gradient clipping, then AdamW, Adafactor or Muon, with the learning rate of `learning_rate`."""
  rate = learning_rate(config, num_steps)
  clip = optax.clip_by_global_norm(config.clip_norm) if config.clip_norm else optax.identity()
  if config.name == "adafactor":
    return optax.chain(clip, optax.adafactor(rate, weight_decay_rate=config.weight_decay or None))
  if config.name == "muon":
    muon = optax.contrib.muon(
      rate,
      consistent_rms=0.2,  # steps as large as Adam's, so that its learning rates fit (Liu et al., 2025)
      weight_decay=config.weight_decay,
      adam_b1=config.b1,
      adam_b2=config.b2,
      adam_weight_decay=config.weight_decay,
      muon_weight_dimension_numbers=as_matrices,
    )
    return optax.chain(clip, muon)
  return optax.chain(
    clip, optax.adamw(rate, config.b1, config.b2, weight_decay=config.weight_decay)
  )


def as_matrices(params):
  """How Muon sees weights: a kernel maps all of its axes but the last to the last. The rest is None, and Adam's.

  Embeddings and tables of biases are looked up, not multiplied with (Jordan et al., 2024).
  """

  def matrix(path, leaf):
    if path[-1].key != "kernel":
      return None
    return optax.contrib.MuonDimensionNumbers(tuple(range(leaf.ndim - 1)), leaf.ndim - 1)

  return jax.tree_util.tree_map_with_path(matrix, params)
