"""Optimizers from a config: Muon's updates, and that a run with it resumes and shards."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from lumiere.experiment import Experiment
from lumiere.sections import OptimizerConfig
from lumiere.training import loop
from lumiere.training.optimizers import make_optimizer
from tests.lumiere.experiments import micro_config
from tests.lumiere.training.test_loop import assert_same, saved


def test_muon_turns_kernels_by_orthogonal_steps_and_leaves_the_rest_to_adam():
  settings = OptimizerConfig("muon", 0.01, warmup_steps=0, clip_norm=0.0)
  params = {
    "conv": {"kernel": jnp.ones((3, 3, 4, 8)), "bias": jnp.ones(8)},
    "dense": {"kernel": jnp.ones((24, 6))},
    "embed": {"embedding": jnp.ones((12, 4))},
  }
  keys = iter(jax.random.split(jax.random.key(0), 4))
  grads = jax.tree.map(lambda leaf: jax.random.normal(next(keys), leaf.shape), params)
  optimizer, adam = make_optimizer(settings, 10), optax.nadam(0.01)
  updates, _ = optimizer.update(grads, optimizer.init(params), params)
  for kernel in (updates["conv"]["kernel"].reshape(36, 8), updates["dense"]["kernel"]):
    scales = np.linalg.svd(kernel, compute_uv=False) / 0.01
    # All directions alike, up to the accuracy of Newton and Schulz's five steps, at 0.2 sqrt(largest side).
    expected = 0.2 * np.sqrt(max(kernel.shape))
    assert (0.6 * expected < scales).all() and (scales < 1.3 * expected).all()
  for layer, name in (("conv", "bias"), ("embed", "embedding")):
    grad, value = grads[layer][name], params[layer][name]
    expected = adam.update(grad, adam.init(value), value)[0]
    np.testing.assert_allclose(updates[layer][name], expected, rtol=1e-5)


def muon(data_dir, **train) -> Experiment:
  config = micro_config("t2i", data_dir, **train)
  config.data.update(dataset="moving_shapes_endless", moving_shapes_endless=dict(num_frames=8))
  config.optimizer.name = "muon"
  return Experiment.from_config(config)


def test_a_run_with_muon_resumes_bit_for_bit_and_is_the_same_on_a_mesh(tmp_path):
  loop.train(muon(tmp_path, num_steps=4), tmp_path / "whole")
  for steps in (2, 4):
    loop.train(muon(tmp_path, num_steps=steps), tmp_path / "resumed")
  assert_same(saved(tmp_path / "whole", 4), saved(tmp_path / "resumed", 4))
  experiment = muon(tmp_path, num_steps=4)
  mesh = dataclasses.replace(experiment.mesh, fsdp=4)
  loop.train(dataclasses.replace(experiment, mesh=mesh), tmp_path / "sharded")
  (whole, _), (sharded, _) = (saved(tmp_path / name, 4) for name in ("whole", "sharded"))
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, atol=2e-4), whole["params"], sharded["params"]
  )


def test_other_names_are_refused():
  with pytest.raises(ValueError, match="optimizer.name"):
    OptimizerConfig("sgd")
