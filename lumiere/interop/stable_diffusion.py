"""The U-Nets of Stable Diffusion 1 and 2, which work on latents of 4 channels: our config for a published one, and back.

    Stable Diffusion 1     reads captions 768 wide (CLIP ViT-L/14), has 8 heads at each level, predicts eps
    Stable Diffusion 2     1024 wide (OpenCLIP ViT-H/14), heads 64 wide; predicts eps, or v in the weights for 768x768 pixels

A diffusers folder says which it is. A single file in the authors' own naming shows the version in its shapes; what it predicts
is not in the weights.
"""

import re
from collections.abc import Mapping
from typing import Any

from lumiere.interop import kinds
from lumiere.interop.tensors import Tensor
from lumiere.sections import DiffusionConfig
from lumiere.sizes import Size
from stunet.blocks import ACTIVATIONS
from stunet.image_unet import ImageUNetConfig

LATENT_CHANNELS = 4
MAX_TEXT_LENGTH = 77
# Networks with the same blocks that are told more than a caption, by what they take in.
OTHERS = {
  5: "a network that is told depths",
  7: "the upscaler of Stable Diffusion 2",
  8: "a network that is told a picture to edit or to vary",
  9: "an inpainting model: latents, a mask, and the latents of what is known",
}
_COMMON = dict(
  num_res_blocks=2,
  attention_levels=(0, 1, 2),
  in_channels=LATENT_CHANNELS,
  out_channels=LATENT_CHANNELS,
  text_norm="none",
  attends_to_padding=True,
  transformer_depth=1,
  scale_shift=False,
  plain_resampling=True,
)
# v1-inference.yaml and v2-inference.yaml of the authors' code.
VERSIONS = {
  1: ImageUNetConfig(channels=(320, 640, 1280, 1280), text_dim=768, num_heads=8, **_COMMON),
  2: ImageUNetConfig(channels=(320, 640, 1280, 1280), text_dim=1024, head_dim=64, **_COMMON),
}
# Predicted latents have no range to be cut to.
SAMPLING = dict(sampler="ddim", num_steps=50, guidance_scale=7.5, threshold={"name": "none"})
PREFIX = "model.diffusion_model."
# What --variant is for the averages in a single file.
AVERAGED = "ema"
# In a single file, but no part of the U-Net.
UNUSED = {
  re.compile(r"(first_stage_model|vae)\..*"): "the autoencoder",
  re.compile(r"cond_stage_model\..*"): "the text encoder",
  re.compile(r"model_ema\..*"): "averaged weights",
  re.compile(
    r"betas|\w*alphas_cumprod\w*|posterior_\w+|logvar|lvlb_weights|scale_factor"
  ): "a table of the diffusion process",
}
DOWN = {"DownBlock2D": False, "CrossAttnDownBlock2D": True}
UP = {"UpBlock2D": False, "CrossAttnUpBlock2D": True}
# Fields of diffusers' UNet2DConditionModel that may have these values only; a field that is not there has the first.
# `upcast_attention` is none of them: the logits of attention are float32 here in any case.
FIXED = {
  "mid_block_type": ("UNetMidBlock2DCrossAttn",),
  "resnet_time_scale_shift": ("default",),
  "resnet_skip_time_act": (False,),
  "resnet_out_scale_factor": (1.0,),
  "mid_block_scale_factor": (1,),
  "norm_eps": (1e-5,),
  "downsample_padding": (1,),
  "dropout": (0.0,),
  "flip_sin_to_cos": (True,),
  "freq_shift": (0,),
  "center_input_sample": (False,),
  "dual_cross_attention": (False,),
  "only_cross_attention": (False,),
  "mid_block_only_cross_attention": (None, False),
  "attention_type": ("default",),
  "cross_attention_norm": (None,),
  "class_embed_type": (None,),
  "num_class_embeds": (None,),
  "addition_embed_type": (None,),
  "encoder_hid_dim": (None,),
  "encoder_hid_dim_type": (None,),
  "time_embedding_type": ("positional",),
  "time_embedding_dim": (None,),
  "time_embedding_act_fn": (None,),
  "time_cond_proj_dim": (None,),
  "timestep_post_act": (None,),
  "conv_in_kernel": (3,),
  "conv_out_kernel": (3,),
  "num_attention_heads": (None,),
}


