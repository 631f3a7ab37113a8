"""Text encoders by others' names: T5 as transformers writes it (v1.1, mT5, ByT5), and the transformer inside GLIDE's files."""

import re

from lumiere.interop.names import Module
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
