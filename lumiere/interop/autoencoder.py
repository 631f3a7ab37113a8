"""The autoencoder of Stable Diffusion by others' names: diffusers' of today, its older ones, and the authors'.

    decoder/up/0/blocks/1/conv1                   ours, coarsest level first
    decoder.up_blocks.0.resnets.1.conv1           diffusers
    decoder.up.3.block.1.conv1                    the code of latent diffusion, finest level first

Dense layers of the attention are 1x1 convolutions in the authors' files; their numbers are the same.
"""

import dataclasses
import pathlib
import re
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import numpy as np
from flax import nnx, traverse_util

from lumiere import files, weights
from lumiere.interop import kinds, mapping
from lumiere.interop.names import Module, source_of
from lumiere.interop.tensors import Tensor
from lumiere.latents.autoencoder import Autoencoder, AutoencoderConfig

_SIDES = {"encoder": "down", "decoder": "up"}


@dataclasses.dataclass(frozen=True)
class Naming:
  """How a family of files names modules.

  Attributes:
    block: a residual block, of a `side` ("down" or "up"), a `level` and an `index` in it.
    resize: what follows the blocks of a level.
    middle: the parts of the coarsest level.
    attention: the parts of its attention.
    shortcut: of a residual block that changes the width.
    norm_out: the last norm.
    finest_first: whether the decoder's levels are numbered from the finest.
  """

  block: str
  resize: str
  middle: Mapping[str, str]
  attention: Mapping[str, str]
  shortcut: str
  norm_out: str
  finest_first: bool = False


_DIFFUSERS = Naming(
  block="{side}_blocks.{level}.resnets.{index}",
  resize="{side}_blocks.{level}.{side}samplers.0.conv",
  middle={
    "block1": "mid_block.resnets.0",
    "attention": "mid_block.attentions.0",
    "block2": "mid_block.resnets.1",
  },
  attention={
    "norm": "group_norm", "query": "to_q", "key": "to_k", "value": "to_v", "out": "to_out.0",
  },
  shortcut="conv_shortcut",
  norm_out="conv_norm_out",
)  # fmt: skip
_OLD_DIFFUSERS = dataclasses.replace(
  _DIFFUSERS,
  attention={
    "norm": "group_norm", "query": "query", "key": "key", "value": "value", "out": "proj_attn",
  },
)  # fmt: skip
_AUTHORS = Naming(
  block="{side}.{level}.block.{index}",
  resize="{side}.{level}.{side}sample.conv",
  middle={"block1": "mid.block_1", "attention": "mid.attn_1", "block2": "mid.block_2"},
  attention={"norm": "norm", "query": "q", "key": "k", "value": "v", "out": "proj_out"},
  shortcut="nin_shortcut",
  norm_out="norm_out",
  finest_first=True,
)
NAMINGS = (_DIFFUSERS, _OLD_DIFFUSERS, _AUTHORS)
BLOCKS = {"down": "DownEncoderBlock2D", "up": "UpDecoderBlock2D"}
# Fields of diffusers' AutoencoderKL that may have these values only; a field that is not there has the first.
FIXED = {
  "act_fn": ("silu", "swish"),
  "use_quant_conv": (True,),
  "use_post_quant_conv": (True,),
  "mid_block_add_attention": (True,),
  "shift_factor": (None, 0.0),
  "latents_mean": (None,),
  "latents_std": (None,),
}
# In single files of Stable Diffusion, before the authors' names.
PREFIXES = ("first_stage_model.", "vae.")
# In the authors' files of an autoencoder alone.
UNUSED = {re.compile(r"loss\..*"): "of training"}


def table(config: AutoencoderConfig, naming: Naming) -> dict[str, Module]:
  """Modules of an `Autoencoder` by the names of a family of files."""
  found = {"dense_moments": "quant_conv", "dense_latents": "post_quant_conv"}
  for ours, theirs in _places(config, naming):
    found[ours] = theirs
  return {ours: Module(theirs) for ours, theirs in found.items()}


def _places(config: AutoencoderConfig, naming: Naming) -> Iterator[tuple[str, str]]:
  """(our module, theirs) of encoder and decoder."""
  count = len(config.channels)
  parts = {name: name for name in ("norm1", "conv1", "norm2", "conv2")}
  parts["shortcut"] = naming.shortcut
  for network, side in _SIDES.items():
    for ours, theirs in (("conv_in",) * 2, ("conv_out",) * 2, ("norm_out", naming.norm_out)):
      yield f"{network}/{ours}", f"{network}.{theirs}"
    for place, theirs in naming.middle.items():
      for part, name in (naming.attention if place == "attention" else parts).items():
        yield f"{network}/middle/{place}/{part}", f"{network}.{theirs}.{name}"
    for level in range(count):
      number = count - 1 - level if side == "up" and naming.finest_first else level
      where = dict(side=side, level=number)
      yield f"{network}/{side}/{level}/resize", f"{network}.{naming.resize.format(**where)}"
      for index in range(config.num_res_blocks + (side == "up")):
        theirs = naming.block.format(**where, index=index)
        for part, name in parts.items():
          yield (
            f"{network}/{side}/{level}/blocks/{index}/{part}",
            f"{network}.{theirs}.{name}",
          )


