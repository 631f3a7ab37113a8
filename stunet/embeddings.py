"""Embeddings that condition a U-Net: the noise level, and the caption as one vector.

A noise level is given as a float *timestep* in [0, 1000], the number that the ADM family of networks embeds. The diffusion
schedule translates log-SNRs into timesteps.
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

  def __init__(
    self,
    sinusoid_dim: int,
    dim: int,
    activation: str,
    *,
    zero: bool = False,
    dtype,
    rngs: nnx.Rngs,
  ):
    """`zero` initialises the last layer to zero."""
    self.sinusoid_dim, self.activation = sinusoid_dim, activation
    last = {"kernel_init": nnx.initializers.zeros} if zero else {}
    self.dense1 = nnx.Linear(sinusoid_dim, dim, dtype=dtype, rngs=rngs)
    self.dense2 = nnx.Linear(dim, dim, dtype=dtype, rngs=rngs, **last)

  def __call__(self, timesteps: Float[Array, " b"]) -> Float[Array, "b dim"]:
    """`timesteps` in [0, 1000]."""
    h = self.dense1(sinusoids(timesteps, self.sinusoid_dim))
    return self.dense2(ACTIVATIONS[self.activation](h))


class TextPool(nnx.Module):
  """Caption states -> one vector: norm, attention pooling, dense, norm (DeepFloyd IF; Imagen section 2.3).

  The query is the mean state plus a learned position. It attends to itself and to every state.
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
    """`mask` is True where `text` is a token, not padding."""
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
    """`mask` is ignored."""
    return self.dense(text[:, -1])


class ClipContext(nnx.Module):
  """Two embeddings and the states of a caption -> one vector, and the states to attend to (unCLIP: Ramesh et al., 2022,
  section 2.1; Karlo).

      vector = dense(image) + dense(caption)
      states = [dense(image) cut into `image_tokens`; norm(dense(states of the caption))]

  The input is one sequence: CLIP's embedding of an image that shows the caption, its embedding of the caption, its states of
  the caption. An image embedding that is masked out is replaced by a learned one.
  """

  def __init__(
    self, text_dim: int, width: int, dim: int, image_tokens: int, *, dtype, rngs: nnx.Rngs
  ):
    dense = lambda c_out: nnx.Linear(text_dim, c_out, dtype=dtype, rngs=rngs)
    self.image_tokens = image_tokens
    self.no_image = nnx.Param(jnp.zeros(text_dim))
    self.image_vector, self.caption_vector = dense(dim), dense(dim)
    self.image_states, self.states = dense(image_tokens * width), dense(width)
    self.norm = layer_norm(width, dtype, rngs)

  def __call__(
    self, text: Float[Array, "b l d"], mask: Bool[Array, "b l"] | None = None
  ) -> tuple[Float[Array, "b dim"], Float[Array, "b l2 width"], Bool[Array, "b l2"] | None]:
    """(vector, states, their mask); l2 = image_tokens + l - 2."""
    image = text[:, 0]
    if mask is not None:
      image = jnp.where(mask[:, :1], image, self.no_image[...].astype(image.dtype)[None])
      mask = jnp.pad(mask[:, 2:], ((0, 0), (self.image_tokens, 0)), constant_values=True)
    vector = self.image_vector(image) + self.caption_vector(text[:, 1])
    extra = einops.rearrange(self.image_states(image), "b (d l) -> b l d", l=self.image_tokens)
    states = self.norm(self.states(text[:, 2:]))
    return vector, jnp.concatenate([extra, states], axis=1), mask


def make_text_pool(config, text_dim: int, dim: int, **kinds) -> TextPool | LastState | None:
  """The pooling named by `config.text_pool` (of an `ImageUNetConfig`); None for "none" or without text.

  Raises:
    ValueError: for "clip". It needs a `ClipContext`, which only an image network has.
  """
  if text_dim and config.text_pool == "clip":
    raise ValueError(
      "text_pool='clip' works in image networks only: set temporal.conditioned=False"
    )
  if not text_dim or config.text_pool == "none":
    return None
  if config.text_pool == "last":
    return LastState(text_dim, dim, **kinds)
  return TextPool(text_dim, dim, config.pool_heads, **kinds)
