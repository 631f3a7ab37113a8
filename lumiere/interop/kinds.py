"""What the fields of published configurations are: a number where a text should be is said before it is computed with."""

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any


@dataclasses.dataclass(frozen=True)
class Kind:
  """What a field may hold.

  Attributes:
    name: as it stands in a message.
    fits: whether a value is of this kind.
    needed: whether the field must be there; None counts as not there.
  """

  name: str
  fits: Callable[[Any], bool]
  needed: bool = False


def _or(*kinds: Kind) -> Kind:
  return Kind(" or ".join(kind.name for kind in kinds), lambda x: any(k.fits(x) for k in kinds))


def _list_of(kind: Kind) -> Kind:
  return Kind(
    f"a list, each {kind.name}",
    lambda x: isinstance(x, list | tuple) and len(x) > 0 and all(map(kind.fits, x)),
  )


def _needed(kind: Kind) -> Kind:
  return dataclasses.replace(kind, needed=True)


# The bound is far above all that there are: a larger one takes for ever to build.
SIZE = Kind("a whole number from 1 to 10,000,000", lambda x: type(x) is int and 1 <= x <= 10**7)
COUNT = Kind("a whole number from 1 to 1000", lambda x: type(x) is int and 1 <= x <= 1000)
NUMBER = Kind("a number above 0", lambda x: type(x) in (int, float) and 0 < x < math.inf)
TEXT = Kind("a text", lambda x: isinstance(x, str))
FLAG = Kind("true or false", lambda x: isinstance(x, bool))

_UNET = {
  "in_channels": _needed(SIZE),
  "out_channels": _needed(SIZE),
  "block_out_channels": _needed(_list_of(SIZE)),
  "layers_per_block": _needed(_or(COUNT, _list_of(COUNT))),
  "down_block_types": _needed(_list_of(TEXT)),
  "up_block_types": _needed(_list_of(TEXT)),
  "act_fn": _needed(TEXT),
}
DIFFUSERS_UNET = _UNET | {
  "attention_head_dim": _needed(SIZE),
  "cross_attention_dim": _needed(SIZE),
  "time_embedding_act_fn": TEXT,
  "resnet_skip_time_act": FLAG,
  "resnet_out_scale_factor": NUMBER,
  "mid_block_scale_factor": NUMBER,
  "only_cross_attention": FLAG,
  "mid_block_only_cross_attention": FLAG,
  "encoder_hid_dim": SIZE,
  "addition_embed_type_num_heads": SIZE,
  "time_embedding_dim": SIZE,
  "norm_num_groups": SIZE,
  "sample_size": _or(SIZE, _list_of(SIZE)),
}
STABLE_DIFFUSION_UNET = _UNET | {
  "attention_head_dim": _needed(_or(SIZE, _list_of(SIZE))),
  "cross_attention_dim": _needed(SIZE),
  "transformer_layers_per_block": COUNT,
  "use_linear_projection": FLAG,
  "norm_num_groups": SIZE,
  "sample_size": _or(SIZE, _list_of(SIZE)),
}
KARLO_TEXT = {
  "clip_embeddings_dim": SIZE,
  "clip_extra_context_tokens": COUNT,
}
AUTOENCODER = {
  "in_channels": _needed(SIZE),
  "out_channels": _needed(SIZE),
  "latent_channels": _needed(SIZE),
  "block_out_channels": _needed(_list_of(SIZE)),
  "layers_per_block": _needed(COUNT),
  "norm_num_groups": SIZE,
  "scaling_factor": NUMBER,
}
SCHEDULER = {
  "prediction_type": TEXT,
  "variance_type": TEXT,
  "beta_schedule": TEXT,
  "num_train_timesteps": SIZE,
  "timestep_spacing": TEXT,
  "beta_start": NUMBER,
  "beta_end": NUMBER,
  "thresholding": FLAG,
  "dynamic_thresholding_ratio": NUMBER,
  "sample_max_value": NUMBER,
  "clip_sample": FLAG,
}
DEEPFLOYD = {
  "image_size": _needed(SIZE),
  "in_channels": _needed(SIZE),
  "out_channels": _needed(SIZE),
  "model_channels": _needed(SIZE),
  "channel_mult": _needed(_or(TEXT, _list_of(COUNT))),
  "num_res_blocks": _needed(_or(COUNT, TEXT, _list_of(COUNT))),
  "attention_resolutions": _needed(_or(TEXT, _list_of(SIZE))),
  "disable_self_attentions": _or(FLAG, TEXT, _list_of(SIZE)),
  "activation": _needed(TEXT),
  "encoder_dim": _needed(SIZE),
  "encoder_channels": _needed(SIZE),
  "att_pool_heads": _needed(SIZE),
  "num_head_channels": _needed(SIZE),
  "scale_skip_connection": FLAG,
}
CLIP_TOWER = {
  "hidden_size": _needed(SIZE),
  "intermediate_size": _needed(SIZE),
  "num_hidden_layers": _needed(COUNT),
  "num_attention_heads": _needed(SIZE),
  "hidden_act": TEXT,
  "layer_norm_eps": NUMBER,
}
CLIP_TEXT = CLIP_TOWER | {
  "vocab_size": _needed(SIZE),
  "max_position_embeddings": _needed(SIZE),
}
CLIP_IMAGE = CLIP_TOWER | {"image_size": _needed(SIZE), "patch_size": _needed(SIZE)}
T5 = {
  "feed_forward_proj": TEXT,
  "vocab_size": _needed(SIZE),
  "d_model": _needed(SIZE),
  "d_kv": _needed(SIZE),
  "d_ff": _needed(SIZE),
  "num_layers": _needed(COUNT),
  "num_heads": _needed(SIZE),
  "relative_attention_num_buckets": SIZE,
  "relative_attention_max_distance": SIZE,
  "layer_norm_epsilon": NUMBER,
}


def checked(config: Mapping[str, Any], kinds: Mapping[str, Kind]) -> dict[str, Any]:
  """The config without the fields that are None.

  Raises:
    ValueError: names the first field that is missing or of another kind than `kinds` says.
  """
  for field, kind in kinds.items():
    value = config.get(field)
    if value is None and kind.needed:
      raise ValueError(f"{field} is missing; it must be {kind.name}")
    if value is not None and not kind.fits(value):
      raise ValueError(f"{field}={value!r} must be {kind.name}")
  return {field: value for field, value in config.items() if value is not None}
