"""What a U-Net is told besides its input: the noise level, and the caption as one vector.

A noise level arrives as a float *timestep* in [0, 1000], the number that the ADM family of networks embeds; the diffusion
schedule translates log-SNR into it.
"""

import einops
import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, Num

from stunet.blocks import ACTIVATIONS, layer_norm


def sinusoids(
  positions: Num[Array, "*b"], dim: int, max_period: float = 10_000.0
) -> Float[Array, "*b dim"]:
  """Cosines, then sines, of `dim / 2` geometrically spaced frequencies (Vaswani et al., 2017)."""
  half = dim // 2
  frequencies = jnp.exp(-jnp.log(max_period) * jnp.arange(half, dtype=jnp.float32) / half)
  angles = positions.astype(jnp.float32)[..., None] * frequencies.reshape(
    (1,) * positions.ndim + (half,)
  )
  return jnp.concatenate([jnp.cos(angles), jnp.sin(angles)], axis=-1)


class TimestepEmbedding(nnx.Module):
  """Timestep -> sinusoids -> two dense layers."""

  def __init__(self, sinusoid_dim: int, dim: int, activation: str, *, dtype, rngs: nnx.Rngs):
    self.sinusoid_dim, self.activation = sinusoid_dim, activation
    self.dense1 = nnx.Linear(sinusoid_dim, dim, dtype=dtype, rngs=rngs)
    self.dense2 = nnx.Linear(dim, dim, dtype=dtype, rngs=rngs)

  def __call__(self, timesteps: Float[Array, "b"]) -> Float[Array, "b dim"]:
    """`timesteps` in [0, 1000]."""
    h = self.dense1(sinusoids(timesteps, self.sinusoid_dim))
    return self.dense2(ACTIVATIONS[self.activation](h))


class TextPool(nnx.Module):
  """Caption states -> one vector: norm, attention pooling, dense, norm (DeepFloyd IF; Imagen section 2.3).

  The query is the mean state plus a learned position, and it attends to itself and to every state.
  """

  def __init__(self, text_dim: int, dim: int, num_heads: int, *, dtype, rngs: nnx.Rngs):
    if text_dim % num_heads:
      raise ValueError(f"pool_heads={num_heads} does not divide text_dim={text_dim}")
    self.num_heads = num_heads
    self.norm_in = layer_norm(text_dim, dtype, rngs)
    self.position = nnx.Param(jax.random.normal(rngs.params(), (1, text_dim)) * text_dim**-0.5)
    self.query = nnx.Linear(text_dim, text_dim, dtype=dtype, rngs=rngs)
    self.key = nnx.Linear(text_dim, text_dim, dtype=dtype, rngs=rngs)
    self.value = nnx.Linear(text_dim, text_dim, dtype=dtype, rngs=rngs)
    self.dense = nnx.Linear(text_dim, dim, dtype=dtype, rngs=rngs)
    self.norm_out = layer_norm(dim, dtype, rngs)

  def __call__(
    self, text: Float[Array, "b l d"], mask: Bool[Array, "b l"] | None = None
  ) -> Float[Array, "b dim"]:
    """`mask` is True where `text` is a token."""
    states = self.norm_in(text)
    where = None if mask is None else mask[..., None]
    mean = jnp.mean(states, axis=1, keepdims=True, where=where)
    token = mean + self.position[...].astype(mean.dtype)[None]
    states = jnp.concatenate([token, states], axis=1)
    q, k, v = (
      einops.rearrange(x, "b l (n d) -> b l n d", n=self.num_heads)
      for x in (self.query(token), self.key(states), self.value(states))
    )
    if mask is not None:
      mask = jnp.pad(mask, ((0, 0), (1, 0)), constant_values=True)[:, None, None]  # b n q k
    pooled = jax.nn.dot_product_attention(q, k, v, mask=mask)
    return self.norm_out(self.dense(einops.rearrange(pooled, "b 1 n d -> b (n d)")))


class LastState(nnx.Module):
  """The last caption state, token or padding, through a dense layer (GLIDE)."""

  def __init__(self, text_dim: int, dim: int, *, dtype, rngs: nnx.Rngs):
    self.dense = nnx.Linear(text_dim, dim, dtype=dtype, rngs=rngs)

  def __call__(
    self, text: Float[Array, "b l d"], mask: Bool[Array, "b l"] | None = None
  ) -> Float[Array, "b dim"]:
    """`mask` is not read."""
    return self.dense(text[:, -1])


def make_text_pool(config, text_dim: int, dim: int, **kinds) -> TextPool | LastState | None:
  """The pooling that `config.text_pool` names (an `ImageUNetConfig`); None for none, or without text."""
  if not text_dim or config.text_pool == "none":
    return None
  if config.text_pool == "last":
    return LastState(text_dim, dim, **kinds)
  return TextPool(text_dim, dim, config.pool_heads, **kinds)
