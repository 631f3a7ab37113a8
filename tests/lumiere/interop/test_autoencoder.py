"""The names of an autoencoder's weights in the files of others, there and back."""

import re

import numpy as np
import pytest
from flax import nnx, traverse_util

from lumiere import weights
from lumiere.interop import autoencoder as interop
from lumiere.interop.tensors import Tensor
from lumiere.latents.autoencoder import Autoencoder, AutoencoderConfig
from tests.stunet.networks import random_weights

CONFIG = AutoencoderConfig(
  channels=(4, 8, 4), num_res_blocks=2, in_channels=1, latent_channels=2, norm_groups=2
)
ATTENTION = {"group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out"}


def abstract(config=CONFIG):
  return weights.split(nnx.eval_shape(lambda: Autoencoder(config, rngs=weights.Seeds(0))))[1]


@pytest.fixture(scope="module")
def params():
  return random_weights(abstract(), 0)


@pytest.fixture
def arrays(params):
  """By the names of diffusers."""
  return interop.to_arrays(CONFIG, params)


def older(arrays):
  """As files of older versions of diffusers have them."""
  names = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
  return {
    re.sub(r"\.(to_q|to_k|to_v|to_out\.0)\.", lambda found: f".{names[found[1]]}.", name): array
    for name, array in arrays.items()
  }


def authors(arrays):
  """As the authors' files have them, without what stands before "encoder" and "decoder" there."""
  found = {}
  for name, array in arrays.items():
    if ".attentions." in name:
      for theirs, part in ATTENTION.items():
        name = name.replace(f"mid_block.attentions.0.{theirs}.", f"mid.attn_1.{part}.")
      array = array[..., None, None] if array.ndim == 2 else array
    name = re.sub(r"mid_block\.resnets\.(\d)", lambda m: f"mid.block_{int(m[1]) + 1}", name)
    name = re.sub(r"down_blocks\.(\d)\.resnets", r"down.\1.block", name)
    name = re.sub(r"down_blocks\.(\d)\.downsamplers\.0", r"down.\1.downsample", name)
    name = re.sub(r"up_blocks\.(\d)\.resnets", lambda m: f"up.{2 - int(m[1])}.block", name)
    name = re.sub(r"up_blocks\.(\d)\.upsamplers\.0", lambda m: f"up.{2 - int(m[1])}.upsample", name)
    found[name.replace("conv_norm_out", "norm_out").replace("conv_shortcut", "nin_shortcut")] = array  # fmt: skip
  return found


def shapes(arrays):
  return {name: array.shape for name, array in arrays.items()}


def assert_same(found, expected):
  found, expected = (traverse_util.flatten_dict(tree, sep="/") for tree in (found, expected))
  assert found.keys() == expected.keys()
  for path, leaf in expected.items():
    np.testing.assert_array_equal(found[path], leaf, path)


@pytest.mark.parametrize("naming", (dict, older, authors))
def test_every_naming_gives_the_same_weights(naming, arrays, params):
  theirs = naming(arrays)
  assert_same(interop.from_arrays(CONFIG, theirs), params)


def test_weights_come_back_bit_by_bit_in_their_dtype(arrays):
  halves = {name: array.astype(np.float16) for name, array in arrays.items()}
  back = interop.to_arrays(CONFIG, interop.from_arrays(CONFIG, halves))
  assert back.keys() == halves.keys()
  for name, array in halves.items():
    assert back[name].dtype == np.float16 and back[name].flags.c_contiguous
    np.testing.assert_array_equal(back[name], array, name)


def test_names_are_those_of_published_files(arrays):
  """Written by hand: of three levels, the decoder's coarsest is the first there and the last in the authors' files."""
  assert {
    "encoder.conv_in.weight": (4, 1, 3, 3),
    "encoder.down_blocks.1.resnets.0.conv_shortcut.weight": (8, 4, 1, 1),
    "encoder.down_blocks.1.downsamplers.0.conv.weight": (8, 8, 3, 3),
    "encoder.mid_block.attentions.0.group_norm.weight": (4,),
    "encoder.mid_block.attentions.0.to_out.0.weight": (4, 4),
    "encoder.conv_norm_out.bias": (4,),
    "decoder.conv_in.weight": (4, 2, 3, 3),
    "decoder.up_blocks.0.upsamplers.0.conv.bias": (4,),
    "decoder.up_blocks.1.resnets.0.conv1.weight": (8, 4, 3, 3),
    "decoder.up_blocks.2.resnets.2.norm2.weight": (4,),
    "decoder.mid_block.resnets.1.conv2.weight": (4, 4, 3, 3),
    "quant_conv.weight": (4, 4, 1, 1),
    "post_quant_conv.weight": (2, 2, 1, 1),
  }.items() <= shapes(arrays).items()
  assert {
    "encoder.down.1.block.0.nin_shortcut.weight": (8, 4, 1, 1),
    "encoder.down.0.downsample.conv.weight": (4, 4, 3, 3),
    "encoder.mid.attn_1.q.weight": (4, 4, 1, 1),
    "encoder.mid.block_2.norm1.bias": (4,),
    "encoder.norm_out.weight": (4,),
    "decoder.up.2.upsample.conv.weight": (4, 4, 3, 3),
    "decoder.up.0.block.0.nin_shortcut.weight": (4, 8, 1, 1),
  }.items() <= shapes(authors(arrays)).items()
  assert "decoder.up.0.upsample.conv.weight" not in authors(arrays)


def test_what_does_not_fit_is_refused_by_name(arrays):
  load = lambda changed: interop.from_arrays(CONFIG, changed)
  less = {name: array for name, array in arrays.items() if name != "quant_conv.bias"}
  with pytest.raises(ValueError, match="quant_conv.bias is missing"):
    load(less)
  with pytest.raises(ValueError, match="encoder.extra.weight .* has no place in this network"):
    load(arrays | {"encoder.extra.weight": np.zeros(3, np.float32)})
  with pytest.raises(ValueError, match=r"quant_conv.bias has shape \[3\], \[4\] expected"):
    load(arrays | {"quant_conv.bias": np.zeros(3, np.float32)})
  with pytest.raises(ValueError, match="quant_conv.bias holds int32"):
    load(arrays | {"quant_conv.bias": np.zeros(4, np.int32)})
  with pytest.raises(ValueError, match="no autoencoder .*mid.attn_1.q.weight"):
    load({"conv_in.weight": arrays["encoder.conv_in.weight"]})
  # A part by other names is missing by the names of the first part.
  mixed = {n: a for n, a in arrays.items() if n[:7] == "encoder"} | authors(arrays)
  mixed = {name: array for name, array in mixed.items() if "decoder" not in name or ".up." in name}
  with pytest.raises(ValueError, match="decoder.conv_in.bias is missing"):
    load(mixed)


def test_the_loss_of_the_authors_training_is_left_out(arrays):
  theirs = authors(arrays) | {"loss.logvar": np.zeros((), np.float32)}
  tensors = {
    name: Tensor(array.shape, "float32", lambda array=array: array)
    for name, array in theirs.items()
  }
  fitted = interop.fit(CONFIG, tensors)
  assert fitted.unused == {"loss.logvar": "of training"}
