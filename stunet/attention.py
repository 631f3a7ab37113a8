"""Spatial attention to the image and the caption: the caption's keys and values precede the image's in one softmax.

    y = x + out(softmax(q [k_text; k]^T / sqrt(d)) [v_text; v]),   q, k, v = dense(norm(x)),   k_text, v_text = dense(norm(text))

(GLIDE; Imagen section 2.3; DeepFloyd IF.) Without self-attention the image's own keys are left out (IF's super-resolution).
"""

from typing import Literal

import einops
import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float

from stunet.blocks import group_norm, layer_norm, over_frames

# Logits of a head and an image that are all computed at once: those of 32x32 places are, of 64x64 places they are not.
MOST_LOGITS = 2**21
# How many are computed at a time otherwise: of 64x64 places, those of 128 queries.
LOGITS_AT_A_TIME = 2**19


def split_heads(x: Float[Array, "b l c"], head_dim: int) -> Float[Array, "b l n d"]:
  """[b l (n d)] -> [b l n d]."""
  return einops.rearrange(x, "b l (n d) -> b l n d", d=head_dim)


def attend(
  query: Float[Array, "b q n d"],
  key: Float[Array, "b k n d"],
  value: Float[Array, "b k n d"],
  mask: Bool[Array, "b k"] | None = None,
  bias: Float[Array, "n q k"] | None = None,
) -> Float[Array, "b q n d"]:
  """Softmax attention, n heads; `mask` is True where a key may be attended to, `bias` is added to the logits.

  Heads come first and the division comes last, at the width of a head: on a CPU a training step of it takes less than half of
  the time of `jax.nn.dot_product_attention`. Exponents are taken in float32. Above `MOST_LOGITS` some queries are taken at a time, and
  their logits are computed again in the backward pass: of 80 frames of 64x64 places all of them take 40 GiB.
  """
  length, count = query.shape[1], key.shape[1]
  if length * count <= MOST_LOGITS or bias is not None:
    return _attend(query, key, value, mask, bias)
  at_a_time = max(
    n for n in range(1, length + 1) if length % n == 0 and n * count <= LOGITS_AT_A_TIME
  )
  parts = einops.rearrange(query, "b (p q) n d -> p b q n d", q=at_a_time)
  some = jax.checkpoint(lambda part: _attend(part, key, value, mask, None))
  return einops.rearrange(jax.lax.map(some, parts), "p b q n d -> b (p q) n d")


def _attend(query, key, value, mask, bias) -> Float[Array, "b q n d"]:
  q, k, v = (einops.rearrange(x, "b l n d -> b n l d") for x in (query, key, value))
  k = jnp.matrix_transpose(k * q.shape[-1] ** -0.5)
  logits = jnp.matmul(q, k, preferred_element_type=jnp.float32)
  if bias is not None:
    # A product with ones, for the sake of its gradient: a sum over the batch takes a CPU six times as long as a product.
    ones = jnp.ones(len(logits), logits.dtype)
    bias = bias.astype(logits.dtype)
    logits += jnp.einsum("b,nqk->bnqk", ones, bias, precision="highest")
  if mask is not None:
    logits = jnp.where(mask[:, None, None], logits, jnp.finfo(jnp.float32).min)
  largest = jax.lax.stop_gradient(jnp.max(logits, axis=-1, keepdims=True))
  weights = jnp.exp(logits - largest)
  total = jnp.sum(weights, axis=-1, keepdims=True)
  h = weights.astype(v.dtype) @ v / total.astype(v.dtype)
  return einops.rearrange(h, "b n q d -> b q n d")


class TextAttention(nnx.Module):
  """See the module docstring. With `text_dim=0` there is no text."""

  def __init__(
    self,
    channels: int,
    text_dim: int,
    *,
    head_dim: int,
    self_attention: bool,
    text_norm: Literal["layer", "group", "none"],
    groups: int,
    dtype,
    rngs: nnx.Rngs,
  ):
    if channels % head_dim:
      raise ValueError(f"head_dim={head_dim} does not divide {channels} channels")
    dense = lambda c_in, **kw: nnx.Linear(c_in, channels, dtype=dtype, rngs=rngs, **kw)
    self.head_dim, self.self_attention = head_dim, self_attention
    self.norm = group_norm(channels, groups, dtype, rngs)
    self.query = dense(channels)
    if self_attention:
      self.key, self.value = dense(channels), dense(channels)
    self.has_text = text_dim > 0
    if self.has_text:
      norms = {
        "layer": lambda: layer_norm(text_dim, dtype, rngs),
        "group": lambda: group_norm(
          text_dim, 32, dtype, rngs
        ),  # 32 groups, whatever the image's norms use
        "none": lambda: None,
      }
      self.text_norm = norms[text_norm]()
      self.text_key, self.text_value = dense(text_dim), dense(text_dim)
    self.out = dense(channels, kernel_init=nnx.initializers.zeros)

  def __call__(
    self,
    x: Float[Array, "n h w c"],
    text: Float[Array, "b l d"] | None = None,
    mask: Bool[Array, "b l"] | None = None,
  ) -> Float[Array, "n h w c"]:
    """`text` and `mask` have one row per clip, as the embedding in `ResBlock`."""
    n, height, width, _ = x.shape
    pixels = einops.rearrange(self.norm(x), "n h w c -> n (h w) c")
    keys, values, masks = [], [], []
    if self.has_text and text is not None:
      states = text if self.text_norm is None else self.text_norm(text)
      keys.append(over_frames(self.text_key(states), n))
      values.append(over_frames(self.text_value(states), n))
      masks.append(jnp.ones((n, text.shape[1]), bool) if mask is None else over_frames(mask, n))
    if self.self_attention:
      keys.append(self.key(pixels))
      values.append(self.value(pixels))
      masks.append(jnp.ones((n, height * width), bool))
    h = attend(
      split_heads(self.query(pixels), self.head_dim),
      split_heads(jnp.concatenate(keys, axis=1), self.head_dim),
      split_heads(jnp.concatenate(values, axis=1), self.head_dim),
      None if mask is None else jnp.concatenate(masks, axis=1),
    )
    h = self.out(einops.rearrange(h, "n l heads d -> n l (heads d)"))
    return x + einops.rearrange(h, "n (h w) c -> n h w c", h=height)