def naming_of(names: Mapping[str, object]) -> Naming:
  """The family of files that has these names of tensors.

  Raises:
    ValueError: if it is none of `NAMINGS`.
  """
  looked_for = []
  for naming in NAMINGS:
    mark = f"encoder.{naming.middle['attention']}.{naming.attention['query']}.weight"
    if mark in names:
      return naming
    looked_for.append(mark)
  raise ValueError(f"this is no autoencoder that is known: it has none of {', '.join(looked_for)}")


def from_diffusers(config: Mapping[str, Any]) -> AutoencoderConfig:
  """The config of an autoencoder from the `config.json` of diffusers' `AutoencoderKL`.

  Raises:
    ValueError: names the field that has a value we have no autoencoder for.
  """
  fixed = FIXED | {
    f"{side}_block_types": ([kind] * len(config.get("block_out_channels") or ()),)
    for side, kind in BLOCKS.items()
  }
  for field, (first, *others) in fixed.items():
    if config.get(field, first) not in (first, *others):
      raise ValueError(f"{field}={config[field]!r} is not supported: {first!r} is")
  config = kinds.checked(config, kinds.AUTOENCODER)
  if config["out_channels"] != config["in_channels"]:
    raise ValueError(
      f"out_channels={config['out_channels']} must be in_channels={config['in_channels']}"
    )
  return AutoencoderConfig(
    channels=tuple(config["block_out_channels"]),
    num_res_blocks=config["layers_per_block"],
    in_channels=config["in_channels"],
    latent_channels=config["latent_channels"],
    norm_groups=config.get("norm_num_groups", 32),
    scaling_factor=config.get("scaling_factor", AutoencoderConfig.scaling_factor),
  )


def read_config(folder: pathlib.Path) -> AutoencoderConfig:
  """`from_diffusers` of a folder; raises ValueError if it is none of an autoencoder."""
  path = folder / "config.json"
  if not path.is_file():
    raise ValueError(f"{path} is missing: this network works on the latents of that autoencoder")
  described = files.read_json(path)
  with files.about(path):
    return from_diffusers(described)


def to_diffusers(config: AutoencoderConfig) -> dict[str, Any]:
  """What `from_diffusers` reads."""
  return {
    "_class_name": "AutoencoderKL",
    "act_fn": "silu",
    "block_out_channels": list(config.channels),
    **{f"{side}_block_types": [kind] * len(config.channels) for side, kind in BLOCKS.items()},
    "in_channels": config.in_channels,
    "out_channels": config.in_channels,
    "latent_channels": config.latent_channels,
    "layers_per_block": config.num_res_blocks,
    "norm_num_groups": config.norm_groups,
    "scaling_factor": config.scaling_factor,
  }


def fit(config: AutoencoderConfig, tensors: Mapping[str, Tensor]) -> mapping.Fit:
  """Where each weight of an `Autoencoder` lies in a file, before any is read.

  Raises:
    ValueError: names the first tensor that is missing, of another shape or kind, or has no place in the network.
  """
  return mapping.fit(_abstract(config), tensors, table(config, naming_of(tensors)), UNUSED)


def in_single_file(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
  """The autoencoder's tensors of a single file that holds a whole pipeline, without what stands before their names."""
  return {
    name.removeprefix(prefix): tensor
    for prefix in PREFIXES
    for name, tensor in tensors.items()
    if name.startswith(prefix)
  }


def from_arrays(config: AutoencoderConfig, arrays: Mapping[str, np.ndarray]) -> weights.Weights:
  """The weights of an `Autoencoder` from arrays in torch's layouts, in their dtypes; raises ValueError as `fit` does."""
  tensors = {
    name: Tensor(array.shape, str(array.dtype), lambda array=array: array)
    for name, array in arrays.items()
  }
  return jax.tree.map(lambda leaf: leaf.read(), fit(config, tensors).weights)


def to_arrays(config: AutoencoderConfig, params: weights.Weights) -> dict[str, np.ndarray]:
  """The weights of an `Autoencoder` by the names that diffusers has today, in torch's layouts."""
  modules, arrays = table(config, _DIFFUSERS), {}
  for path, leaf in traverse_util.flatten_dict(params, sep="/").items():
    source = source_of(path, leaf.shape, modules)
    arrays[source.key] = np.ascontiguousarray(source.store(np.asarray(leaf)))
  return arrays


def _abstract(config: AutoencoderConfig) -> weights.Weights:
  return weights.split(nnx.eval_shape(lambda: Autoencoder(config, rngs=weights.Seeds(0))))[1]
