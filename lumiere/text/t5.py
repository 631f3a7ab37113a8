"""The encoder of T5 v1.1 and ByT5 (Raffel et al., 2020; Xue et al., 2022).

    x = embed(tokens)
    x = x + attention(norm(x))                                               each layer
    x = x + wo(gelu(wi_0 h) * wi_1 h),   h = norm(x)                         each layer
    y = norm(x)

    attention: softmax(q k^T + bias) v,   not divided by sqrt(d_kv): the initialisation of q is smaller instead    (1)
    norm(x) = x / sqrt(mean(x^2) + epsilon) * scale                                                                (2)
    bias[head, i, j] = table[bucket(j - i), head],   one table for all layers                                      (3)

No layer has a bias vector, and nothing else encodes positions, so that a text may have any length. There is no dropout. As the
encoder is also trained from scratch, weights are initialised as in T5's own code (Mesh TensorFlow), with one exception: see
`local_bias`.
"""

import dataclasses

import einops
import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from stunet import layout


@dataclasses.dataclass(frozen=True)
class T5Config:
  """Sizes, under the names that T5 checkpoints use.

  Attributes:
    vocab_size: rows of the token table; 384 for bytes.
    d_model: width of the states, and of the output.
    d_kv: width of one attention head.
    d_ff: width of the gated feed-forward layer.
    num_layers: layers, each of attention and feed-forward.
    num_heads: attention heads.
    relative_attention_num_buckets: buckets of distances, half of them for positions to the right.
    relative_attention_max_distance: farther positions share the last bucket.
    layer_norm_epsilon: of equation (2).
  """

  vocab_size: int
  d_model: int
  d_kv: int
  d_ff: int
  num_layers: int
  num_heads: int
  relative_attention_num_buckets: int = 32
  relative_attention_max_distance: int = 128
  layer_norm_epsilon: float = 1e-6

  def __post_init__(self):
    for field in ("vocab_size", "d_model", "d_kv", "d_ff", "num_layers", "num_heads"):
      if getattr(self, field) < 1:
        raise ValueError(f"{field}={getattr(self, field)} must be 1 or more")
    buckets, distance = self.relative_attention_num_buckets, self.relative_attention_max_distance
    if buckets < 4 or buckets % 4:
      raise ValueError(f"relative_attention_num_buckets={buckets} must be a multiple of 4")
    if distance <= buckets // 4:
      raise ValueError(
        f"relative_attention_max_distance={distance} must be more than the {buckets // 4} distances that"
        f" relative_attention_num_buckets={buckets} tells apart exactly"
      )


def relative_buckets(
  offsets: Int[np.ndarray, "*l"], num_buckets: int, max_distance: int
) -> Int[np.ndarray, "*l"]:
  """Buckets of key position minus query position, in both directions.

  The first half of the buckets is for keys at or before the query, the second for keys after it. In each, half of the
  buckets hold one distance and the others grow geometrically up to `max_distance`.
  """
  per_direction = num_buckets // 2
  exact = per_direction // 2
  distance = np.abs(offsets)
  # Single precision, as in the code that trained the public weights: it decides what a bucket's edge belongs to.
  growth = np.log(np.maximum(distance, 1).astype(np.float32) / np.float32(exact)) / np.float32(
    np.log(max_distance / exact)
  )
  coarse = exact + (growth * np.float32(per_direction - exact)).astype(np.int64)
  bucket = np.where(distance < exact, distance, np.minimum(coarse, per_direction - 1))
  return bucket + per_direction * (offsets > 0)


