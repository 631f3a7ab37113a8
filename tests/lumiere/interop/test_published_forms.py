"""The forms in which weights are published give the same checkpoint; a conversion that fails leaves nothing behind."""

import gzip
import json

import jax
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from lumiere import checkpoints, weights
from lumiere.interop import architectures, convert
from lumiere.pretrained_text import TextEncoder
from lumiere.text import glide
from tests.lumiere.interop.published import (
  GOLDEN,
  IF_I,
  SCHEDULER,
  draw,
  t5_tensors,
  tokenizer_json,
  torch_tensor,
  train_pieces,
  write_parts,
  write_torch,
  write_unet,
)
from tests.lumiere.interop.test_convert import tiny_glide
from tests.lumiere.test_files import POINTER

SHAPES = json.loads((GOLDEN / "shapes.json").read_text())
CAPTIONS = ["a red circle moves left", "ＢＬＵＥ  ½"]


def write_t5(folder):
  """A T5 without weights; returns its tensors."""
  config, tensors = t5_tensors()
  folder.mkdir()
  (folder / "config.json").write_text(json.dumps(config))
  train_pieces(folder / "spiece.model")
  return tensors


@pytest.fixture(scope="module")
def t5(tmp_path_factory):
  """(folder of a T5 in one plain file, its states of `CAPTIONS`)."""
  root = tmp_path_factory.mktemp("t5")
  save_file(write_t5(root / "t5"), root / "t5" / "model.safetensors")
  return root / "t5", states(root / "t5", root / "out")


def states(folder, out, variant=None):
  """What the converted encoder makes of captions."""
  convert.convert(folder, out, variant=variant)
  return np.asarray(TextEncoder.restore(out, 12)(CAPTIONS)["text"])


def params(workdir):
  return checkpoints.load_trained(workdir, ("t2i",)).params


def equal(a, b) -> bool:
  return all(jax.tree.leaves(jax.tree.map(lambda x, y: bool((x == y).all()), a, b)))


def test_the_layout_of_t5_xxl_converts(t5, tmp_path):
  """Two of torch's files with their index, and half precision beside them."""
  tensors = write_t5(tmp_path / "text_encoder")
  (tmp_path / "tokenizer").mkdir()
  (tmp_path / "text_encoder" / "spiece.model").rename(tmp_path / "tokenizer" / "spiece.model")
  write_parts(tmp_path / "text_encoder", tensors, "bin")
  halves = {name: x.astype(np.float16) for name, x in tensors.items()}
  write_parts(tmp_path / "text_encoder", halves, "safetensors", "fp16")
  plain = states(tmp_path / "text_encoder", tmp_path / "plain")
  np.testing.assert_array_equal(plain, t5[1])
  rounded = states(tmp_path / "text_encoder", tmp_path / "rounded", "fp16")
  assert 0 < np.abs(rounded - plain).max() < 1e-2 * np.abs(plain).max()


def test_a_tokenizer_json_takes_the_place_of_the_pieces(t5, tmp_path):
  folder = tmp_path / "t5"
  save_file(write_t5(folder), folder / "model.safetensors")
  (folder / "tokenizer.json").write_text(json.dumps(tokenizer_json(folder / "spiece.model")))
  (folder / "spiece.model").unlink()
  np.testing.assert_array_equal(states(folder, tmp_path / "out"), t5[1])


def test_variants_of_a_network_are_chosen(tmp_path, capsys):
  write_unet(tmp_path / "if", IF_I, SHAPES["if_i"])
  unet = tmp_path / "if" / "unet"
  tensors = load_file(unet / "diffusion_pytorch_model.safetensors")
  others = {name: -x for name, x in tensors.items()}
  write_torch(unet / "diffusion_pytorch_model.non_ema.bin", others)
  convert.convert(tmp_path / "if", tmp_path / "plain")
  assert "weights are read from diffusion_pytorch_model.safetensors" in capsys.readouterr().out
  convert.convert(tmp_path / "if", tmp_path / "non_ema", variant="non_ema")
  plain, non_ema = params(tmp_path / "plain"), params(tmp_path / "non_ema")
  assert equal(plain, jax.tree.map(lambda x: -x, non_ema))
  with pytest.raises(ValueError, match="--variant=fp16 is not in .* plain weights and non_ema"):
    convert.convert(tmp_path / "if", tmp_path / "fp16", variant="fp16")


