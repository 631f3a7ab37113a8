"""What a published text encoder is, read from the config.json of transformers."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from lumiere.interop import kinds
from lumiere.text.clip import ClipConfig
from lumiere.text.t5 import T5Config

# What transformers leaves out of a config.json because it is the default: that of ViT-B/32.
_CLIP_TEXT = dict(
  vocab_size=49408, hidden_size=512, intermediate_size=2048, num_hidden_layers=12, num_attention_heads=8,
  max_position_embeddings=77, hidden_act="quick_gelu",
)  # fmt: skip
_CLIP_IMAGE = dict(
  hidden_size=768, intermediate_size=3072, num_hidden_layers=12, num_attention_heads=12, image_size=224,
  patch_size=32, hidden_act="quick_gelu",
)  # fmt: skip
_CLIP_EPSILON = 1e-5


def from_transformers_clip(config: Mapping[str, Any]) -> ClipConfig:
  """The config of a CLIP model, or of its text transformer, from its `config.json`.

  Raises:
    ValueError: names the field that is of another kind, or of a value that ours does not have.
  """
  alone = config.get("model_type") == "clip_text_model"
  projects = not alone or "CLIPTextModelWithProjection" in (config.get("architectures") or ())
  text = config if alone else config.get("text_config") or {}
  text = kinds.checked(_CLIP_TEXT | dict(text), kinds.CLIP_TEXT)
  image = {} if alone else dict(config.get("vision_config") or {})
  image = kinds.checked(_CLIP_IMAGE | image, kinds.CLIP_IMAGE)
  for part in (text, image):
    if part.get("layer_norm_eps", _CLIP_EPSILON) != _CLIP_EPSILON:
      raise ValueError(f"layer_norm_eps={part['layer_norm_eps']} must be {_CLIP_EPSILON}")
  return ClipConfig(
    vocab_size=text["vocab_size"],
    d_model=text["hidden_size"],
    d_ff=text["intermediate_size"],
    num_layers=text["num_hidden_layers"],
    num_heads=text["num_attention_heads"],
    length=text["max_position_embeddings"],
    activation=text["hidden_act"],
    projects=projects,
    projection_dim=config.get("projection_dim") or 512,
    image_d_model=0 if alone else image["hidden_size"],
    image_d_ff=image["intermediate_size"],
    image_num_layers=0 if alone else image["num_hidden_layers"],
    image_num_heads=image["num_attention_heads"],
    image_activation=image["hidden_act"],
    image_size=image["image_size"],
    patch_size=image["patch_size"],
  )


def from_transformers_t5(config: Mapping[str, Any]) -> T5Config:
  """The config of a T5 v1.1 or ByT5 encoder from its `config.json`.

  Raises:
    ValueError: names the field that is missing or of another kind; for the first T5, whose feed-forward layer is not
      gated.
  """
  config = kinds.checked(config, kinds.T5)
  if config.get("feed_forward_proj", "relu") not in ("gated-gelu",):
    raise ValueError(
      f"feed_forward_proj={config.get('feed_forward_proj', 'relu')!r} must be 'gated-gelu': T5 v1.1, ByT5, mT5"
    )
  fields = {field.name for field in dataclasses.fields(T5Config)}
  return T5Config(**{name: value for name, value in config.items() if name in fields})
