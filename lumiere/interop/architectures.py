"""What a published network is, read from its configuration: our config for it, or a sentence that says what we lack."""

import dataclasses
import re
from collections.abc import Mapping
from typing import Any

from lumiere.interop import kinds, stable_diffusion
from lumiere.latents.autoencoder import AutoencoderConfig
from lumiere.sections import DiffusionConfig, SamplingConfig
from lumiere.sizes import Size
from lumiere.text.glide import GlideTextConfig
from stunet.blocks import ACTIVATIONS
from stunet.image_unet import ImageUNetConfig


@dataclasses.dataclass(frozen=True)
class Published:
  """A network whose sizes are given by its authors' code, not by a file beside the weights.

  Attributes:
    model: the network.
    diffusion: the process that it was trained in.
    resolution: side of what it generates, in pixels or places of latents.
    sampling: how its authors sample it, fields of `SamplingConfig`.
    text: its text encoder, in the same file; None if there is none.
    max_length: states of a caption that it takes.
    prefix: what stands before all names in its files.
    unused: names of other things in its files -> what they are.
    autoencoder: of its latents, in the same file; None for pixels.
  """

  model: ImageUNetConfig
  diffusion: DiffusionConfig
  resolution: int
  sampling: Mapping[str, Any]
  text: GlideTextConfig | None = None
  max_length: int = 0
  prefix: str = ""
  unused: Mapping[re.Pattern, str] = dataclasses.field(default_factory=dict)
  autoencoder: AutoencoderConfig | None = None


_GLIDE = dict(
  out_channels=6,
  text_dim=512,
  text_norm="none",
  text_pool="last",
  attends_to_padding=True,
  head_dim=64,
)


def _process(name: str) -> DiffusionConfig:
  return DiffusionConfig(schedule={"name": name, "spacing": "linspace"}, prediction="eps")


def _stable_diffusion(version: int, prediction: str, resolution: int) -> Published:
  return Published(
    stable_diffusion.VERSIONS[version],
    stable_diffusion.process(prediction),
    resolution,
    stable_diffusion.SAMPLING,
    max_length=stable_diffusion.MAX_TEXT_LENGTH,
    prefix=stable_diffusion.PREFIX,
    unused=stable_diffusion.UNUSED,
    autoencoder=AutoencoderConfig(),
  )


