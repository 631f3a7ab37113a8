"""A U-Net in the ADM family's own naming, written out with torch functions: an independent reading of a state dict.

Structure: Dhariwal and Nichol (2021), GLIDE (Nichol et al., 2021), DeepFloyd IF, Karlo. Text states stand before the image's
keys in one softmax; q, k and v alternate head by head in the rows of one 1x1 convolution. How the caption comes in is told
from the names that a state dict has.
"""

import math

import torch
import torch.nn.functional as F


def forward(
  state, x, timesteps, text=None, *, head_dim: int, down: set[int], up: set[int],
  clip=None, mask=None, levels=None, act=F.silu, scale: float = 1.0, pool_heads: int = 1,
):  # fmt: skip
  """Prediction [b c h w].

  Args:
    state: tensors by name.
    x: noisy images [b c h w], with their condition if there is one.
    timesteps: [b].
    text: states [b l d] or None.
    head_dim: width of an attention head.
    down: input blocks that are downsamplings.
    up: output blocks that end in an upsampling.
    clip: Karlo: embeddings of image and caption, [b d] each.
    mask: Karlo: [b l], True where `text` is a token.
    levels: DeepFloyd IF's super-resolution: noise level of the condition [b], in 0..1000.
    act: DeepFloyd IF's activation.
    scale: factor of residual blocks' outputs there.
    pool_heads: heads of its attention pooling.
  """
  emb = embed_time(state, "time_embed", timesteps, act)
  if levels is not None:
    emb = emb + embed_time(state, "aug_proj", levels, act)
  bias = None
  if "transformer_proj.weight" in state:  # GLIDE
    emb = emb + dense(state, "transformer_proj", text[:, -1])
  if "encoder_pooling.0.weight" in state:  # DeepFloyd IF
    emb = emb + pool(state, text, pool_heads)
    text = dense(state, "encoder_proj", text)
  if "clip_emb.weight" in state:  # Karlo
    image, caption = clip
    emb = emb + dense(state, "clip_emb", image) + dense(state, "text_feat_proj", caption)
    text = dense(state, "text_seq_proj.0", text)
    text = F.layer_norm(text, text.shape[-1:], *pair(state, "text_seq_proj.1"))
    extra = dense(state, "clip_tok_proj", image).reshape(len(image), text.shape[-1], -1)
    bias = torch.zeros(len(text), 1, extra.shape[2] + text.shape[1])
    bias[:, 0, extra.shape[2] :][~mask] = -math.inf
    text = torch.cat([extra.transpose(1, 2), text], dim=1)
  if text is not None:
    text = text.transpose(1, 2)
  block = lambda *args: res_block(state, *args, act=act, scale=scale)
  attend = lambda name, h: attention(state, name, h, text, bias, head_dim)

  h, skips = F.conv2d(x, *pair(state, "input_blocks.0.0"), padding=1), []
  skips.append(h)
  for n in range(1, count(state, "input_blocks")):
    h = block(f"input_blocks.{n}.0", h, emb, "down" if n in down else None)
    if f"input_blocks.{n}.1.qkv.weight" in state:
      h = attend(f"input_blocks.{n}.1", h)
    skips.append(h)
  h = block("middle_block.0", h, emb)
  if "middle_block.1.qkv.weight" in state:
    h = attend("middle_block.1", h)
  h = block(f"middle_block.{count(state, 'middle_block') - 1}", h, emb)
  for n in range(count(state, "output_blocks")):
    h = block(f"output_blocks.{n}.0", torch.cat([h, skips.pop()], dim=1), emb)
    next_one = 1
    if f"output_blocks.{n}.1.qkv.weight" in state:
      h = attend(f"output_blocks.{n}.1", h)
      next_one = 2
    if n in up:
      h = block(f"output_blocks.{n}.{next_one}", h, emb, "up")
  return F.conv2d(act(norm(state, "out.0", h)), *pair(state, "out.2"), padding=1)


def embed_time(state, name, times, act):
  """Sinusoids through two linear layers."""
  width = state[f"{name}.0.weight"].shape[1]
  rates = torch.exp(-math.log(10_000) * torch.arange(width // 2) / (width // 2))
  angles = times[:, None] * rates
  emb = torch.cat([angles.cos(), angles.sin()], dim=1)
  return dense(state, f"{name}.2", act(dense(state, f"{name}.0", emb)))


def pool(state, text, heads):
  """DeepFloyd IF's attention pooling: the mean state asks all states and itself."""
  x = F.layer_norm(text, text.shape[-1:], *pair(state, "encoder_pooling.0"))
  token = x.mean(dim=1, keepdim=True) + state["encoder_pooling.1.positional_embedding"]
  x = torch.cat([token, x], dim=1)
  split = lambda y: y.unflatten(-1, (heads, -1)).transpose(1, 2)
  q, k, v = (
    split(dense(state, f"encoder_pooling.1.{name}_proj", y))
    for name, y in (("q", token), ("k", x), ("v", x))
  )
  weights = torch.softmax(q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1]), dim=-1)
  pooled = dense(state, "encoder_pooling.2", (weights @ v).transpose(1, 2).flatten(1))
  return F.layer_norm(pooled, pooled.shape[-1:], *pair(state, "encoder_pooling.3"))


def res_block(state, name, x, emb, how=None, *, act, scale):
  """Residual block with scale and shift; resampling inside."""
  resample = {
    None: lambda y: y,
    "down": lambda y: F.avg_pool2d(y, 2),
    "up": lambda y: F.interpolate(y, scale_factor=2, mode="nearest"),
  }[how]
  h = resample(act(norm(state, f"{name}.in_layers.0", x)))
  h = F.conv2d(h, *pair(state, f"{name}.in_layers.2"), padding=1)
  factor, shift = dense(state, f"{name}.emb_layers.1", act(emb))[..., None, None].chunk(2, dim=1)
  h = act(norm(state, f"{name}.out_layers.0", h) * (1 + factor) + shift)
  h = F.conv2d(h, *pair(state, f"{name}.out_layers.3"), padding=1)
  x = resample(x)
  if f"{name}.skip_connection.weight" in state:
    x = F.conv2d(x, *pair(state, f"{name}.skip_connection"))
  return (x + h) * scale


def attention(state, name, x, text, bias, head_dim):
  """Attention over the text's states and, where q, k and v are all there, over the pixels after them."""
  b, c, height, width = x.shape
  heads = c // head_dim
  split = lambda y: y.reshape(b * heads, -1, y.shape[-1]).split(head_dim, dim=1)
  pixels = norm(state, f"{name}.norm", x).reshape(b, c, -1)
  q, *own = split(F.conv1d(pixels, *pair(state, f"{name}.qkv")))
  if text is not None:
    if f"{name}.norm_encoder.weight" in state:
      text = norm(state, f"{name}.norm_encoder", text)
    theirs = split(F.conv1d(text, *pair(state, f"{name}.encoder_kv")))
    own = [torch.cat(both, dim=2) for both in zip(theirs, own, strict=True)] if own else theirs
  k, v = own
  scores = torch.einsum("bct,bcs->bts", q, k) / math.sqrt(head_dim)
  if bias is not None:
    scores = scores + F.pad(bias, (0, pixels.shape[-1])).repeat_interleave(heads, dim=0)
  h = torch.einsum("bts,bcs->bct", torch.softmax(scores, dim=-1), v).reshape(b, c, -1)
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
