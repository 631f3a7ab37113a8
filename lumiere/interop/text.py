"""Text encoders by others' names: T5 (v1.1, mT5, ByT5) and CLIP as transformers writes them, and the transformer in GLIDE's files."""

import re

from lumiere.interop.names import Module
from lumiere.text.clip import ClipConfig
from lumiere.text.glide import GlideTextConfig
from lumiere.text.t5 import T5Config

_T5_LAYER = {
  "attention_norm": "layer.0.layer_norm",
  "query": "layer.0.SelfAttention.q",
  "key": "layer.0.SelfAttention.k",
  "value": "layer.0.SelfAttention.v",
  "out": "layer.0.SelfAttention.o",
  "ff_norm": "layer.1.layer_norm",
  "wi_0": "layer.1.DenseReluDense.wi_0",
  "wi_1": "layer.1.DenseReluDense.wi_1",
  "wo": "layer.1.DenseReluDense.wo",
}
# In a file, but no part of the encoder. The token table is in it twice.
T5_UNUSED = {
  re.compile(r"decoder\..*"): "the decoder",
  re.compile(r"lm_head\..*"): "the decoder's output",
  re.compile(r"encoder\.embed_tokens\.weight"): "the same as shared.weight",
}
_CLIP_LAYER = {
  "norm1": "layer_norm1",
  "norm2": "layer_norm2",
  "query": "self_attn.q_proj",
  "key": "self_attn.k_proj",
  "value": "self_attn.v_proj",
  "out": "self_attn.out_proj",
  "wi": "mlp.fc1",
  "wo": "mlp.fc2",
}
CLIP_UNUSED = {
  re.compile(r".*\.position_ids"): "the numbers from 0 on",
  re.compile(r"logit_scale"): "of training",
  re.compile(r"text_projection\.weight"): "this encoder is said to have none",
}
_GLIDE_LAYER = {
  "norm1": "ln_1",
  "norm2": "ln_2",
  "out": "attn.c_proj",
  "wi": "mlp.c_fc",
  "wo": "mlp.c_proj",
}
GLIDE_TEXT = re.compile(
  r"transformer\..*|final_ln\..*|token_embedding\..*|positional_embedding|padding_embedding"
)
GLIDE_NETWORK = re.compile(
  r"(input_blocks|middle_block|output_blocks|time_embed|out|transformer_proj)\..*"
)


def t5(config: T5Config) -> dict[str, Module]:
  """The table of a `T5EncoderModel`, or of the encoder in a `T5ForConditionalGeneration`."""
  table = {
    "embed": "shared",
    "position_bias": "encoder.block.0.layer.0.SelfAttention.relative_attention_bias",
    "norm": "encoder.final_layer_norm",
  }
  for index in range(config.num_layers):
    table |= {f"layers/{index}/{m}": f"encoder.block.{index}.{n}" for m, n in _T5_LAYER.items()}
  return {ours: Module(name) for ours, name in table.items()}


def clip(config: ClipConfig, prefix: str = "text_model.") -> dict[str, Module]:
  """The table of a `CLIPModel`, or of a `CLIPTextModel`, which transformers 5 writes without the `prefix`."""
  table = {
    "embed": f"{prefix}embeddings.token_embedding",
    "position": f"{prefix}embeddings.position_embedding.weight",
    "norm": f"{prefix}final_layer_norm",
    "projection": "text_projection",
    "image_projection": "visual_projection",
    "image/patches": "vision_model.embeddings.patch_embedding",
    "image/place": "vision_model.embeddings.class_embedding",
    "image/position": "vision_model.embeddings.position_embedding.weight",
    "image/norm_in": "vision_model.pre_layrnorm",  # as it is spelled there
    "image/norm_out": "vision_model.post_layernorm",
  }
  for ours, theirs, count in (
    ("", prefix, config.num_layers),
    ("image/", "vision_model.", config.image_num_layers),
  ):
    for index in range(count):
      layer = f"{theirs}encoder.layers.{index}"
      table |= {f"{ours}layers/{index}/{m}": f"{layer}.{n}" for m, n in _CLIP_LAYER.items()}
  return {ours: Module(name) for ours, name in table.items()}


def glide(config: GlideTextConfig) -> dict[str, Module]:
  """The table of the text transformer in a GLIDE file."""
  table = {"": Module(""), "embed": Module("token_embedding"), "norm": Module("final_ln")}
  for index in range(config.num_layers):
    prefix = f"transformer.resblocks.{index}"
    table |= {f"layers/{index}/{m}": Module(f"{prefix}.{n}") for m, n in _GLIDE_LAYER.items()}
    for part, name in enumerate(("query", "key", "value")):
      table[f"layers/{index}/{name}"] = Module(
        f"{prefix}.attn.c_qkv", part, 3, config.d_model // config.num_heads
      )
  return table