# How authors sample; all of these networks predict their variance. DeepFloyd IF: defaults of its stages.
IF_SAMPLING = {
  "t2i": dict(num_steps=100, guidance_scale=7.0),
  "ssr_image": dict(num_steps=50, guidance_scale=4.0, augmentation_level=0.25),
}
KARLO_SAMPLING = dict(
  num_steps=50, guidance_scale=8.0, variance="learned"
)  # karlo/sampler/template.py
# glide-text2im/model_creation.py and its notebook; guided-diffusion's README; karlo/configs/decoder_900M_vit_l.yaml.
PUBLISHED = {
  "glide_base": Published(
    ImageUNetConfig(
      channels=(192, 384, 576, 768), num_res_blocks=3, attention_levels=(1, 2, 3), **_GLIDE
    ),
    _process("squaredcos_cap_v2"),
    resolution=64,
    sampling=dict(num_steps=100, guidance_scale=3.0, variance="learned"),
    text=GlideTextConfig(),
    max_length=128,
  ),
  "glide_upsampler": Published(
    ImageUNetConfig(
      channels=(192, 192, 384, 384, 768, 768),
      num_res_blocks=2,
      attention_levels=(3, 4, 5),
      in_channels=6,
      **_GLIDE,
    ),
    _process("linear"),
    resolution=256,
    sampling=dict(num_steps=27, variance="learned"),
    text=GlideTextConfig(),
    max_length=128,
  ),
  "guided_diffusion_256": Published(
    ImageUNetConfig(
      channels=(256, 256, 512, 512, 1024, 1024),
      num_res_blocks=2,
      attention_levels=(3, 4, 5),
      out_channels=6,
      head_dim=64,
    ),
    _process("linear"),
    resolution=256,
    sampling=dict(num_steps=250, variance="learned"),
  ),
  "karlo_decoder": Published(
    ImageUNetConfig(
      channels=(320, 640, 960, 1280),
      num_res_blocks=3,
      attention_levels=(1, 2, 3),
      out_channels=6,
      text_dim=768,
      cross_attention_dim=1536,
      text_norm="none",
      text_pool="clip",
      image_tokens=4,
      head_dim=64,
    ),
    _process("squaredcos_cap_v2"),
    resolution=64,
    sampling=KARLO_SAMPLING,
    max_length=79,  # two embeddings, 77 tokens
    prefix="model.",
  ),
  # Their resolutions are of latents, an eighth of the picture's.
  "stable_diffusion_1": _stable_diffusion(1, "eps", 64),
  "stable_diffusion_2": _stable_diffusion(2, "eps", 64),
  "stable_diffusion_2_v": _stable_diffusion(2, "v", 96),
}
DOWN = {"ResnetDownsampleBlock2D": False, "SimpleCrossAttnDownBlock2D": True}
UP = {"ResnetUpsampleBlock2D": False, "SimpleCrossAttnUpBlock2D": True}
# Fields of diffusers' UNet2DConditionModel that may have these values only; a field that is not there has the first.
FIXED = {
  "mid_block_type": ("UNetMidBlock2DSimpleCrossAttn",),
  "resnet_time_scale_shift": ("scale_shift",),
  "norm_eps": (1e-5,),
  "flip_sin_to_cos": (True,),
  "freq_shift": (0,),
  "center_input_sample": (False,),
  "dual_cross_attention": (False,),
  "class_embed_type": (None, "timestep", "identity"),
  "class_embeddings_concat": (False,),
  "time_embedding_type": ("positional",),
  "time_cond_proj_dim": (None,),
  "timestep_post_act": (None,),
  "encoder_hid_dim_type": (None, "text_proj"),
  "addition_embed_type": (None, "text"),
  "cross_attention_norm": (None, "group_norm"),
  "conv_in_kernel": (3,),
  "conv_out_kernel": (3,),
  "num_attention_heads": (None,),
}


