"""Pretrained text encoders, as `lumiere.convert` writes them.

A folder holds everything that captions need:

    config.json     kind ("t5", "glide" or "clip") and sizes
    weights/        Orbax
    checksums/      of the weights
    spiece.model    T5's SentencePiece model; ByT5 has none, its tokens are bytes
    *.gz            GLIDE's BPE
    vocab.json, merges.txt      CLIP's BPE; special_tokens_map.json where it pads otherwise than with the end
"""

import dataclasses
import functools
import hashlib
import json
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from etils import epath
from flax import nnx
from jaxtyping import Array

from lumiere import checksums, fields, files, trees, weights
from lumiere import mesh as meshes
from lumiere.sections import MeshConfig
from lumiere.text import clip
from lumiere.text.clip import ClipConfig, ClipEncoder, ClipTokenizer
from lumiere.text.glide import FILES, GlideTextConfig, GlideTextEncoder, GlideTokenizer
from lumiere.text.t5 import T5Config, T5Encoder
from lumiere.text.tokenize import VOCAB_SIZE, ByteTokenizer, SentencePieceTokenizer
from stunet import layout

KINDS = {
  "t5": (T5Config, T5Encoder),
  "glide": (GlideTextConfig, GlideTextEncoder),
  "clip": (ClipConfig, ClipEncoder),
}
TOKENIZERS = ("spiece.model", "tokenizer.json", *FILES, *clip.FILES, clip.SPECIAL)
Config = T5Config | GlideTextConfig | ClipConfig


class TextEncoder:
  """A frozen encoder with its tokenizer. Devices share its weights, which are gathered layer by layer, and the captions."""

  def __init__(
    self,
    config: Config,
    tokenizer,
    params: weights.Weights,
    dtype,
    mesh,
    checksum: str,
    context: bool = False,
  ):
    """`dtype` is what is computed in; `params` lie on `mesh`; `checksum` is that of `checksum_of`; `context`: see `restore`."""
    self._rebuild, *_ = weights.split(abstract(config, dtype))
    self.config, self.tokenizer, self._params, self._mesh = config, tokenizer, params, mesh
    self.checksum, self._context = checksum, context

  @classmethod
  def restore(
    cls,
    folder: epath.PathLike,
    max_length: int,
    dtype: str | None = None,
    mesh: jax.sharding.Mesh | None = None,
  ) -> "TextEncoder":
    """Reads a converted encoder.

    Args:
      folder: what `lumiere.convert` wrote.
      max_length: tokens of a caption; the rest is cut off. Of CLIP two more than its places: states then come after two
        embeddings, as Karlo's decoder reads them (`ClipEncoder.context`).
      dtype: of weights and computation; by default bfloat16, and float32 on a CPU.
      mesh: where weights and captions are split over `fsdp`; by default over all devices of this process.

    Raises:
      ValueError: if the folder holds no text encoder, one of another length, or weights that cannot be read.
    """
    folder, checksum = epath.Path(folder).resolve(), checksum_of(folder)
    config = load_config(folder)
    context = isinstance(config, ClipConfig) and max_length == config.length + clip.EMBEDDINGS
    if context and not (config.projects and config.projection_dim == config.d_model):
      raise ValueError(
        f"{folder} gives no embedding of a caption that is as wide as its states: convert the text encoder of Karlo's folder"
      )
    tokenizer = load_tokenizer(folder, config, config.length if context else max_length)
    dtype = jnp.dtype(dtype or ("float32" if jax.default_backend() == "cpu" else "bfloat16"))
    if mesh is None:
      devices = jax.local_devices()
      mesh = meshes.make_mesh(MeshConfig(fsdp=len(devices)), devices)
    params = load_weights(folder, config, dtype, mesh)
    return cls(config, tokenizer, params, dtype.type, mesh, checksum, context)

  def __call__(self, captions: Sequence[str]) -> dict[str, Array]:
    """States of captions.

    Returns:
      "text" [b l d] float32, and "text_mask" [b l], True on tokens; on the encoder's mesh.
    """
    with jax.set_mesh(self._mesh):
      return self._encode(self._params, self.tokenizer(captions))

  def condition(self, captions: Sequence[str]) -> dict[str, Array]:
    """What a network is conditioned with: `text` and `text_mask`, and as `null_text` and `null_text_mask` those of ""."""
    return self(captions) | {f"null_{name}": x for name, x in self([""] * len(captions)).items()}

  @functools.cached_property
  def _encode(self):
    def encode(params, batch):
      tokens, mask = (layout.over_examples(batch)[name] for name in ("tokens", "mask"))
      model = self._rebuild(params, {})
      text, mask = model.context(tokens, mask) if self._context else (model(tokens, mask), mask)
      return {"text": text.astype(jnp.float32), "text_mask": mask}

    return jax.jit(encode)


