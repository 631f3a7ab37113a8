"""A U-Net in the ADM family's own naming, written out with torch functions: an independent reading of a state dict.

Structure: Dhariwal and Nichol (2021), GLIDE (Nichol et al., 2021). Text states stand before the image's keys in one
softmax; q, k and v alternate head by head in the rows of one 1x1 convolution.
"""

import math

import torch
import torch.nn.functional as F


def forward(state, x, timesteps, text=None, *, head_dim: int, down: set[int], up: set[int]):
  """Prediction [b c h w].

  Args:
    state: tensors by name.
    x: noisy images [b c h w], with their condition if there is one.
    timesteps: [b].
    text: states [b l d] or None.
    head_dim: width of an attention head.
    down: input blocks that are downsamplings.
    up: output blocks that end in an upsampling.
  """
  width = state["time_embed.0.weight"].shape[1]
  angles = timesteps[:, None] * torch.exp(
    -math.log(10_000) * torch.arange(width // 2) / (width // 2)
  )
  emb = torch.cat([angles.cos(), angles.sin()], dim=1)
  emb = dense(state, "time_embed.2", F.silu(dense(state, "time_embed.0", emb)))
  if text is not None:
    emb = emb + dense(state, "transformer_proj", text[:, -1])
    text = text.transpose(1, 2)

  h, skips = F.conv2d(x, *pair(state, "input_blocks.0.0"), padding=1), []
  skips.append(h)
  for n in range(1, count(state, "input_blocks")):
    h = res_block(state, f"input_blocks.{n}.0", h, emb, "down" if n in down else None)
    if f"input_blocks.{n}.1.qkv.weight" in state:
      h = attention(state, f"input_blocks.{n}.1", h, text, head_dim)
    skips.append(h)
  h = res_block(state, "middle_block.0", h, emb)
  if "middle_block.1.qkv.weight" in state:
    h = attention(state, "middle_block.1", h, text, head_dim)
  h = res_block(state, f"middle_block.{count(state, 'middle_block') - 1}", h, emb)
  for n in range(count(state, "output_blocks")):
    h = res_block(state, f"output_blocks.{n}.0", torch.cat([h, skips.pop()], dim=1), emb)
    next_one = 1
    if f"output_blocks.{n}.1.qkv.weight" in state:
      h = attention(state, f"output_blocks.{n}.1", h, text, head_dim)
      next_one = 2
    if n in up:
      h = res_block(state, f"output_blocks.{n}.{next_one}", h, emb, "up")
  return F.conv2d(F.silu(norm(state, "out.0", h)), *pair(state, "out.2"), padding=1)


def res_block(state, name, x, emb, how=None):
  """Residual block with scale and shift; resampling inside."""
  resample = {
    None: lambda y: y,
    "down": lambda y: F.avg_pool2d(y, 2),
    "up": lambda y: F.interpolate(y, scale_factor=2, mode="nearest"),
  }[how]
  h = resample(F.silu(norm(state, f"{name}.in_layers.0", x)))
  h = F.conv2d(h, *pair(state, f"{name}.in_layers.2"), padding=1)
  scale, shift = dense(state, f"{name}.emb_layers.1", F.silu(emb))[..., None, None].chunk(2, dim=1)
  h = F.silu(norm(state, f"{name}.out_layers.0", h) * (1 + scale) + shift)
  h = F.conv2d(h, *pair(state, f"{name}.out_layers.3"), padding=1)
  x = resample(x)
  if f"{name}.skip_connection.weight" in state:
    x = F.conv2d(x, *pair(state, f"{name}.skip_connection"))
  return x + h


def attention(state, name, x, text, head_dim):
  """Attention over the pixels and, where there is text, over its states before them."""
  b, c, height, width = x.shape
  split = lambda y, parts: y.reshape(b * (c // head_dim), parts * head_dim, -1).split(
    head_dim, dim=1
  )
  pixels = norm(state, f"{name}.norm", x).reshape(b, c, -1)
  q, k, v = split(F.conv1d(pixels, *pair(state, f"{name}.qkv")), 3)
  if text is not None:
    text_k, text_v = split(F.conv1d(text, *pair(state, f"{name}.encoder_kv")), 2)
    k, v = torch.cat([text_k, k], dim=2), torch.cat([text_v, v], dim=2)
  weights = torch.softmax(torch.einsum("bct,bcs->bts", q, k) / math.sqrt(head_dim), dim=-1)
  h = torch.einsum("bts,bcs->bct", weights, v).reshape(b, c, -1)
  return x + F.conv1d(h, *pair(state, f"{name}.proj_out")).reshape(x.shape)


def pair(state, name):
  """Weight and bias."""
  return state[f"{name}.weight"], state[f"{name}.bias"]


def dense(state, name, x):
  """A linear layer."""
  return F.linear(x, *pair(state, name))


def norm(state, name, x):
  """GroupNorm of 32 groups."""
  return F.group_norm(x, 32, *pair(state, name), eps=1e-5)


def count(state, name):
  """Number of blocks in a list."""
  return len({key.split(".")[1] for key in state if key.startswith(f"{name}.")})
