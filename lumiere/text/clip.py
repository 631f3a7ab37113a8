"""CLIP (Radford et al., 2021): a text and an image transformer whose vectors point the same way where the two belong together.

    x = x + out(attention(norm1(x))),   x = x + wo act(wi norm2(x))           each layer of either                 (1)
    text:    causal; the state of the end token, normed, projected
    image:   patches and one more place; that place's state, normed, projected                                   (2)

The text states serve as the conditioning of an image network; both vectors serve as a measure of how a picture fits a caption.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import einops
import jax
import jax.numpy as jnp
import numpy as np
from etils import epath
from flax import nnx
from jaxtyping import Array, Bool, Float, Int, Int32

from lumiere import files
from stunet.attention import attend, split_heads
from stunet.blocks import layer_norm

FILES = ("vocab.json", "merges.txt")
# What may lie beside them: which token fills captions up.
SPECIAL = "special_tokens_map.json"
# Embeddings before the states in `ClipEncoder.context`.
EMBEDDINGS = 2
START, END, WORD_END = "<|startoftext|>", "<|endoftext|>", "</w>"
# What pieces a text falls into before any merge.
PIECES = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"

ACTIVATIONS = {
  "gelu": lambda x: nnx.gelu(x, approximate=False),
  "quick_gelu": lambda x: x * nnx.sigmoid(1.702 * x),
}


@dataclasses.dataclass(frozen=True)
class ClipConfig:
  """Sizes; the defaults are those of ViT-B/32.

  Attributes:
    vocab_size: tokens.
    d_model: width of the text states.
    d_ff: width of the text's feed-forward layers.
    num_layers: of the text transformer.
    num_heads: of the text transformer.
    length: places of a text.
    activation: a key of `ACTIVATIONS`; OpenAI's own models have "quick_gelu".
    projects: whether captions have a vector; a text transformer may be published without its projection.
    projection_dim: width of both vectors.
    image_d_model: width of the image states; 0 for a text transformer alone.
    image_d_ff: width of the image's feed-forward layers.
    image_num_layers: of the image transformer.
    image_num_heads: of the image transformer.
    image_activation: as `activation`.
    image_size: height and width of a picture.
    patch_size: height and width of a patch.
  """

  vocab_size: int = 49408
  d_model: int = 512
  d_ff: int = 2048
  num_layers: int = 12
  num_heads: int = 8
  length: int = 77
  activation: str = "quick_gelu"
  projects: bool = True
  projection_dim: int = 512
  image_d_model: int = 768
  image_d_ff: int = 3072
  image_num_layers: int = 12
  image_num_heads: int = 12
  image_activation: str = "quick_gelu"
  image_size: int = 224
  patch_size: int = 32

  def __post_init__(self):
    for name in ("activation", "image_activation"):
      if getattr(self, name) not in ACTIVATIONS:
        raise ValueError(f"{name}={getattr(self, name)!r} must be one of {', '.join(ACTIVATIONS)}")
    for prefix in ("", "image_"):
      width, heads = getattr(self, f"{prefix}d_model"), getattr(self, f"{prefix}num_heads")
      if heads < 1 or width % heads:
        raise ValueError(
          f"{prefix}num_heads={heads} must be 1 or more and divide {prefix}d_model={width}"
        )
    if self.patch_size < 1 or self.image_size % self.patch_size:
      raise ValueError(f"patch_size={self.patch_size} must divide image_size={self.image_size}")


class Layer(nnx.Module):
  """Equation (1)."""

  def __init__(self, d: int, d_ff: int, num_heads: int, activation: str, *, dtype, rngs: nnx.Rngs):
    dense = lambda c_in, c_out: nnx.Linear(c_in, c_out, dtype=dtype, rngs=rngs)
    self.head_dim, self.activation = d // num_heads, activation
    self.norm1, self.norm2 = (layer_norm(d, dtype, rngs) for _ in range(2))
    self.query, self.key, self.value, self.out = (dense(d, d) for _ in range(4))
    self.wi, self.wo = dense(d, d_ff), dense(d_ff, d)

  def __call__(self, x: Float[Array, "b l d"], causal: bool) -> Float[Array, "b l d"]:
    """`causal`: a place sees itself and those before it only."""
    h = self.norm1(x)
    heads = (split_heads(f(h), self.head_dim) for f in (self.query, self.key, self.value))
    h = jax.nn.dot_product_attention(*heads, is_causal=True) if causal else attend(*heads)
    x = x + self.out(h.reshape(x.shape))
    return x + self.wo(ACTIVATIONS[self.activation](self.wi(self.norm2(x))))


class ImageTransformer(nnx.Module):
  """Pictures -> the state (2) before its projection."""

  def __init__(self, config: ClipConfig, *, dtype, rngs: nnx.Rngs):
    d, patch = config.image_d_model, config.patch_size
    draw = lambda *shape: nnx.Param(0.02 * jax.random.normal(rngs.params(), shape))
    self.patches = nnx.Conv(
      3, d, (patch, patch), patch, padding="VALID", use_bias=False, dtype=dtype, rngs=rngs
    )
    self.place = draw(d)
    self.position = draw((config.image_size // patch) ** 2 + 1, d)
    self.norm_in, self.norm_out = (layer_norm(d, dtype, rngs) for _ in range(2))
    self.layers = nnx.List(
      Layer(d, config.image_d_ff, config.image_num_heads, config.image_activation, dtype=dtype, rngs=rngs)
      for _ in range(config.image_num_layers)
    )  # fmt: skip

  def __call__(self, pictures: Float[Array, "n h w 3"]) -> Float[Array, "n d"]:
    """`pictures` have the model's size and are normalised."""
    x = einops.rearrange(self.patches(pictures), "n h w d -> n (h w) d")
    place = jnp.broadcast_to(self.place[...].astype(x.dtype), (len(x), 1, x.shape[-1]))
    x = jnp.concatenate([place, x], axis=1) + self.position[...].astype(x.dtype)[None]
    x = self.norm_in(x)
    for layer in self.layers:
      x = layer(x, causal=False)
    return self.norm_out(x[:, 0])


