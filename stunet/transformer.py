"""The spatial transformer of latent diffusion: what a stage of Stable Diffusion ends in, in place of the joint attention.

    h = dense_in(norm(x))
    h = h + self_attention(layer_norm(h))                      n times these three
    h = h + cross_attention(layer_norm(h), text)
    h = h + dense(a * gelu(gate)),   [a; gate] = dense(layer_norm(h))
    y = x + dense_out(h)

(Rombach et al., 2022, section 3.3 and appendix E.2.1.) The two attentions have a softmax each. `dense_in` and `dense_out` are 1x1
convolutions in some public files and dense layers in others; the numbers are the same. `norm` has another epsilon than all
other norms of the network, and the GELU is the exact one: at another choice shapes agree and pictures do not.
"""

import einops
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float

from stunet.attention import attend, split_heads
from stunet.blocks import ACTIVATIONS, group_norm, layer_norm, over_frames

NORM_EPSILON = 1e-6


class Attention(nnx.Module):
  """From each place to the states that are given; keys, queries and values have no bias."""

  def __init__(self, channels: int, states_dim: int, *, head_dim: int, dtype, rngs: nnx.Rngs):
    dense = lambda c_in, bias=False: nnx.Linear(
      c_in, channels, use_bias=bias, dtype=dtype, rngs=rngs
    )
    self.head_dim = head_dim
    self.query, self.key, self.value = dense(channels), dense(states_dim), dense(states_dim)
    self.out = dense(channels, bias=True)

  def __call__(
    self,
    x: Float[Array, "n q c"],
    states: Float[Array, "b k d"],
    mask: Bool[Array, "b k"] | None = None,
  ) -> Float[Array, "n q c"]:
    """`states` and `mask` have one row per clip, or per image; `mask` is True where a state may be attended to."""
    key, value = (over_frames(dense(states), len(x)) for dense in (self.key, self.value))
    h = attend(
      *(split_heads(each, self.head_dim) for each in (self.query(x), key, value)),
      None if mask is None else over_frames(mask, len(x)),
    )
    return self.out(einops.rearrange(h, "n q heads d -> n q (heads d)"))


class TransformerBlock(nnx.Module):
  """Self-attention, attention to the text, two dense layers of which the first is gated; each of them residual."""

  def __init__(self, channels: int, text_dim: int, *, head_dim: int, dtype, rngs: nnx.Rngs):
    kinds = dict(dtype=dtype, rngs=rngs)
    self.norm1 = layer_norm(channels, dtype, rngs)
    self.self_attention = Attention(channels, channels, head_dim=head_dim, **kinds)
    self.norm2 = layer_norm(channels, dtype, rngs)
    self.cross_attention = Attention(channels, text_dim, head_dim=head_dim, **kinds)
    self.norm3 = layer_norm(channels, dtype, rngs)
    self.dense = nnx.Linear(channels, 2 * 4 * channels, **kinds)
    self.proj = nnx.Linear(4 * channels, channels, **kinds)

  def __call__(
    self, x: Float[Array, "n p c"], text: Float[Array, "b l d"], mask: Bool[Array, "b l"] | None
  ) -> Float[Array, "n p c"]:
    """`text` and `mask` have one row per clip."""
    h = self.norm1(x)
    x = x + self.self_attention(h, h)
    x = x + self.cross_attention(self.norm2(x), text, mask)
    values, gate = jnp.split(self.dense(self.norm3(x)), 2, axis=-1)
    return x + self.proj(values * ACTIVATIONS["gelu"](gate))


class Transformer(nnx.Module):
  """See the module docstring; adds nothing at initialisation, as `proj_out` starts at zero."""

  def __init__(
    self,
    channels: int,
    text_dim: int,
    depth: int,
    *,
    head_dim: int,
    groups: int,
    dtype,
    rngs: nnx.Rngs,
  ):
    """`depth` is the number of blocks."""
    self.norm = group_norm(channels, groups, dtype, rngs, epsilon=NORM_EPSILON)
    self.proj_in = nnx.Linear(channels, channels, dtype=dtype, rngs=rngs)
    block = lambda: TransformerBlock(channels, text_dim, head_dim=head_dim, dtype=dtype, rngs=rngs)
    self.blocks = nnx.List([block() for _ in range(depth)])
    zeros = nnx.initializers.zeros
    self.proj_out = nnx.Linear(channels, channels, kernel_init=zeros, dtype=dtype, rngs=rngs)

  def __call__(
    self,
    x: Float[Array, "n h w c"],
    text: Float[Array, "b l d"],
    mask: Bool[Array, "b l"] | None = None,
  ) -> Float[Array, "n h w c"]:
    """`text` and its `mask` have one row per clip, as the embedding in `ResBlock`."""
    h = self.proj_in(einops.rearrange(self.norm(x), "n h w c -> n (h w) c"))
    for block in self.blocks:
      h = block(h, text, mask)
    return x + einops.rearrange(self.proj_out(h), "n (h w) c -> n h w c", h=x.shape[1])
