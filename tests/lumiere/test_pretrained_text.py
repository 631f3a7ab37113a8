"""Pretrained encoders on several devices."""

import jax
import numpy as np
import pytest
from flax import nnx

from lumiere import mesh as meshes
from lumiere import pretrained_text, weights
from lumiere.experiment import MeshConfig
from lumiere.text.t5 import T5Config, T5Encoder

TINY = T5Config(vocab_size=384, d_model=16, d_kv=4, d_ff=24, num_layers=2, num_heads=4)
CAPTIONS = [f"a circle moves {i} times" for i in range(8)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
  path = tmp_path_factory.mktemp("encoder")
  pretrained_text.save(path, TINY, weights.split(T5Encoder(TINY, rngs=nnx.Rngs(0)))[1])
  return path


@pytest.fixture(scope="module")
def on_one_device(folder):
  return pretrained_text.TextEncoder.restore(folder, 32, mesh=meshes.one_device())(CAPTIONS)


@pytest.mark.parametrize("config", [MeshConfig(fsdp=8), MeshConfig(fsdp=4), None])
def test_devices_share_weights_and_captions(config, folder, on_one_device):
  """Nothing but weights is gathered, and each device works on its own captions."""
  mesh = config and meshes.make_mesh(config)
  encoder = pretrained_text.TextEncoder.restore(folder, 32, mesh=mesh)
  states = encoder(CAPTIONS)
  np.testing.assert_allclose(states["text"], on_one_device["text"], atol=1e-5)
  assert states["text"].addressable_shards[0].data.shape == (1, 32, 16)
  parts = config.fsdp if config else 8
  for leaf in jax.tree.leaves(encoder._params):
    assert leaf.addressable_shards[0].data.size * (parts if leaf.ndim > 1 else 1) == leaf.size


def test_a_number_of_captions_that_does_not_divide(folder, on_one_device):
  states = pretrained_text.TextEncoder.restore(folder, 32)(CAPTIONS[:3])
  np.testing.assert_allclose(states["text"], on_one_device["text"][:3], atol=1e-5)
