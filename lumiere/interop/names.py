"""Where a weight of ours lies in somebody else's file: rules, one table per naming scheme.

A path of ours has a *place* in the network and a *module* in that place:

    down/1/stages/0/attention/ query              ours
    down_blocks.1.attentions.0. to_q              diffusers
    input_blocks.5.1. qkv, one row in three       the ADM family's own code (guided-diffusion, GLIDE, DeepFloyd IF)

A scheme turns a network's config into a table of modules. With it every weight of ours has one `Source`, and nothing else
is needed to import (take the tensor), to export (put it there) and to report (what is missing, what is left over).
"""

import dataclasses
from collections.abc import Iterator, Mapping

import numpy as np

from stunet.image_unet import ImageUNetConfig

RES_BLOCK = {
  "diffusers": {
    "norm1": "norm1", "conv1": "conv1", "embedding": "time_emb_proj",
    "norm2": "norm2", "conv2": "conv2", "shortcut": "conv_shortcut",
  },
  "adm": {
    "norm1": "in_layers.0", "conv1": "in_layers.2", "embedding": "emb_layers.1",
    "norm2": "out_layers.0", "conv2": "out_layers.3", "shortcut": "skip_connection",
  },
}  # fmt: skip
# A level's resampling by one convolution.
PLAIN_RESAMPLE = {
  "diffusers": {"down": "conv", "up": "conv"},
  "adm": {"down": "op", "up": "conv"},
}
_ATTENTION = {"query": "to_q", "key": "to_k", "value": "to_v", "out": "to_out.0"}
# A block of the transformer that a stage of Stable Diffusion ends in: diffusers took these names over.
TRANSFORMER_BLOCK = {
  "norm1": "norm1",
  **{f"self_attention/{ours}": f"attn1.{theirs}" for ours, theirs in _ATTENTION.items()},
  "norm2": "norm2",
  **{f"cross_attention/{ours}": f"attn2.{theirs}" for ours, theirs in _ATTENTION.items()},
  "norm3": "norm3",
  "dense": "ff.net.0.proj",
  "proj": "ff.net.2",
}
# Leaves that are not called as ours.
LEAVES = {
  "kernel": "weight", "scale": "weight", "embedding": "weight",
  "position": "positional_embedding", "padding": "padding_embedding",
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Module:
  """A module of theirs, or one of several of ours in it.

  Attributes:
    name: its prefix.
    part: which of `parts` of its rows ours are.
    parts: how many of ours it holds; they alternate, head by head.
    head_dim: rows of a head; -1 if `heads` says so.
    heads: how many there are; -1 if `head_dim` says so.
    ones: axes of size 1 at the end of its weight when it is written: 2 where a dense layer is a 1x1 convolution there.
  """

  name: str
  part: int = 0
  parts: int = 1
  head_dim: int = -1
  heads: int = -1
  ones: int = 0


@dataclasses.dataclass(frozen=True)
class Source:
  """A tensor in a file, where our weight is or is a part of, and how it lies there.

  Attributes:
    key: its name.
    module: whose it is.
    shape: its shape, but for axes of size 1 at the end.
    axes: its axes, in our order.
  """

  key: str
  module: Module
  shape: tuple[int, ...]
  axes: tuple[int, ...]

  def fits(self, shape: tuple[int, ...]) -> bool:
    """Whether a tensor of `shape` is the one that is meant."""
    n = len(self.shape)
    return tuple(shape[:n]) == self.shape and all(size == 1 for size in shape[n:])

  def load(self, tensor: np.ndarray) -> np.ndarray:
    """Our weight from the tensor."""
    tensor = tensor.reshape(self.shape)
    if self.module.parts > 1:
      rest = tensor.shape[1:]
      heads = tensor.reshape(self.module.heads, self.module.parts, self.module.head_dim, *rest)
      tensor = heads[:, self.module.part].reshape(-1, *rest)
    return tensor.transpose(self.axes)

  def store(self, weight: np.ndarray) -> np.ndarray:
    """The tensor from our weight, in schemes where it holds nothing else."""
    assert self.module.parts == 1
    ones = (1,) * self.module.ones if weight.ndim > 1 else ()
    return weight.transpose(np.argsort(self.axes)).reshape(*self.shape, *ones)


def source_of(path: str, shape: tuple[int, ...], modules: Mapping[str, Module]) -> Source:
  """The tensor in which the weight at `path`, of `shape`, lies.

  Raises:
    KeyError: if the table has no such module.
  """
  module_path, _, leaf = path.rpartition("/")
  module = modules[path] if path in modules else modules[module_path]
  axes = tuple(range(len(shape)))
  if leaf == "kernel":  # torch: [out, in, height, width]
    axes = (*axes[2:], 1, 0)
  theirs = [shape[axes.index(axis)] for axis in range(len(shape))]
  theirs[0] *= module.parts
  key = f"{module.name}.{LEAVES.get(leaf, leaf)}".removeprefix(".")
  key = module.name if path in modules else key  # a weight that stands by itself in their files
  return Source(key, module, tuple(theirs), axes)


def diffusers(config: ImageUNetConfig) -> dict[str, Module]:
  """The table of diffusers' `UNet2DConditionModel`, with the `UnCLIPTextProjModel` of a network that has one."""
  attention = {
    "norm": "group_norm", "query": "to_q", "key": "to_k", "value": "to_v", "out": "to_out.0",
    "text_norm": "norm_cross", "text_key": "add_k_proj", "text_value": "add_v_proj",
  }  # fmt: skip
  table = {
    "conv_in": "conv_in",
    "time_embedding/dense1": "time_embedding.linear_1",
    "time_embedding/dense2": "time_embedding.linear_2",
    "augmentation_embedding/dense1": "class_embedding.linear_1",
    "augmentation_embedding/dense2": "class_embedding.linear_2",
    "text_projection": "encoder_hid_proj",
    "text_pool/norm_in": "add_embedding.norm1",
    "text_pool": "add_embedding.pool",
    "text_pool/query": "add_embedding.pool.q_proj",
    "text_pool/key": "add_embedding.pool.k_proj",
    "text_pool/value": "add_embedding.pool.v_proj",
    "text_pool/dense": "add_embedding.proj",
    "text_pool/norm_out": "add_embedding.norm2",
    "clip/no_image": "learned_classifier_free_guidance_embeddings",
    "clip/image_vector": "clip_image_embeddings_project_to_time_embeddings",
    "clip/caption_vector": "embedding_proj",
    "clip/image_states": "clip_extra_context_tokens_proj",
    "clip/states": "encoder_hidden_states_proj",
    "clip/norm": "text_encoder_hidden_states_norm",
    "norm_out": "conv_norm_out",
    "conv_out": "conv_out",
  }
  for ours, kind in places(config):
    side, *rest = ours.split("/")
    block = {"down": "down_blocks", "up": "up_blocks", "middle": "mid_block"}[side]
    if kind == "resample":
      prefix = f"{block}.{rest[0]}.{'downsamplers' if side == 'down' else 'upsamplers'}.0"
    else:
      level, index = ("", rest[1]) if side == "middle" else (f".{rest[0]}", rest[2])
      prefix = f"{block}{level}.{'attentions' if kind == 'attention' else 'resnets'}.{index}"
    if kind == "attention":
      parts = transformer(config) if config.transformer_depth else attention
    else:
      parts = convolutions(config, "diffusers", side, kind)
    table |= {f"{ours}/{part}": f"{prefix}.{name}" for part, name in parts.items()}
  modules = {ours: Module(name) for ours, name in table.items()}
  if config.transformer_depth and convolves_into_transformers(config):
    for ours, module in modules.items():
      if ours.endswith(("/attention/proj_in", "/attention/proj_out")):
        modules[ours] = dataclasses.replace(module, ones=2)
  return modules


def convolves_into_transformers(config: ImageUNetConfig) -> bool:
  """Whether files have 1x1 convolutions around transformers: those of Stable Diffusion 1, which counts its heads, do."""
  return config.num_heads > 0


def transformer(config: ImageUNetConfig) -> dict[str, str]:
  """The modules of a transformer, by our names and theirs."""
  table = {name: name for name in ("norm", "proj_in", "proj_out")}
  for index in range(config.transformer_depth):
    table |= {
      f"blocks/{index}/{ours}": f"transformer_blocks.{index}.{theirs}"
      for ours, theirs in TRANSFORMER_BLOCK.items()
    }
  return table


def convolutions(config: ImageUNetConfig, scheme: str, side: str, kind: str) -> dict[str, str]:
  """The modules of a residual block, or of what resamples in place of one, by our names and theirs."""
  if kind == "resample" and config.plain_resampling:
    return {"conv": PLAIN_RESAMPLE[scheme][side]}
  return RES_BLOCK[scheme]


def adm(config: ImageUNetConfig, prefix: str = "") -> dict[str, Module]:
  """The table of the code of guided-diffusion, GLIDE, DeepFloyd IF and Karlo: blocks are counted through, keys are fused.

  Stable Diffusion's own code counts in the same way; its transformers are those of diffusers. `prefix` stands before all names.
  """
  pool = "encoder_pooling" if config.text_pool == "attention" else "transformer_proj"
  table = {
    "conv_in": "input_blocks.0.0",
    "time_embedding/dense1": "time_embed.0",
    "time_embedding/dense2": "time_embed.2",
    "augmentation_embedding/dense1": "aug_proj.0",
    "augmentation_embedding/dense2": "aug_proj.2",
    "text_projection": "encoder_proj",
    "text_pool/norm_in": "encoder_pooling.0",
    "text_pool": "encoder_pooling.1",
    "text_pool/query": "encoder_pooling.1.q_proj",
    "text_pool/key": "encoder_pooling.1.k_proj",
    "text_pool/value": "encoder_pooling.1.v_proj",
    "text_pool/dense": "encoder_pooling.2" if pool == "encoder_pooling" else pool,
    "text_pool/norm_out": "encoder_pooling.3",
    "clip/no_image": "cf_param",
    "clip/image_vector": "clip_emb",
    "clip/caption_vector": "text_feat_proj",
    "clip/image_states": "clip_tok_proj",
    "clip/states": "text_seq_proj.0",
    "clip/norm": "text_seq_proj.1",
    "norm_out": "out.0",
    "conv_out": "out.2",
  }
  own = ("query", "key", "value") if config.self_attention else ("query",)
  fused = {name: ("qkv", own) for name in own}
  fused |= {name: ("encoder_kv", ("text_key", "text_value")) for name in ("text_key", "text_value")}
  modules = {ours: Module(name) for ours, name in table.items()}
  blocks = adm_places(config)
  head_dim, heads = (-1, config.num_heads) if config.num_heads else (config.head_dim, -1)
  for ours, kind in places(config):
    if kind != "attention":
      names = convolutions(config, "adm", ours.split("/")[0], kind)
    elif config.transformer_depth:
      names = transformer(config)
    else:
      names = {"norm": "norm", "text_norm": "norm_encoder", "out": "proj_out"}
      for part, (name, parts) in fused.items():
        modules[f"{ours}/{part}"] = Module(
          f"{blocks[ours]}.{name}", parts.index(part), len(parts), head_dim, heads
        )
    modules |= {f"{ours}/{part}": Module(f"{blocks[ours]}.{name}") for part, name in names.items()}
  return {
    ours: dataclasses.replace(module, name=prefix + module.name) for ours, module in modules.items()
  }


def places(config: ImageUNetConfig) -> Iterator[tuple[str, str]]:
  """Every place of the network that blocks are at, with its kind: "res", "attention" or "resample", in order of use."""

  def stages(prefix: str, count: int, attends: bool):
    for index in range(count):
      yield f"{prefix}/stages/{index}/res", "res"
      if attends:
        yield f"{prefix}/stages/{index}/attention", "attention"

  for level, count in enumerate(config.num_res_blocks):
    yield from stages(f"down/{level}", count, level in config.attention_levels)
    if level < config.coarsest:
      yield f"down/{level}/resample", "resample"
  yield "middle/stages/0/res", "res"
  if config.attention_levels:
    yield "middle/stages/0/attention", "attention"
  yield "middle/stages/1/res", "res"
  for index, level in enumerate(reversed(range(len(config.channels)))):
    count = config.num_res_blocks[level] + 1
    yield from stages(f"up/{index}", count, level in config.attention_levels)
    if level:
      yield f"up/{index}/resample", "resample"


def adm_places(config: ImageUNetConfig) -> dict[str, str]:
  """Our places -> `input_blocks.N.M` and the like. A block N is a stage; an upsampling belongs to the stage before it."""
  names = {}
  counts = {"down": 0, "middle": -1, "up": -1}
  inside = 0
  for ours, kind in places(config):
    side = ours.split("/")[0]
    if kind == "res" or (side == "down" and kind == "resample") or side == "middle":
      counts[side] += 1
      inside = 0
    else:
      inside += 1
    block = {"down": "input_blocks", "middle": "middle_block", "up": "output_blocks"}[side]
    names[ours] = (
      f"{block}.{counts[side]}" if side == "middle" else f"{block}.{counts[side]}.{inside}"
    )
  return names