class ClipEncoder(nnx.Module):
  """See the head of this file. As a text encoder it is called; `text_vectors` and `image_vectors` are for comparing."""

  def __init__(self, config: ClipConfig, *, dtype=jnp.float32, rngs: nnx.Rngs):
    draw = lambda *shape: nnx.Param(0.02 * jax.random.normal(rngs.params(), shape))
    project = lambda width: nnx.Linear(
      width, config.projection_dim, use_bias=False, dtype=dtype, rngs=rngs
    )
    self.embed = nnx.Embed(config.vocab_size, config.d_model, dtype=dtype, rngs=rngs)
    self.position = draw(config.length, config.d_model)
    self.layers = nnx.List(
      Layer(config.d_model, config.d_ff, config.num_heads, config.activation, dtype=dtype, rngs=rngs)
      for _ in range(config.num_layers)
    )  # fmt: skip
    self.norm = layer_norm(config.d_model, dtype, rngs)
    if config.projects:
      self.projection = project(config.d_model)
    if config.image_d_model:
      self.image = ImageTransformer(config, dtype=dtype, rngs=rngs)
      self.image_projection = project(config.image_d_model)

  def __call__(self, tokens: Int[Array, "b l"], mask: Bool[Array, "b l"]) -> Float[Array, "b l d"]:
    """Normed states of every place; as no place sees those behind it, padding needs no `mask`."""
    x = self.embed(tokens)
    x = x + self.position[...].astype(x.dtype)[None, : x.shape[1]]
    for layer in self.layers:
      x = layer(x, causal=True)
    return self.norm(x)

  def text_vectors(
    self, tokens: Int[Array, "b l"], mask: Bool[Array, "b l"]
  ) -> Float[Array, "b p"]:
    """Vectors of length 1; `mask` is True up to the end token."""
    return _unit(self._projected(self(tokens, mask), mask))

  def context(
    self, tokens: Int[Array, "b l"], mask: Bool[Array, "b l"]
  ) -> tuple[Float[Array, "b l+2 d"], Bool[Array, "b l+2"]]:
    """What Karlo's decoder reads (`ClipContext`), and its mask: the embedding of an image, which is not there, that of the
    caption, and the states. Embeddings keep their length, and are as wide as the states.
    """
    states = self(tokens, mask)
    caption = self._projected(states, mask)
    embeddings = jnp.stack([jnp.zeros_like(caption), caption], axis=1)
    there = jnp.broadcast_to(jnp.arange(EMBEDDINGS) == 1, (len(mask), EMBEDDINGS))
    return jnp.concatenate([embeddings, states], axis=1), jnp.concatenate([there, mask], axis=1)

  def _projected(self, states, mask) -> Float[Array, "b p"]:
    last = jnp.sum(mask, axis=1) - 1
    return self.projection(jnp.take_along_axis(states, last[:, None, None], axis=1)[:, 0])

  def image_vectors(self, pictures: Float[Array, "n h w 3"]) -> Float[Array, "n p"]:
    """Vectors of length 1, of pictures in the model's size and normalisation."""
    return _unit(self.image_projection(self.image(pictures)))