def from_diffusers_unet(
  config: Mapping[str, Any], text_proj: Mapping[str, Any] | None = None
) -> ImageUNetConfig:
  """The config of a diffusers `UNet2DConditionModel`: of DeepFloyd IF, Karlo's decoder, or Stable Diffusion 1 and 2.

  Args:
    config: its `config.json`.
    text_proj: that of the `UnCLIPTextProjModel` before it; None if there is none.

  Raises:
    ValueError: names the field that has a value we have no network for.
  """
  if config.get("_class_name", "UNet2DConditionModel") != "UNet2DConditionModel":
    raise ValueError(f"_class_name={config['_class_name']!r} must be UNet2DConditionModel")
  if stable_diffusion.is_one(config):
    return stable_diffusion.from_diffusers(config)
  for field, accepted in FIXED.items():
    if config.get(field, accepted[0]) not in accepted:
      raise ValueError(
        f"{field}={config[field]!r} is not supported: {' or '.join(map(repr, accepted))} is"
      )
  config = kinds.checked(config, kinds.DIFFUSERS_UNET)
  down, up = config["down_block_types"], config["up_block_types"]
  for name, types, known in (("down_block_types", down, DOWN), ("up_block_types", up, UP)):
    if bad := sorted(set(types) - set(known)):
      raise ValueError(f"{name} has {bad[0]}, which is not supported: {' and '.join(known)} are")
  attends = [DOWN[kind] for kind in down]
  if not any(attends):
    raise ValueError(f"down_block_types={down} must attend somewhere: the middle does")
  if [UP[kind] for kind in reversed(up)] != attends:
    raise ValueError(f"up_block_types={up} must attend where down_block_types={down} do")
  act = {"swish": "silu"}.get(config["act_fn"], config["act_fn"])
  if act not in ACTIVATIONS:
    raise ValueError(f"act_fn={act!r} is not supported: {' and '.join(ACTIVATIONS)} are")
  # Either every block activates the embedding, or it is activated once before all of them: the same.
  if (config.get("time_embedding_act_fn") is not None) != config.get("resnet_skip_time_act", False):
    raise ValueError(
      f"time_embedding_act_fn={config.get('time_embedding_act_fn')!r} and resnet_skip_time_act="
      f"{config.get('resnet_skip_time_act', False)} must be given together or not at all"
    )
  if config.get("time_embedding_act_fn") not in (None, config["act_fn"]):
    raise ValueError(
      f"time_embedding_act_fn={config['time_embedding_act_fn']!r} must be act_fn={config['act_fn']!r}"
    )
  scale = config.get("resnet_out_scale_factor") or 1.0
  if (config.get("mid_block_scale_factor") or 1.0) != scale:
    raise ValueError(
      f"mid_block_scale_factor={config.get('mid_block_scale_factor')} must be resnet_out_scale_factor={scale}"
    )
  only_text = config.get("only_cross_attention", False)
  if config.get("mid_block_only_cross_attention") not in (None, only_text):
    raise ValueError(
      f"mid_block_only_cross_attention={config['mid_block_only_cross_attention']} must be only_cross_attention={only_text}"
    )
  layers = config["layers_per_block"]
  width = config["cross_attention_dim"]
  if (config.get("class_embed_type") == "identity") != (text_proj is not None):
    raise ValueError(
      f"class_embed_type={config.get('class_embed_type')!r}: 'identity' goes with text_proj/config.json beside it"
    )
  if text_proj is not None:
    text_proj = kinds.checked(text_proj, kinds.KARLO_TEXT)
    text = dict(
      text_dim=text_proj.get("clip_embeddings_dim", 768),
      cross_attention_dim=width,
      text_pool="clip",
      image_tokens=text_proj.get("clip_extra_context_tokens", 4),
    )
  else:
    text = dict(
      text_dim=config.get("encoder_hid_dim") or width,
      cross_attention_dim=width if config.get("encoder_hid_dim") else None,
      text_pool="attention" if config.get("addition_embed_type") else "none",
      pool_heads=config.get("addition_embed_type_num_heads", 64),
      attends_to_padding=True,
    )
  return ImageUNetConfig(
    channels=tuple(config["block_out_channels"]),
    num_res_blocks=layers if isinstance(layers, int) else tuple(layers),
    attention_levels=tuple(level for level, attention in enumerate(attends) if attention),
    in_channels=config["in_channels"],
    out_channels=config["out_channels"],
    **text,
    text_norm="group" if config.get("cross_attention_norm") else "none",
    self_attention=not only_text,
    head_dim=config["attention_head_dim"],
    embedding_dim=config.get("time_embedding_dim") or 4 * config["block_out_channels"][0],
    augmentation_embedding=config.get("class_embed_type") == "timestep",
    norm_groups=config.get("norm_num_groups", 32),
    activation=act,
    residual_scale=1 / scale,
  )