def test_an_average_in_a_bare_file_is_chosen(tmp_path, monkeypatch):
  monkeypatch.setitem(architectures.PUBLISHED, "glide_base", tiny_glide())
  tensors = draw(SHAPES["glide"])
  save_file(tensors, tmp_path / "plain.safetensors")
  ema = {name: torch_tensor(x) for name, x in tensors.items()}
  model = {name: torch_tensor(2 * x) for name, x in tensors.items()}
  write_torch(tmp_path / "both.pt", {"model": model, "ema": ema})
  convert.convert(tmp_path / "plain.safetensors", tmp_path / "plain", "glide_base")
  convert.convert(tmp_path / "both.pt", tmp_path / "ema", "glide_base", "ema")
  assert equal(params(tmp_path / "plain"), params(tmp_path / "ema"))


def left(folder):
  return {path.name for path in folder.iterdir()}


@pytest.mark.parametrize(
  ("tensor", "message"),
  [
    (lambda x: x.astype(np.int8), "conv_in.weight holds I8; float16, bfloat16, float32, float64"),
    (lambda x: x > 0, "conv_in.weight holds BOOL"),
    (lambda x: np.where(x == x.max(), np.nan, x), "conv_in.weight holds numbers that are not finite"),
    (lambda x: np.full_like(x, np.inf), "conv_in.weight holds numbers that are not finite"),
  ],
)  # fmt: skip
def test_weights_are_finite_and_of_floating_point(tensor, message, tmp_path):
  write_unet(tmp_path / "if", IF_I, SHAPES["if_i"])
  path = tmp_path / "if" / "unet" / "diffusion_pytorch_model.safetensors"
  tensors = load_file(path)
  save_file(tensors | {"conv_in.weight": tensor(tensors["conv_in.weight"])}, path)
  with pytest.raises(ValueError, match=message) as error:
    convert.convert(tmp_path / "if", tmp_path / "runs" / "if")
  assert str(error.value).startswith(str(path))
  assert left(tmp_path) == {"if"}


def test_kinds_of_numbers_that_torch_has_are_refused_by_name(tmp_path, monkeypatch):
  monkeypatch.setitem(architectures.PUBLISHED, "glide_base", tiny_glide())
  for kind in ("int8", "complex64", "bool"):
    tensors = draw(SHAPES["glide"])
    tensors["input_blocks.0.0.weight"] = tensors["input_blocks.0.0.weight"].astype(kind)
    write_torch(tmp_path / "base.pt", tensors)
    with pytest.raises(ValueError, match=f"base.pt: input_blocks.0.0.weight holds {kind}"):
      convert.convert(tmp_path / "base.pt", tmp_path / "out", "glide_base")
  assert left(tmp_path) == {"base.pt"}


def test_a_failure_at_the_last_tensor_leaves_nothing(t5, tmp_path):
  folder = tmp_path / "t5"
  tensors = write_t5(folder)
  last = max(tensors)
  save_file(tensors | {last: np.full_like(tensors[last], np.nan)}, folder / "model.safetensors")
  with pytest.raises(ValueError, match=f"{last} holds numbers that are not finite"):
    convert.convert(folder, tmp_path / "out")
  assert left(tmp_path) == {"t5"}


def test_what_a_killed_conversion_left_is_replaced(t5, tmp_path):
  (tmp_path / "out.partial" / "weights").mkdir(parents=True)
  (tmp_path / "out.partial" / "weights" / "half").write_text("")
  np.testing.assert_array_equal(states(t5[0], tmp_path / "out"), t5[1])
  assert left(tmp_path) == {"out"} and left(tmp_path / "out") == {
    "checksums",
    "config.json",
    "spiece.model",
    "weights",
  }
  with pytest.raises(ValueError, match="out exists already"):
    convert.convert(t5[0], tmp_path / "out")


