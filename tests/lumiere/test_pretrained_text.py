"""Pretrained encoders on several devices."""

import dataclasses
import shutil

import jax
import numpy as np
import pytest
from etils import epath
from flax import nnx

from lumiere import mesh as meshes
from lumiere import pretrained_text, weights
from lumiere.sections import MeshConfig
from lumiere.text.t5 import T5Config, T5Encoder
from tests.lumiere.interop.published import train_pieces
from tests.lumiere.test_files import POINTER

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


@pytest.mark.parametrize(
  ("content", "message"),
  [
    ("[]", "is expected, not a list"),
    ('{"kind": "t5"', "line 1"),
    ("{}", "kind=None must be one of t5, glide"),
    ('{"kind": ["t5"]}', "kind=.* must be one of"),
    ('{"kind": "t5", "d_model": 16}', "encoder.vocab_size: missing"),
    (
      '{"kind": "t5", "vocab_size": 384, "d_model": "16", "d_kv": 8, "d_ff": 16, "num_layers": 1, "num_heads": 2}',
      "encoder.d_model='16' must be a whole number",
    ),
    ('{"kind": "glide", "width": 16}', "encoder.width: no such field"),
    (POINTER, "is a Git LFS pointer"),
  ],
)
def test_a_config_that_cannot_be_is_refused_by_its_name(content, message, tmp_path):
  (tmp_path / "config.json").write_text(content)
  with pytest.raises(ValueError, match=message) as error:
    pretrained_text.TextEncoder.restore(tmp_path, 32)
  assert str(error.value).startswith(str(tmp_path / "config.json"))


def test_an_encoder_of_pieces_does_not_read_bytes(tmp_path):
  """Without its pieces a caption would be cut into tokens that mean something else."""
  pieces = dataclasses.replace(TINY, vocab_size=40)
  with pytest.raises(ValueError, match="spiece.model is missing"):
    pretrained_text.load_tokenizer(epath.Path(tmp_path), pieces, 32)
  train_pieces(tmp_path / "spiece.model")
  assert pretrained_text.load_tokenizer(epath.Path(tmp_path), pieces, 32).vocab_size == 30
  with pytest.raises(ValueError, match="30 pieces, the encoder's table 20 rows"):
    small = dataclasses.replace(TINY, vocab_size=20)
    pretrained_text.load_tokenizer(epath.Path(tmp_path), small, 32)
  (tmp_path / "spiece.model").write_text(POINTER)
  with pytest.raises(ValueError, match="spiece.model is a Git LFS pointer"):
    pretrained_text.load_tokenizer(epath.Path(tmp_path), pieces, 32)


def test_weights_that_are_pointers_are_called_so(folder, tmp_path):
  shutil.copytree(folder, tmp_path / "clone")
  for path in (tmp_path / "clone" / "weights").rglob("*"):
    if path.is_file():
      path.write_text(POINTER)
  with pytest.raises(ValueError, match="clone/weights/.* is a Git LFS pointer"):
    pretrained_text.TextEncoder.restore(tmp_path / "clone", 32)