def local_bias(
  key: PRNGKeyArray, shape: tuple[int, int], dtype=jnp.float32, *_
) -> Float[Array, "buckets heads"]:
  """Initial table of equation (3): each head attends to a few neighbours, and rarely to distant positions.

  T5 starts with normal(d_model^-1/2), where every head averages the whole text, which distinguishes bytes but not words. With
  this initialisation a byte encoder learns to distinguish words several times sooner.
  """
  num_buckets, _ = shape
  bucket = jnp.arange(num_buckets, dtype=dtype)[:, None] % (num_buckets // 2)
  return 3.0 * jax.random.normal(key, shape, dtype) - bucket


class T5Encoder(nnx.Module):
  """See the module docstring. Parameters are float32; computation is in `dtype`."""

  def __init__(self, config: T5Config, *, dtype=jnp.float32, rngs: nnx.Rngs):
    self.config, self.dtype = config, dtype
    normal = nnx.initializers.normal
    self.embed = nnx.Embed(
      config.vocab_size, config.d_model, embedding_init=normal(1.0), dtype=dtype, rngs=rngs
    )
    self.position_bias = nnx.Embed(
      config.relative_attention_num_buckets,
      config.num_heads,
      embedding_init=local_bias,
      dtype=jnp.float32,
      rngs=rngs,
    )
    self.layers = nnx.List(Layer(config, dtype=dtype, rngs=rngs) for _ in range(config.num_layers))
    self.norm = rms_norm(config, dtype, rngs)

  def __call__(self, tokens: Int[Array, "b l"], mask: Bool[Array, "b l"]) -> Float[Array, "b l d"]:
    """States of every token. Padding (False in `mask`) influences no other state; its own states are meaningless."""
    bias = self.bias(tokens.shape[1])
    x = layout.gathered(self.embed, self.dtype)(tokens)
    for layer in self.layers:
      x = layout.gathered(layer, self.dtype)(x, bias, mask)
    return self.norm(x)

  def bias(self, length: int) -> Float[Array, "1 n l l"]:
    """Equation (3) for a text of `length` tokens."""
    positions = np.arange(length)
    buckets = relative_buckets(
      positions[None, :] - positions[:, None],
      self.config.relative_attention_num_buckets,
      self.config.relative_attention_max_distance,
    )
    return einops.rearrange(self.position_bias(jnp.asarray(buckets)), "q k n -> 1 n q k")


class Layer(nnx.Module):
  """Self-attention, then the gated feed-forward layer, each added to the states."""

  def __init__(self, config: T5Config, *, dtype, rngs: nnx.Rngs):
    d_model, d_kv, d_ff = config.d_model, config.d_kv, config.d_ff
    d_heads = config.num_heads * d_kv

    def dense(d_in: int, d_out: int, std: float) -> nnx.Linear:
      init = nnx.initializers.normal(std)
      return nnx.Linear(d_in, d_out, use_bias=False, kernel_init=init, dtype=dtype, rngs=rngs)

    self.num_heads = config.num_heads
    self.attention_norm = rms_norm(config, dtype, rngs)
    self.query = dense(d_model, d_heads, (d_model * d_kv) ** -0.5)
    self.key = dense(d_model, d_heads, d_model**-0.5)
    self.value = dense(d_model, d_heads, d_model**-0.5)
    self.out = dense(d_heads, d_model, d_heads**-0.5)
    self.ff_norm = rms_norm(config, dtype, rngs)
    self.wi_0 = dense(d_model, d_ff, d_model**-0.5)
    self.wi_1 = dense(d_model, d_ff, d_model**-0.5)
    self.wo = dense(d_ff, d_model, d_ff**-0.5)

  def __call__(
    self, x: Float[Array, "b l d"], bias: Float[Array, "1 n l l"], mask: Bool[Array, "b l"]
  ) -> Float[Array, "b l d"]:
    """`bias` of equation (3), `mask` False on padding."""
    h = self.attention_norm(x)
    q, k, v = (
      einops.rearrange(project(h), "b l (n d) -> b l n d", n=self.num_heads)
      for project in (self.query, self.key, self.value)
    )
    h = jax.nn.dot_product_attention(q, k, v, bias=bias, mask=mask[:, None, None], scale=1.0)  # (1)
    x = x + self.out(einops.rearrange(h, "b l n d -> b l (n d)"))
    h = self.ff_norm(x)
    return x + self.wo(nnx.gelu(self.wi_0(h), approximate=True) * self.wi_1(h))


def rms_norm(config: T5Config, dtype, rngs: nnx.Rngs) -> nnx.RMSNorm:
  """Equation (2); statistics in float32, output in `dtype`."""
  return nnx.RMSNorm(config.d_model, epsilon=config.layer_norm_epsilon, dtype=dtype, rngs=rngs)