def process(prediction: str) -> DiffusionConfig:
  """The process that all of these networks were trained in."""
  schedule = {
    "name": "scaled_linear",
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "spacing": "leading",
  }
  return DiffusionConfig(schedule=schedule, prediction=prediction)


def is_one(config: Mapping[str, Any]) -> bool:
  """Whether the `config.json` of a diffusers `UNet2DConditionModel` is of this kind, by its blocks."""
  types = config.get("down_block_types")
  return isinstance(types, list | tuple) and len(types) > 0 and all(t in [*DOWN] for t in types)


def from_diffusers(config: Mapping[str, Any]) -> ImageUNetConfig:
  """The config of a network from diffusers' `config.json`.

  Raises:
    ValueError: names the field that has a value we have no network for.
  """
  for field, accepted in FIXED.items():
    if config.get(field, accepted[0]) not in accepted:
      raise ValueError(
        f"{field}={config[field]!r} is not supported with {config['down_block_types'][0]}: "
        f"{' or '.join(map(repr, accepted))} is"
      )
  config = kinds.checked(config, kinds.STABLE_DIFFUSION_UNET)
  check_channels(config["in_channels"], config["out_channels"])
  widths, up = config["block_out_channels"], config["up_block_types"]
  attends = [DOWN[kind] for kind in config["down_block_types"]]
  if not any(attends) or up != [_named(UP, flag) for flag in reversed(attends)]:
    raise ValueError(
      f"up_block_types={up} must attend where down_block_types={config['down_block_types']} do, somewhere"
    )
  act = {"swish": "silu"}.get(config["act_fn"], config["act_fn"])
  if act not in ACTIVATIONS:
    raise ValueError(f"act_fn={act!r} is not supported: {' and '.join(ACTIVATIONS)} are")
  layers = config["layers_per_block"]
  return ImageUNetConfig(
    channels=tuple(widths),
    num_res_blocks=layers if isinstance(layers, int) else tuple(layers),
    attention_levels=tuple(level for level, attention in enumerate(attends) if attention),
    in_channels=config["in_channels"],
    out_channels=config["out_channels"],
    text_dim=config["cross_attention_dim"],
    text_norm="none",
    attends_to_padding=True,
    transformer_depth=config.get("transformer_layers_per_block", 1),
    scale_shift=False,
    plain_resampling=True,
    norm_groups=config.get("norm_num_groups", 32),
    activation=act,
    **_heads(config["attention_head_dim"], widths, attends),
  )