@pytest.mark.parametrize(
  "name",
  [
    "unet/config.json",
    "scheduler/scheduler_config.json",
    "unet/diffusion_pytorch_model.safetensors",
  ],
)
def test_a_pointer_is_called_one_wherever_it_lies(name, tmp_path):
  write_unet(tmp_path / "if", IF_I, SHAPES["if_i"])
  (tmp_path / "if" / name).write_text(POINTER)
  with pytest.raises(ValueError, match=f"{name} is a Git LFS pointer"):
    convert.convert(tmp_path / "if", tmp_path / "out")
  assert left(tmp_path) == {"if"}


def test_glides_tokens_are_checked_before_weights_are_read(tmp_path):
  (tmp_path / "base.pt").write_bytes(b"not looked at")
  vocabulary, pairs = json.dumps({"a": 0, "b": 1, "ab": 2}), "#\na b\n"
  for name, content in zip(glide.FILES, (vocabulary, pairs), strict=True):
    (tmp_path / name).write_bytes(gzip.compress(content.encode()))
  with pytest.raises(ValueError, match="3 tokens for an encoder of 50257"):
    convert.convert(tmp_path / "base.pt", tmp_path / "out", "glide_base")
  (tmp_path / glide.FILES[0]).write_text(POINTER)
  with pytest.raises(ValueError, match="encoder.json.gz is a Git LFS pointer"):
    convert.convert(tmp_path / "base.pt", tmp_path / "out", "glide_base")


def test_an_architecture_is_for_bare_files(t5, tmp_path):
  with pytest.raises(ValueError, match="--architecture=glide_base is for a bare file"):
    convert.convert(t5[0], tmp_path / "out", "glide_base")


@pytest.mark.parametrize(
  ("name", "change", "message"),
  [
    ("unet", {"act_fn": None}, "act_fn is missing; it must be a text"),
    ("unet", {"block_out_channels": 32}, "block_out_channels=32 must be a list, each a whole number"),
    ("unet", {"block_out_channels": [32, 64.5]}, "block_out_channels=.* must be a list"),
    ("unet", {"layers_per_block": "1"}, "layers_per_block='1' must be a whole number"),
    ("unet", {"layers_per_block": 1000}, "must give a number between 1 and 100 for each of 2 levels"),
    ("unet", {"layers_per_block": 100}, "tensors are there, for a network of 200 layers"),
    ("unet", {"cross_attention_dim": {}}, "cross_attention_dim={} must be a whole number"),
    ("unet", {"down_block_types": "ResnetDownsampleBlock2D"}, "down_block_types=.* must be a list"),
    ("unet", {"resnet_out_scale_factor": "a"}, "resnet_out_scale_factor='a' must be a number above 0"),
    ("scheduler", {"variance_type": 3}, "variance_type=3 must be a text"),
    ("scheduler", {"beta_schedule": ["linear"]}, "beta_schedule=.* must be a text"),
    ("scheduler", {"num_train_timesteps": 0}, "num_train_timesteps=0 must be a whole number"),
  ],
)  # fmt: skip
def test_fields_of_another_kind_are_refused_with_their_file(name, change, message, tmp_path):
  scheduler = SCHEDULER | (change if name == "scheduler" else {})
  write_unet(tmp_path / "if", IF_I | (change if name == "unet" else {}), SHAPES["if_i"], scheduler)
  with pytest.raises(ValueError, match=message) as error:
    convert.convert(tmp_path / "if", tmp_path / "out")
  assert str(tmp_path / "if" / name) in str(error.value)


def test_export_leaves_nothing_if_it_fails(tmp_path, monkeypatch):
  import safetensors.numpy

  write_unet(tmp_path / "if", IF_I, SHAPES["if_i"])
  convert.convert(tmp_path / "if", tmp_path / "run")
  monkeypatch.setattr(safetensors.numpy, "save_file", lambda *_: 1 / 0)
  with pytest.raises(ZeroDivisionError):
    convert.export(tmp_path / "run", tmp_path / "back")
  assert left(tmp_path) == {"if", "run"}
  assert weights.count(params(tmp_path / "run")) > 0