def _unit(x: Float[Array, "n d"]) -> Float[Array, "n d"]:
  return x / jnp.linalg.norm(x, axis=-1, keepdims=True)


class ClipTokenizer:
  """Lower-cased texts -> BPE tokens between a start and an end, cut or padded to one length."""

  def __init__(self, folder: epath.PathLike, max_length: int):
    """`folder` has CLIP's vocab.json and merges.txt, and a special_tokens_map.json where the padding is another than the end.

    Raises:
      ValueError: names the file that is missing or damaged; if the package tokenizers is not there.
    """
    try:
      import tokenizers  # other encoders do not need it
    except ImportError as error:
      raise ValueError(
        "CLIP's captions need the package tokenizers: pip install tokenizers"
      ) from error
    from tokenizers import normalizers, pre_tokenizers

    if max_length < 3:
      raise ValueError(f"max_length={max_length} must be 3 or more: start, a token, end")
    vocabulary, merges = read_bpe(folder)
    model = tokenizers.models.BPE(
      vocab=vocabulary, merges=merges, end_of_word_suffix=WORD_END, unk_token=END
    )
    self._bpe = tokenizers.Tokenizer(model)
    self._bpe.normalizer = normalizers.Sequence(
      [normalizers.NFC(), normalizers.Replace(tokenizers.Regex(r"\s+"), " "), normalizers.Lowercase()]
    )  # fmt: skip
    self._bpe.pre_tokenizer = pre_tokenizers.Sequence(
      [
        pre_tokenizers.Split(tokenizers.Regex(PIECES), behavior="removed", invert=True),
        pre_tokenizers.ByteLevel(add_prefix_space=False),
      ]
    )
    self.start, self.end, self.vocab_size = vocabulary[START], vocabulary[END], len(vocabulary)
    self.padding = vocabulary[read_padding(folder, vocabulary)]
    self.max_length = max_length

  def __call__(
    self, texts: Sequence[str]
  ) -> dict[str, Int32[np.ndarray, "b l"] | Bool[np.ndarray, "b l"]]:
    """Encodes texts; the end is always there, before the padding.

    Returns:
      "tokens" [b, max_length], and "mask" [b, max_length], True on tokens up to the first end.
    """
    tokens = np.full((len(texts), self.max_length), self.padding, np.int32)
    mask = np.zeros(tokens.shape, bool)
    for row, seen, text in zip(tokens, mask, texts, strict=True):
      ids = [self.start, *self._bpe.encode(text).ids[: self.max_length - 2], self.end]
      row[: len(ids)], seen[: len(ids)] = ids, True
    return {"tokens": tokens, "mask": mask}

  def count(self, text: str) -> int:
    """Tokens of a whole text, start and end among them."""
    return len(self._bpe.encode(text).ids) + 2


def read_padding(folder: epath.PathLike, vocabulary: Mapping[str, int]) -> str:
  """The token that fills captions up: the end, if the folder does not say otherwise, as that of Stable Diffusion 2 does.

  Raises:
    ValueError: if it is none of the vocabulary.
  """
  path = epath.Path(folder) / SPECIAL
  if not path.exists():
    return END
  token = files.read_json(path).get("pad_token", END)
  token = token.get("content") if isinstance(token, dict) else token
  if token not in vocabulary:
    raise ValueError(f"{path}: pad_token={token!r} is none of the tokens in {FILES[0]}")
  return token


def copy_tokenizer(source: epath.PathLike, target: epath.PathLike):
  """Copies what `ClipTokenizer` reads."""
  for name in (*FILES, SPECIAL):
    if (path := epath.Path(source) / name).exists():
      path.copy(epath.Path(target) / name)


def read_bpe(folder: epath.PathLike) -> tuple[dict[str, int], list[tuple[str, str]]]:
  """(tokens and their numbers, pairs to merge) from vocab.json and merges.txt; raises ValueError naming a bad file."""
  first, second = (epath.Path(folder) / name for name in FILES)
  vocabulary: dict[str, Any] = files.read_json(first)
  with files.about(first):
    if {*vocabulary.values()} != {*range(len(vocabulary))} or not {START, END} <= vocabulary.keys():
      raise ValueError(f"it must number its tokens from 0 on, {START} and {END} among them")
  with files.about(second):
    lines = files.read_bytes(second).decode("utf-8").split("\n")
    pairs = [tuple(line.split()) for line in lines[1:] if line.strip()]
    for pair in pairs:
      if len(pair) != 2 or not {*pair, "".join(pair)} <= vocabulary.keys():
        raise ValueError(f"{' '.join(pair)!r} is no pair of tokens of {FILES[0]}")
  return vocabulary, pairs
