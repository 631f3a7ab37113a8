"""GLIDE's text encoder (Nichol et al., 2021): a transformer over BPE tokens, of a fixed number of places.

    x = where(token, embedding(token) + position, padding)
    x = x + attention(norm(x)),   x = x + wo gelu(wi norm(x))                                                       (1)

Padding has a learned embedding of its own and takes part like any token. The network that uses the states attends to all of
them and pools the last.
"""

import dataclasses
import gzip
import json
import zlib
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from etils import epath
from flax import nnx
from jaxtyping import Array, Bool, Float, Int, Int32

from lumiere import files
from stunet.attention import split_heads
from stunet.blocks import layer_norm

FILES = ("encoder.json.gz", "vocab.bpe.gz")


@dataclasses.dataclass(frozen=True)
class GlideTextConfig:
  """Sizes; the defaults are the published ones.

  Attributes:
    vocab_size: tokens, the last of them the end of the text.
    d_model: width of the states.
    num_layers: layers of equation (1).
    num_heads: attention heads.
    length: places.
  """

  vocab_size: int = 50257
  d_model: int = 512
  num_layers: int = 16
  num_heads: int = 8
  length: int = 128


class Layer(nnx.Module):
  """Equation (1)."""

  def __init__(self, config: GlideTextConfig, *, dtype, rngs: nnx.Rngs):
    d = config.d_model
    dense = lambda c_in, c_out: nnx.Linear(c_in, c_out, dtype=dtype, rngs=rngs)
    self.head_dim = d // config.num_heads
    self.norm1, self.norm2 = (layer_norm(d, dtype, rngs) for _ in range(2))
    self.query, self.key, self.value, self.out = (dense(d, d) for _ in range(4))
    self.wi, self.wo = dense(d, 4 * d), dense(4 * d, d)

  def __call__(self, x: Float[Array, "b l d"]) -> Float[Array, "b l d"]:
    """All places see all places."""
    h = self.norm1(x)
    heads = (split_heads(f(h), self.head_dim) for f in (self.query, self.key, self.value))
    x = x + self.out(jax.nn.dot_product_attention(*heads).reshape(x.shape))
    return x + self.wo(nnx.gelu(self.wi(self.norm2(x)), approximate=False))


class GlideTextEncoder(nnx.Module):
  """See the head of this file."""

  def __init__(self, config: GlideTextConfig, *, dtype=jnp.float32, rngs: nnx.Rngs):
    draw = lambda *shape: nnx.Param(0.02 * jax.random.normal(rngs.params(), shape))
    self.embed = nnx.Embed(config.vocab_size, config.d_model, dtype=dtype, rngs=rngs)
    self.position = draw(config.length, config.d_model)
    self.padding = draw(config.length, config.d_model)
    self.layers = nnx.List(Layer(config, dtype=dtype, rngs=rngs) for _ in range(config.num_layers))
    self.norm = layer_norm(config.d_model, dtype, rngs)

  def __call__(self, tokens: Int[Array, "b l"], mask: Bool[Array, "b l"]) -> Float[Array, "b l d"]:
    """States of every place; `mask` is False on padding."""
    x = self.embed(tokens)
    x = jnp.where(
      mask[..., None], x + self.position[...].astype(x.dtype)[None], self.padding[...].astype(x.dtype)[None]
    )  # fmt: skip
    for layer in self.layers:
      x = layer(x)
    return self.norm(x)


def read_bpe(folder: epath.PathLike) -> tuple[dict[str, int], list[tuple[str, str]]]:
  """(tokens and their numbers, pairs to merge) from GLIDE's encoder.json.gz and vocab.bpe.gz.

  Raises:
    ValueError: names the file that is damaged.
  """
  texts = []
  for name in FILES:
    path = epath.Path(folder) / name
    content = files.read_bytes(path)
    with files.about(path, EOFError, OSError, zlib.error, what="it is damaged: "):
      texts.append(gzip.decompress(content).decode("utf-8"))
  with files.about(epath.Path(folder) / FILES[0], RecursionError, TypeError):
    vocabulary = json.loads(texts[0])
    if not isinstance(vocabulary, dict) or {*vocabulary.values()} != {*range(len(vocabulary))}:
      raise ValueError("it must number its tokens from 0 on")
  with files.about(epath.Path(folder) / FILES[1]):
    pairs = [tuple(line.split()) for line in texts[1].split("\n")[1:-1]]
    if not pairs:
      raise ValueError("it names no pairs of tokens")
    for pair in pairs:
      if len(pair) != 2 or not {*pair, "".join(pair)} <= vocabulary.keys():
        raise ValueError(f"{' '.join(pair)!r} is no pair of tokens of {FILES[0]}")
  return vocabulary, pairs


class GlideTokenizer:
  """Lower-cased texts -> byte-level BPE tokens (GPT-2's merges), cut or padded to one length."""

  def __init__(self, folder: epath.PathLike, max_length: int):
    """`folder` has GLIDE's encoder.json.gz and vocab.bpe.gz."""
    try:
      import tokenizers  # other encoders do not need it
    except ImportError as error:
      raise ValueError(
        "GLIDE's captions need the package tokenizers: pip install tokenizers"
      ) from error

    vocabulary, pairs = read_bpe(folder)
    self._bpe = tokenizers.ByteLevelBPETokenizer(vocabulary, pairs, lowercase=True)
    self.vocab_size = self._bpe.get_vocab_size()
    self.max_length = max_length

  def __call__(
    self, texts: Sequence[str]
  ) -> dict[str, Int32[np.ndarray, "b l"] | Bool[np.ndarray, "b l"]]:
    """Encodes texts: "tokens" and "mask" [b, max_length]."""
    tokens = np.full((len(texts), self.max_length), self.vocab_size - 1, np.int32)
    mask = np.zeros(tokens.shape, bool)
    for row, seen, text in zip(tokens, mask, texts, strict=True):
      ids = self._bpe.encode(text).ids[: self.max_length]
      row[: len(ids)], seen[: len(ids)] = ids, True
    return {"tokens": tokens, "mask": mask}

  def count(self, text: str) -> int:
    """Tokens of a whole text."""
    return len(self._bpe.encode(text).ids)
