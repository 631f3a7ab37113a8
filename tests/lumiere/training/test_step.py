"""What a training step holds in memory, as measured by the compiler."""

import functools

import jax
import optax
import pytest

from lumiere import weights
from lumiere.experiment import Experiment
from lumiere.model import abstract_model
from lumiere.state import init_state
from lumiere.training.stages import Stage
from lumiere.training.step import make_train_step
from tests.lumiere.experiments import micro_config


@functools.cache
def compiled(cross_attention_dim: int):
  """(memory of the compiled stunet step in bytes, bytes that train, bytes that are frozen); the width is the image network's."""
  config = micro_config("stunet", "nowhere", batch_size=2, num_microbatches=2)
  config.text.max_length = 4  # captions that are wide and short
  config.model.update(channels=(8,), attention_levels=(0,), cross_attention_dim=cross_attention_dim)
  config.temporal.factors = ()
  stage = Stage(Experiment.from_config(config))
  rebuild, params, frozen = abstract_model(stage.experiment)
  optimizer = optax.adam(1e-3)
  state = jax.eval_shape(functools.partial(init_state, optimizer=optimizer), params)
  step = make_train_step(stage, rebuild, optimizer)
  memory = step.lower(state, frozen, stage.batch_shapes()).compile().memory_analysis()
  return memory, 4 * weights.count(params), 4 * weights.count(frozen)


def test_frozen_weights_cost_nothing_but_themselves():
  """Six times as many: no more state, and no gradient, not even one that is summed over parts of a batch."""
  few, trained, little = compiled(16)
  many, same, much = compiled(2048)
  assert trained == same and much > 6 * little
  # The arguments grow by the frozen weights, the results (parameters, average, two moments) not at all.
  assert many.argument_size_in_bytes - few.argument_size_in_bytes == pytest.approx(much - little)
  assert many.output_size_in_bytes == few.output_size_in_bytes
  assert few.output_size_in_bytes == pytest.approx(4 * trained, rel=0.05)
  # Activations of wider captions are smaller than the weights that make them; gradients would be as large.
  assert many.temp_size_in_bytes - few.temp_size_in_bytes < (much - little) / 2
