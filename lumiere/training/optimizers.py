"""Optax from a config."""

import optax

from lumiere.experiment import OptimizerConfig


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
  """Gradient clipping, then AdamW or Adafactor, with the learning rate of `learning_rate`."""
  rate = learning_rate(config, num_steps)
  clip = optax.clip_by_global_norm(config.clip_norm) if config.clip_norm else optax.identity()
  if config.name == "adafactor":
    return optax.chain(clip, optax.adafactor(rate, weight_decay_rate=config.weight_decay or None))
  return optax.chain(
    clip, optax.adamw(rate, config.b1, config.b2, weight_decay=config.weight_decay)
  )
