"""Networks as others publish them, with small random weights that are drawn again from names and shapes wherever needed."""

import json
import pathlib
import zlib

import numpy as np
from flax import nnx, traverse_util
from safetensors.numpy import save_file

from lumiere import weights
from lumiere.interop import names
from stunet.image_unet import ImageUNet, ImageUNetConfig

GOLDEN = pathlib.Path(__file__).parent / "golden"

IF_I = dict(
  sample_size=16, in_channels=3, out_channels=6, block_out_channels=[32, 64], layers_per_block=1,
  down_block_types=["ResnetDownsampleBlock2D", "SimpleCrossAttnDownBlock2D"],
  mid_block_type="UNetMidBlock2DSimpleCrossAttn",
  up_block_types=["SimpleCrossAttnUpBlock2D", "ResnetUpsampleBlock2D"],
  attention_head_dim=16, cross_attention_dim=32, encoder_hid_dim=24, encoder_hid_dim_type="text_proj",
  cross_attention_norm="group_norm", addition_embed_type="text", addition_embed_type_num_heads=4,
  act_fn="gelu", resnet_time_scale_shift="scale_shift", norm_num_groups=16,
)  # fmt: skip
IF_II = IF_I | dict(
  in_channels=6, layers_per_block=[1, 2], only_cross_attention=True, class_embed_type="timestep",
  time_embedding_act_fn="gelu", resnet_skip_time_act=True, resnet_out_scale_factor=1 / 0.7071,
  mid_block_scale_factor=1 / 0.7071, time_embedding_dim=96,
)  # fmt: skip
SCHEDULER = dict(
  _class_name="DDPMScheduler", beta_schedule="squaredcos_cap_v2", prediction_type="epsilon",
  variance_type="learned_range", thresholding=True, dynamic_thresholding_ratio=0.95, sample_max_value=1.5,
  num_train_timesteps=1000, timestep_spacing="leading",
)  # fmt: skip


def draw(shapes: dict[str, list[int]]) -> dict[str, np.ndarray]:
  """A tensor for each name, the same wherever it is drawn: none is zero or one, so that no mistake is hidden."""
  tensors = {}
  for name, shape in shapes.items():
    noise = np.random.default_rng(zlib.crc32(name.encode())).standard_normal(shape)
    fan_in = np.prod(shape[1:]) if len(shape) > 1 else 1
    scale = 0.1 if len(shape) == 1 else fan_in**-0.5
    is_norm = len(shape) == 1 and name.endswith("weight")
    tensors[name] = (is_norm + scale * noise).astype(np.float32)
  return tensors


def write_unet(folder: pathlib.Path, config: dict, shapes: dict, scheduler=SCHEDULER):
  """A pipeline folder of diffusers."""
  for name, content in (("unet", config | {"_class_name": "UNet2DConditionModel"}), ("scheduler", scheduler)):  # fmt: skip
    (folder / name).mkdir(parents=True)
    file = "config.json" if name == "unet" else "scheduler_config.json"
    (folder / name / file).write_text(json.dumps(content))
  save_file(draw(shapes), folder / "unet" / "diffusion_pytorch_model.safetensors")


def train_pieces(path, vocab_size: int = 30):
  """A small SentencePiece model with T5's special tokens."""
  import sentencepiece

  text = [
    "a red circle moves left",
    "one blue square bounces up and down",
    "a green triangle spins",
  ]
  sentencepiece.SentencePieceTrainer.train(
    sentence_iterator=iter(text * 20), model_prefix=str(path.with_suffix("")), vocab_size=vocab_size,
    pad_id=0, eos_id=1, unk_id=2, bos_id=-1, minloglevel=2,
  )  # fmt: skip
  path.with_suffix(".model").rename(path)


# GLIDE's base network, made small. Blocks are counted as its own code counts them.
GLIDE = ImageUNetConfig(
  channels=(32, 64), num_res_blocks=1, attention_levels=(1,), out_channels=6, text_dim=24,
  text_norm="none", text_pool="last", attends_to_padding=True, head_dim=16,
)  # fmt: skip
ADM_DOWN, ADM_UP = {2}, {1}


# Karlo's decoder, made small; in diffusers' folders the text has a part of its own.
KARLO = ImageUNetConfig(
  channels=(32, 64), num_res_blocks=1, attention_levels=(1,), out_channels=6, text_dim=24,
  cross_attention_dim=40, text_norm="none", text_pool="clip", image_tokens=3, head_dim=16,
)  # fmt: skip
KARLO_DECODER = dict(
  sample_size=16, in_channels=3, out_channels=6, block_out_channels=[32, 64], layers_per_block=1,
  down_block_types=["ResnetDownsampleBlock2D", "SimpleCrossAttnDownBlock2D"],
  mid_block_type="UNetMidBlock2DSimpleCrossAttn",
  up_block_types=["SimpleCrossAttnUpBlock2D", "ResnetUpsampleBlock2D"],
  attention_head_dim=16, cross_attention_dim=40, class_embed_type="identity", act_fn="silu",
  resnet_time_scale_shift="scale_shift",
)  # fmt: skip
KARLO_TEXT = dict(
  clip_extra_context_tokens=3, clip_embeddings_dim=24, time_embed_dim=128, cross_attention_dim=40
)
# IF-II as DeepFloyd's own code describes it, made small.
IF_PARAMS = dict(
  image_size=32, in_channels=6, out_channels=6, model_channels=32, channel_mult="1,2", num_res_blocks=[1, 2],
  attention_resolutions="16", disable_self_attentions="16", activation="gelu", encoder_dim=24,
  encoder_channels=64, att_pool_heads=4, num_head_channels=16, use_scale_shift_norm=True,
  resblock_updown=True, efficient_activation=True, scale_skip_connection=True, precision="16",
)  # fmt: skip
IF_UP = {2}


def adm_shapes(config: ImageUNetConfig, prefix: str = "") -> dict[str, list[int]]:
  """Names and shapes of a network in the ADM family's own naming."""
  abstract = weights.split(nnx.eval_shape(lambda: ImageUNet(config, rngs=weights.Seeds(0))))[1]
  sources = [
    names.source_of(path, leaf.shape, names.adm(config, prefix))
    for path, leaf in traverse_util.flatten_dict(abstract, sep="/").items()
  ]
  # 1x1 convolutions over the pixels are 1-D there.
  attention = ("qkv.weight", "encoder_kv.weight", "proj_out.weight")
  return {s.key: [*s.shape, *([1] if s.key.endswith(attention) else [])] for s in sources}
