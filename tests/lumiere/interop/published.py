"""Networks as others publish them, with small random weights that are drawn again from names and shapes wherever needed."""

import base64
import collections
import json
import pathlib
import pickle
import sys
import types
import zipfile
import zlib
from unittest import mock

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


def train_pieces(path, vocab_size: int = 30, **options):
  """A small SentencePiece model with T5's special tokens."""
  import sentencepiece

  text = [
    "a red circle moves left",
    "one blue square bounces up and down",
    "a green triangle spins",
  ]
  sentencepiece.SentencePieceTrainer.train(
    sentence_iterator=iter(text * 20), model_prefix=str(path.with_suffix("")), vocab_size=vocab_size,
    pad_id=0, eos_id=1, unk_id=2, bos_id=-1, minloglevel=2, **options,
  )  # fmt: skip
  path.with_suffix(".model").rename(path)
  path.with_suffix(".vocab").unlink()


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


def torch_module() -> types.ModuleType:
  """The names of torch that its files call, without torch. What they make is in the files only."""
  torch = types.ModuleType("torch")
  torch._utils = types.ModuleType("torch._utils")
  kinds = [
    ("Float", "float32"),
    ("Half", "float16"),
    ("BFloat16", "bfloat16"),
    ("Double", "float64"),
  ]
  kinds += [("Long", "int64"), ("Char", "int8"), ("Bool", "bool"), ("ComplexFloat", "complex64")]
  for name, dtype in kinds:
    cls = type(f"{name}Storage", (), {"__module__": "torch", "dtype": dtype})
    setattr(torch, cls.__name__, cls)
  for name in ("tensor_v2", "parameter", "sparse_tensor", "qtensor", "meta_tensor_no_storage"):
    function = types.FunctionType((lambda: None).__code__, {}, f"_rebuild_{name}")
    function.__module__, function.__qualname__ = "torch._utils", function.__name__
    setattr(torch._utils, function.__name__, function)
  return torch


class Call:
  """Pickled as a call of the function `torch._utils._rebuild_NAME`."""

  def __init__(self, name: str, *args):
    self.name, self.args = name, args

  def __reduce__(self):
    return getattr(sys.modules["torch._utils"], f"_rebuild_{self.name}"), self.args


class Storage:
  """Numbers that tensors are views into."""

  def __init__(self, numbers: np.ndarray):
    self.numbers = numbers


def torch_tensor(array: np.ndarray, storage: Storage | None = None, offset: int = 0, strides=None):
  """An array as torch pickles a tensor; by default of a storage of its own."""
  strides = strides or np.empty(array.shape, np.uint8).strides
  storage = storage or Storage(np.ascontiguousarray(array).reshape(-1))
  hooks = collections.OrderedDict()
  return Call("tensor_v2", storage, offset, array.shape, tuple(strides), False, hooks)


def write_torch(path: pathlib.Path, content, checksums: bool = True):
  """A file as torch.save writes it; the arrays in a dict `content` become tensors."""
  if isinstance(content, dict):
    content = {
      name: torch_tensor(x) if isinstance(x, np.ndarray) else x for name, x in content.items()
    }
  torch, storages = torch_module(), {}

  class Pickler(pickle.Pickler):
    def persistent_id(self, thing):
      if not isinstance(thing, Storage):
        return None
      key = storages.setdefault(id(thing), (str(len(storages)), thing.numbers))[0]
      kinds = {cls.dtype: cls for cls in vars(torch).values() if hasattr(cls, "dtype")}
      return "storage", kinds[thing.numbers.dtype.name], key, "cpu", thing.numbers.size

  with mock.patch.dict(sys.modules, {"torch": torch, "torch._utils": torch._utils}):
    with zipfile.ZipFile(path, "w") as archive:
      with archive.open(f"{path.stem}/data.pkl", "w") as file:
        Pickler(file, protocol=2).dump(content)
      archive.writestr(f"{path.stem}/byteorder", "little")
      for key, numbers in storages.values():
        archive.writestr(f"{path.stem}/data/{key}", numbers.tobytes())
      archive.writestr(f"{path.stem}/version", "3\n")
      if not checksums:
        for entry in archive.infolist():
          entry.CRC = 0


def write_parts(folder: pathlib.Path, tensors: dict[str, np.ndarray], form: str, variant: str = ""):
  """Two files and their index, as transformers names them: `form` is "safetensors" or "bin"."""
  stem = "model" if form == "safetensors" else "pytorch_model"
  dotted = f".{variant}" if variant else ""
  parts = [f"{stem}{dotted}-0000{n}-of-00002.{form}" for n in (1, 2)]
  weight_map = {name: parts[index % 2] for index, name in enumerate(tensors)}
  for part in parts:
    content = {name: x for name, x in tensors.items() if weight_map[name] == part}
    (save_file if form == "safetensors" else lambda x, path: write_torch(path, x))(
      content, folder / part
    )
  index = {"metadata": {"total_size": 0}, "weight_map": weight_map}
  (folder / f"{stem}.{form}.index{dotted}.json").write_text(json.dumps(index))


def t5_tensors() -> tuple[dict, dict[str, np.ndarray]]:
  """(config.json, tensors) of a small T5 v1.1 encoder, which transformers has made."""
  with np.load(GOLDEN.parents[1] / "text" / "golden" / "t5_v1_1.npz") as file:
    arrays = dict(file)
  sizes = {k.split("/")[1]: int(v) for k, v in arrays.items() if k.startswith("config/")}
  config = sizes | {"model_type": "t5", "feed_forward_proj": "gated-gelu"}
  return config, {k.split("/", 1)[1]: v for k, v in arrays.items() if k.startswith("weights/")}


def tokenizer_json(model: pathlib.Path, extra_ids: int = 3) -> dict:
  """What transformers writes of a SentencePiece model of T5, whose sentinels stand after its pieces."""
  from sentencepiece import sentencepiece_model_pb2

  proto = sentencepiece_model_pb2.ModelProto.FromString(model.read_bytes())
  sentinels = [f"<extra_id_{n}>" for n in reversed(range(extra_ids))]
  pieces = [[p.piece, p.score] for p in proto.pieces] + [[name, 0.0] for name in sentinels]
  metaspace = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True}
  return {
    "version": "1.0",
    "added_tokens": [
      {"id": index, "content": piece, "normalized": False, "special": True}
      for index, (piece, _) in enumerate(pieces)
      if index < 3 or piece in sentinels
    ],
    "normalizer": {
      "type": "Precompiled",
      "precompiled_charsmap": base64.b64encode(proto.normalizer_spec.precompiled_charsmap).decode(),
    },
    "pre_tokenizer": {
      "type": "Sequence",
      "pretokenizers": [{"type": "WhitespaceSplit"}, metaspace],
    },
    "model": {"type": "Unigram", "unk_id": 2, "vocab": pieces, "byte_fallback": False},
  }
