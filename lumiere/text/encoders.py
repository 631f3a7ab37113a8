"""Pretrained text encoders, as `lumiere.interop.convert` writes them.

A folder holds all that captions need:

    config.json     kind ("t5" or "glide") and sizes
    weights/        Orbax
    spiece.model    T5's pieces; without them tokens are bytes (ByT5)
    *.gz            GLIDE's BPE
"""

import dataclasses
import functools
import json
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from etils import epath
from flax import nnx
from jaxtyping import Array

from lumiere import weights
from lumiere.text.glide import GlideTextConfig, GlideTextEncoder, GlideTokenizer
from lumiere.text.t5 import T5Config, T5Encoder
from lumiere.text.tokenize import ByteTokenizer, SentencePieceTokenizer
from lumiere.training import checkpoints

KINDS = {"t5": (T5Config, T5Encoder), "glide": (GlideTextConfig, GlideTextEncoder)}
Config = T5Config | GlideTextConfig


class TextEncoder:
  """A frozen encoder with its tokenizer. Weights are spread over all local devices, each holds a part."""

  def __init__(self, config: Config, tokenizer, params: weights.Weights, dtype):
    """`dtype` is what is computed in."""
    self._rebuild, *_ = weights.split(abstract(config, dtype))
    self.config, self.tokenizer, self._params = config, tokenizer, params

  @classmethod
  def restore(
    cls, folder: epath.PathLike, max_length: int, dtype: str | None = None
  ) -> "TextEncoder":
    """Reads a converted encoder.

    Args:
      folder: what `lumiere.interop.convert` wrote.
      max_length: tokens of a caption; the rest is cut off.
      dtype: of weights and computation; by default bfloat16, and float32 on a CPU.

    Raises:
      ValueError: if the folder holds no text encoder, or one of another length.
    """
    folder = epath.Path(folder).resolve()
    if not (folder / "config.json").exists():
      raise ValueError(
        f"{folder} holds no text encoder: lumiere.interop.convert makes one from a T5 folder or a GLIDE file"
      )
    sizes = json.loads((folder / "config.json").read_text())
    config = KINDS[sizes.pop("kind")][0](**sizes)
    tokenizer = load_tokenizer(folder, config, max_length)
    dtype = jnp.dtype(dtype or ("float32" if jax.default_backend() == "cpu" else "bfloat16"))
    mesh = jax.make_mesh((jax.local_device_count(),), ("fsdp",), (jax.sharding.AxisType.Auto,))
    target = jax.tree.map(
      lambda leaf: jax.ShapeDtypeStruct(leaf.shape, dtype, sharding=_spread(leaf.shape, mesh)),
      weights.split(abstract(config))[1],
    )
    return cls(config, tokenizer, checkpoints.restore_tree(folder / "weights", target), dtype.type)

  def __call__(self, captions: Sequence[str]) -> dict[str, Array]:
    """States of captions.

    Returns:
      "text" [b l d] float32, and "text_mask" [b l], True on tokens. They lie on no device in particular: a network that
      takes them has a mesh of its own.
    """
    states = jax.device_get(self._encode(self._params, self.tokenizer(captions)))
    return jax.tree.map(jnp.asarray, states)

  def condition(self, captions: Sequence[str]) -> dict[str, Array]:
    """What a network is conditioned with: `text` and `text_mask`, and as `null_text` and `null_text_mask` those of ""."""
    return self(captions) | {f"null_{name}": x for name, x in self([""] * len(captions)).items()}

  @functools.cached_property
  def _encode(self):
    def encode(params, batch):
      text = self._rebuild(params, {})(batch["tokens"], batch["mask"])
      return {"text": text.astype(jnp.float32), "text_mask": batch["mask"]}

    return jax.jit(encode)


def abstract(config: Config, dtype=jnp.float32) -> nnx.Module:
  """The encoder of a config, without weights."""
  make = next(make for kind, make in KINDS.values() if isinstance(config, kind))
  return nnx.eval_shape(lambda: make(config, dtype=dtype, rngs=weights.Seeds(0)))


def load_tokenizer(folder: epath.Path, config: Config, max_length: int):
  """The tokenizer in a folder; raises ValueError if the encoder has another number of places."""
  if isinstance(config, GlideTextConfig):
    if max_length != config.length:
      raise ValueError(f"max_length={max_length} must be {config.length}, the encoder's places")
    return GlideTokenizer(folder, max_length)
  pieces = folder / "spiece.model"
  return (
    SentencePieceTokenizer(pieces, max_length) if pieces.exists() else ByteTokenizer(max_length)
  )


def save(folder: epath.PathLike, config: Config, tree: weights.Weights):
  """Writes config and weights; leaves may be `weights.Deferred`."""
  folder = epath.Path(folder).resolve()
  checkpoints.save_tree(folder / "weights", tree)
  kind = next(name for name, (cls, _) in KINDS.items() if isinstance(config, cls))
  sizes = {"kind": kind} | dataclasses.asdict(config)
  (folder / "config.json").write_text(json.dumps(sizes, indent=2) + "\n")


def _spread(shape: tuple[int, ...], mesh: jax.sharding.Mesh) -> jax.sharding.NamedSharding:
  """Cuts the first axis that divides evenly; small leaves are everywhere."""
  axis = next((i for i, size in enumerate(shape) if size % mesh.size == 0), None)
  spec = [None] * len(shape)
  if axis is not None and np.prod(shape) > 2**14:
    spec[axis] = "fsdp"
  return jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec(*spec))