def _heads(counts: int | list[int], widths: list[int], attends: list[bool]) -> dict[str, int]:
  """The numbers of heads, which diffusers calls `attention_head_dim`: one for all levels, or heads of one width."""
  if isinstance(counts, int):
    return {"num_heads": counts}
  if len(counts) != len(widths):
    raise ValueError(f"attention_head_dim={counts} must be one number, or one for each level")
  # The middle attends at the coarsest level, whether or not its stages do.
  attending = [*(pair for pair, flag in zip(zip(widths, counts, strict=True), attends, strict=True) if flag), (widths[-1], counts[-1])]  # fmt: skip
  if len({count for _, count in attending}) == 1:
    return {"num_heads": counts[-1]}
  if len({width / count for width, count in attending}) > 1 or widths[-1] % counts[-1]:
    raise ValueError(
      f"attention_head_dim={counts} must give heads of one width, or as many at all levels, of {widths} channels"
    )
  return {"head_dim": widths[-1] // counts[-1]}


def check_channels(in_channels: int, out_channels: int):
  """Raises ValueError unless latents go in and come out and nothing else; says what the network is."""
  for field, channels in (("in_channels", in_channels), ("out_channels", out_channels)):
    if channels != LATENT_CHANNELS:
      what = OTHERS.get(channels) if field == "in_channels" else None
      is_one = f"{field}={channels} is {what}" if what else f"{field}={channels} is not supported"
      raise ValueError(f"{is_one}; a network of {LATENT_CHANNELS} channels of latents is read")


def to_diffusers(config: ImageUNetConfig, size: Size) -> dict[str, Any]:
  """The `config.json` with which diffusers builds the same network.

  Raises:
    ValueError: names the field that diffusers has no network for.
  """
  for field, fits in (
    ("text_pool", config.text_pool == "none"),
    ("cross_attention_dim", config.cross_attention_dim is None),
    ("residual_scale", config.residual_scale == 1),
    ("augmentation_embedding", not config.augmentation_embedding),
    ("embedding_dim", config.embedding_dim == 4 * config.channels[0]),
    ("patch_size", config.patch_size == 1),
    ("up_narrows", not config.up_narrows),
    ("attention_levels", len(config.attention_levels) > 0),
    ("scale_shift", not config.scale_shift),
    ("plain_resampling", config.plain_resampling),
  ):
    if not fits:
      raise ValueError(
        f"{field}={getattr(config, field)!r} cannot be written with transformer_depth={config.transformer_depth}: "
        "diffusers has no such network"
      )
  attends = [level in config.attention_levels for level in range(len(config.channels))]
  layers = config.num_res_blocks
  return {
    "_class_name": "UNet2DConditionModel",
    "sample_size": size[0] if size[0] == size[1] else list(size),
    "in_channels": config.in_channels,
    "out_channels": config.out_channels,
    "block_out_channels": list(config.channels),
    "layers_per_block": layers[0] if len(set(layers)) == 1 else list(layers),
    "down_block_types": [_named(DOWN, flag) for flag in attends],
    "mid_block_type": FIXED["mid_block_type"][0],
    "up_block_types": [_named(UP, flag) for flag in reversed(attends)],
    "transformer_layers_per_block": config.transformer_depth,
    "attention_head_dim": config.num_heads
    or [max(width // config.head_dim, 1) for width in config.channels],
    "use_linear_projection": not config.num_heads,
    "cross_attention_dim": config.text_dim,
    "act_fn": config.activation,
    "norm_num_groups": config.norm_groups,
    "norm_eps": 1e-5,
  }


def describe_file(shapes: Mapping[str, tuple[int, ...]]) -> str | None:
  """What a single file in the authors' own naming holds, and by what name it is converted; None if it is no such file."""
  first = shapes.get(f"{PREFIX}input_blocks.0.0.weight")
  widths = [shape[1] for name, shape in shapes.items() if name.endswith(".attn2.to_k.weight")]
  if first is None or not widths:
    return None
  if first[1] != LATENT_CHANNELS:
    return f"in_channels={first[1]}: {OTHERS.get(first[1], 'a network that we lack')}"
  version = next((v for v, model in VERSIONS.items() if model.text_dim == widths[0]), None)
  if version is None:
    return f"captions {widths[0]} wide: a network that we lack"
  if version == 1:
    return "Stable Diffusion 1: --architecture=stable_diffusion_1"
  return (
    "Stable Diffusion 2: --architecture=stable_diffusion_2 if it predicts eps, as the base weights do, or "
    "stable_diffusion_2_v if it predicts v, as those for 768x768 pixels do; that is not in the file"
  )


def averages_of(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
  """A single file's tensors with the averages in place of the U-Net's weights.

  Raises:
    ValueError: if it has none.
  """
  found = dict(tensors)
  for name in tensors:
    if name.startswith(PREFIX):
      # The authors' code names an average after its weight, without the dots.
      average = "model_ema." + name.removeprefix("model.").replace(".", "")
      if average not in tensors:
        raise ValueError(f"--variant={AVERAGED}: {average} is missing; the file has no averages")
      found[name] = tensors[average]
  return found


def check_file(shapes: Mapping[str, tuple[int, ...]], model: ImageUNetConfig):
  """Raises ValueError if a single file holds another network than `model`; says which, as far as its shapes show."""
  first = shapes.get(f"{PREFIX}input_blocks.0.0.weight")
  if first is not None and len(first) > 1:
    check_channels(first[1], model.out_channels)
  widths = {shape[1] for name, shape in shapes.items() if name.endswith(".attn2.to_k.weight")}
  if widths and widths != {model.text_dim}:
    raise ValueError(f"it is not as named; {describe_file(shapes)}")


def _named(table: Mapping[str, bool], flag: bool) -> str:
  return next(name for name, value in table.items() if value == flag)