def from_if(params: Mapping[str, Any]) -> ImageUNetConfig:
  """The config of a network of DeepFloyd IF's own code, from `params` of its `config.yml`.

  Raises:
    ValueError: names the field that is missing or has a value we have no network for.
  """
  for field, wanted in (
    ("use_scale_shift_norm", True),
    ("resblock_updown", True),
    ("num_classes", None),
    ("dims", 2),
  ):
    if params.get(field, 2 if field == "dims" else None) != wanted:
      raise ValueError(f"{field}={params.get(field)!r} is not supported: {wanted!r} is")
  params = kinds.checked(params, kinds.DEEPFLOYD)
  if params["activation"] not in ACTIVATIONS:
    raise ValueError(
      f"activation={params['activation']!r} is not supported: {' and '.join(ACTIVATIONS)} are"
    )

  def numbers(field: str) -> list[int]:
    """Of a list, or of "32,16,8"."""
    value = params[field]
    parts = value.split(",") if isinstance(value, str) else value
    if not all(str(part).strip().isdecimal() and int(part) > 0 for part in parts):
      raise ValueError(f"{field}={value!r} must be whole numbers of 1 or more, joined by commas")
    return [int(part) for part in parts]

  def levels(field: str) -> tuple[int, ...]:
    """Those whose resolution is in "32,16,8", or whose downsampling is in [2, 4, 8]."""
    sides = numbers(field)
    if isinstance(params[field], str):
      sides = [params["image_size"] // side for side in sides]
    return tuple(level for level in range(len(multiples)) if 2**level in sides)

  multiples = numbers("channel_mult")
  attends, only_text = levels("attention_resolutions"), params.get("disable_self_attentions")
  if only_text and only_text is not True and levels("disable_self_attentions") != attends:
    raise ValueError(
      f"disable_self_attentions={only_text!r} must be none or all of attention_resolutions={params['attention_resolutions']!r}"
    )
  width, blocks = params["model_channels"], params["num_res_blocks"]
  text_dim, attended = params["encoder_dim"], params["encoder_channels"]
  return ImageUNetConfig(
    channels=tuple(width * multiple for multiple in multiples),
    num_res_blocks=blocks if isinstance(blocks, int) else tuple(numbers("num_res_blocks")),
    attention_levels=attends,
    in_channels=params["in_channels"],
    out_channels=params["out_channels"],
    text_dim=text_dim,
    cross_attention_dim=attended if attended != text_dim else None,
    text_norm="group",
    text_pool="attention",
    pool_heads=params["att_pool_heads"],
    attends_to_padding=True,
    self_attention=not only_text,
    head_dim=params["num_head_channels"],
    embedding_dim=width * max(multiples),
    augmentation_embedding=params["in_channels"] == 6,
    activation=params["activation"],
    residual_scale=0.7071 if params.get("scale_skip_connection") else 1.0,
  )


def to_diffusers_unet(config: ImageUNetConfig, size: Size) -> dict[str, Any]:
  """The `config.json` with which diffusers builds the same network.

  Raises:
    ValueError: names the field that diffusers has no network for.
  """
  if config.transformer_depth:
    return stable_diffusion.to_diffusers(config, size)
  for field, only in (("num_heads", 0), ("scale_shift", True), ("plain_resampling", False)):
    if getattr(config, field) != only:
      raise ValueError(
        f"{field}={getattr(config, field)} cannot be written: diffusers has {only} with transformer_depth=0"
      )
  if config.text_dim and config.text_norm == "layer":
    raise ValueError(
      "text_norm='layer' cannot be written: diffusers' blocks have 'group' or 'none'"
    )
  if config.text_pool not in ("attention", "none"):
    raise ValueError(
      f"text_pool={config.text_pool!r} cannot be written: diffusers' U-Net has 'attention' or 'none'"
    )
  attends = [level in config.attention_levels for level in range(len(config.channels))]
  kind = lambda table, flag: next(name for name, value in table.items() if value == flag)
  return {
    "_class_name": "UNet2DConditionModel",
    "sample_size": size[0] if size[0] == size[1] else list(size),
    "in_channels": config.in_channels,
    "out_channels": config.out_channels,
    "block_out_channels": list(config.channels),
    "layers_per_block": list(config.num_res_blocks),
    "down_block_types": [kind(DOWN, flag) for flag in attends],
    "mid_block_type": "UNetMidBlock2DSimpleCrossAttn",
    "up_block_types": [kind(UP, flag) for flag in reversed(attends)],
    "only_cross_attention": not config.self_attention,
    "mid_block_only_cross_attention": not config.self_attention,
    "attention_head_dim": config.head_dim,
    "cross_attention_dim": config.cross_attention_dim or config.text_dim,
    "encoder_hid_dim": config.text_dim if config.cross_attention_dim else None,
    "encoder_hid_dim_type": "text_proj" if config.cross_attention_dim else None,
    "cross_attention_norm": "group_norm" if config.text_norm == "group" else None,
    "addition_embed_type": "text" if config.text_pool == "attention" else None,
    "addition_embed_type_num_heads": config.pool_heads,
    "act_fn": config.activation,
    "time_embedding_act_fn": config.activation,
    "resnet_skip_time_act": True,
    "resnet_time_scale_shift": "scale_shift",
    "resnet_out_scale_factor": 1 / config.residual_scale,
    "mid_block_scale_factor": 1 / config.residual_scale,
    "time_embedding_dim": config.embedding_dim,
    "class_embed_type": "timestep" if config.augmentation_embedding else None,
    "norm_num_groups": config.norm_groups,
    "norm_eps": 1e-5,
  }


VARIANCES = {"fixed_small": "small", "fixed_large": "large", "learned_range": "learned"}


def from_diffusers_scheduler(
  config: Mapping[str, Any],
) -> tuple[DiffusionConfig, dict[str, Any]]:
  """(the process that a network was trained in, fields of `SamplingConfig`) from `scheduler_config.json`.

  Raises:
    ValueError: names the field that has a value we have nothing for.
  """
  config = kinds.checked(config, kinds.SCHEDULER)
  if config.get("_class_name") == "UnCLIPScheduler":
    config = {"beta_schedule": "squaredcos_cap_v2", "timestep_spacing": "linspace", **config}
  predictions = {"epsilon": "eps", "v_prediction": "v", "sample": "x0"}
  prediction = config.get("prediction_type", "epsilon")
  if prediction not in predictions:
    raise ValueError(f"prediction_type={prediction!r} must be one of {', '.join(predictions)}")
  variance = config.get("variance_type", "fixed_small").removesuffix("_log")
  if variance not in VARIANCES:
    raise ValueError(
      f"variance_type={config['variance_type']!r} is not supported: {', '.join(VARIANCES)} are"
    )
  if config.get("trained_betas") is not None or config.get("rescale_betas_zero_snr"):
    raise ValueError("trained_betas and rescale_betas_zero_snr are not supported")
  schedule = {
    "name": config.get("beta_schedule", "linear"),
    "num_timesteps": config.get("num_train_timesteps", 1000),
    "spacing": config.get("timestep_spacing", "leading"),
  }
  if schedule["name"] != "squaredcos_cap_v2":
    schedule |= {name: config[name] for name in ("beta_start", "beta_end") if name in config}
  if config.get("thresholding"):
    threshold = {
      "name": "dynamic",
      "percentile": config.get("dynamic_thresholding_ratio", 0.995),
      "maximum": config.get("sample_max_value", 1.0),
    }
  else:
    threshold = {"name": "static" if config.get("clip_sample", True) else "none"}
  diffusion = DiffusionConfig(schedule=schedule, prediction=predictions[prediction])
  return diffusion, {"threshold": threshold, "variance": VARIANCES[variance]}


def to_diffusers_scheduler(diffusion: DiffusionConfig, sampling: SamplingConfig) -> dict[str, Any]:
  """The `scheduler_config.json` of the same process."""
  schedule = dict(diffusion.schedule)
  if schedule["name"] == "cosine":
    raise ValueError(
      "diffusion.schedule.name='cosine' cannot be written: diffusers has no continuous schedules"
    )
  threshold = dict(sampling.threshold)
  predictions = {"eps": "epsilon", "v": "v_prediction", "x0": "sample"}
  return {
    "_class_name": "DDPMScheduler",
    "beta_schedule": schedule["name"],
    "num_train_timesteps": schedule.get("num_timesteps", 1000),
    "timestep_spacing": schedule.get("spacing", "trailing"),
    "beta_start": schedule.get("beta_start", 1e-4),
    "beta_end": schedule.get("beta_end", 0.02),
    "prediction_type": predictions[diffusion.prediction],
    "variance_type": {ours: theirs for theirs, ours in VARIANCES.items()}[sampling.variance],
    "thresholding": threshold["name"] == "dynamic",
    "dynamic_thresholding_ratio": threshold.get("percentile", 0.995),
    "sample_max_value": threshold.get("maximum") or 1.0,
    "clip_sample": threshold["name"] == "static",
  }