def abstract(config: Config, dtype=jnp.float32) -> nnx.Module:
  """The encoder of a config, without weights."""
  make = next(make for kind, make in KINDS.values() if isinstance(config, kind))
  return nnx.eval_shape(lambda: make(config, dtype=dtype, rngs=weights.Seeds(0)))


def load_config(folder: epath.PathLike) -> Config:
  """The config of a converted encoder; raises ValueError if it cannot be one."""
  path = epath.Path(folder) / "config.json"
  if not path.exists():
    raise ValueError(
      f"{folder} holds no text encoder: lumiere.convert makes one from a T5 or CLIP folder or a GLIDE file"
    )
  sizes = files.read_json(path)
  with files.about(path):
    kind = sizes.pop("kind", None)
    fields.one_of("kind", kind, tuple(KINDS))
    cls, _ = KINDS[kind]
    return fields.from_mapping(cls, sizes, "encoder")


def load_weights(
  folder: epath.PathLike, config: Config, dtype, mesh: jax.sharding.Mesh
) -> weights.Weights:
  """The weights of a converted encoder, on a mesh; raises ValueError if they cannot be read."""
  target = jax.tree.map(
    lambda leaf: leaf.update(dtype=dtype),
    meshes.abstract(weights.split(abstract(config))[1], mesh),
  )
  try:
    return trees.restore(epath.Path(folder), target)
  except trees.CheckpointError:
    for pattern in ("*", "*/*"):
      for path in (epath.Path(folder) / "weights").glob(pattern):
        if path.is_file():
          files.check_fetched(path)
    raise


def checksum_of(folder: epath.PathLike) -> str:
  """16 hexadecimal digits that stand for an encoder: its weights, sizes and tokenizer, as they are on disk.

  Weights are not read but what was noted of them; `TextEncoder.restore` compares the two.

  Raises:
    ValueError: if the folder holds no text encoder.
  """
  folder = epath.Path(folder).resolve()
  sizes = dataclasses.asdict(load_config(folder))
  if not (folder / "checksums").exists():
    raise ValueError(f"{folder} has no checksums: convert the text encoder again")
  tokenizers = [folder / name for name in TOKENIZERS]
  contents = {
    path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in tokenizers if path.exists()
  }
  written = trees.twice(lambda: trees.read_json(folder / "checksums"))
  return checksums.digest([sizes, contents, written])


def load_tokenizer(folder: epath.PathLike, config: Config, max_length: int):
  """The tokenizer in a folder; raises ValueError if it is not there, or is another encoder's."""
  if isinstance(config, GlideTextConfig):
    if max_length != config.length:
      raise ValueError(f"max_length={max_length} must be {config.length}, the encoder's places")
    tokenizer = GlideTokenizer(folder, max_length)
    if tokenizer.vocab_size != config.vocab_size:
      raise ValueError(
        f"{folder} has {tokenizer.vocab_size} tokens for an encoder of {config.vocab_size}: they are another encoder's"
      )
    return tokenizer
  if isinstance(config, ClipConfig):
    if not 3 <= max_length <= config.length:
      raise ValueError(
        f"max_length={max_length} must be from 3 to {config.length}, CLIP's places, or {config.length + clip.EMBEDDINGS} for Karlo"
      )
    return ClipTokenizer(folder, max_length)
  if config.vocab_size == VOCAB_SIZE:
    return ByteTokenizer(max_length)
  pieces = epath.Path(folder) / "spiece.model"
  if not pieces.exists():
    raise ValueError(f"{pieces} is missing: convert the encoder again, or copy it from there")
  tokenizer = SentencePieceTokenizer(pieces, max_length)
  tokenizer.check_fits(config.vocab_size)
  return tokenizer


def save(folder: epath.PathLike, config: Config, tree: weights.Weights):
  """Writes config and weights; leaves may be `weights.Deferred`."""
  folder = epath.Path(folder).resolve()
  trees.save(folder, tree, read_as=("float32", "bfloat16"))
  kind = next(name for name, (cls, _) in KINDS.items() if isinstance(config, cls))
  sizes = {"kind": kind} | dataclasses.asdict(config)
  (folder / "config.json").write_text(json.dumps(sizes, indent=2) + "\n")
