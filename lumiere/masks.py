"""Masks of known pixels: 1 where a pixel is given, 0 where it is generated (as in the paper, section 4).

Training draws a mask for each example. The config gives the shares of the kinds:

    none             nothing is known: plain text-to-video
    first_frame      image-to-video
    first_and_last   two keyframes
    any_frames       each frame with a probability drawn from U(0, 1)
    every_4th        frames 0, 4, 8, ...: temporal super-resolution of keyframes
    box, tube        all but a rectangle that stays in place, or moves at constant speed: inpainting
    hole             all but a fixed rectangle during some frames
    border           the inside of a fixed rectangle: outpainting
    still_region     the first frame, and all but a fixed rectangle: cinemagraphs

The network's input is the known pixels and the mask, [b t h w 4] (`shown`). In latent models both are reduced to latents.
"""

import dataclasses
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, PRNGKeyArray

# Range of the rectangles' sides, relative to the frame's.
SIDES = (0.3, 0.8)


@dataclasses.dataclass(frozen=True)
class MaskConfig:
  """The masks that a conditional network is trained on.

  Attributes:
    shares: relative frequency of each kind (see the module docstring); kinds that are left out do not occur.
  """

  shares: Mapping[str, float | int]

  def __post_init__(self):
    if unknown := sorted(set(self.shares) - set(KINDS)):
      raise ValueError(f"masks.shares has {unknown[0]!r}; kinds of masks are {', '.join(KINDS)}")
    if any(share < 0 for share in self.shares.values()) or not sum(self.shares.values()) > 0:
      raise ValueError(
        f"masks.shares={dict(self.shares)}: shares must be 0 or more, and one above 0"
      )


def shown(
  video: Float[ArrayLike, "b t h w c"], mask: Float[ArrayLike, "b t h w 1"]
) -> Float[Array, "b t h w c2"]:
  """The network's view of a clip: its known pixels, zero elsewhere, and the mask."""
  mask = jnp.asarray(mask)
  return jnp.concatenate([video * mask, mask], axis=-1)


def draw_masks(
  config: MaskConfig, key: PRNGKeyArray, shape: tuple[int, ...]
) -> Float[Array, "b t h w 1"]:
  """Masks for a batch of clips of shape [b t h w ...]; kind and rectangle are drawn for each clip."""
  b, t, h, w = shape[:4]
  kind_key, key = jax.random.split(key)
  shares = jnp.array(list(config.shares.values()), jnp.float32)
  kinds = jax.random.choice(kind_key, len(shares), (b,), p=shares / shares.sum())
  branches = [lambda key, draw=KINDS[name]: draw(key, t, h, w) for name in config.shares]
  draw = lambda kind, key: jax.lax.switch(kind, branches, key)
  masks = jax.vmap(draw)(kinds, jax.random.split(key, b))
  return masks[..., None].astype(jnp.float32)


def _frames(known: Array, h: int, w: int) -> Array:
  return jnp.broadcast_to(known[:, None, None], (len(known), h, w))


def _first_frame(key, t, h, w):
  return _frames(jnp.arange(t) == 0, h, w)


def _first_and_last(key, t, h, w):
  return _frames((jnp.arange(t) == 0) | (jnp.arange(t) == t - 1), h, w)


def _any_frames(key, t, h, w):
  share, frames = jax.random.split(key)
  return _frames(jax.random.uniform(frames, (t,)) < jax.random.uniform(share), h, w)


def _every_4th(key, t, h, w):
  return _frames(jnp.arange(t) % 4 == 0, h, w)


def _rectangle(key, t, h, w, moves: bool):
  """True inside a rectangle of random size at a random place, or moving from one place to another."""
  size_key, begin_key, end_key = jax.random.split(key, 3)
  sides = jax.random.uniform(size_key, (2,), minval=SIDES[0], maxval=SIDES[1])
  begin = jax.random.uniform(begin_key, (2,)) * (1 - sides)
  end = jax.random.uniform(end_key, (2,)) * (1 - sides) if moves else begin
  corner = begin[None] + jnp.linspace(0, 1, t)[:, None] * (end - begin)[None]

  def within(places, low, side):
    return (places >= low[:, None]) & (places < low[:, None] + side)

  rows = within((jnp.arange(h)[None] + 0.5) / h, corner[:, 0], sides[0])
  columns = within((jnp.arange(w)[None] + 0.5) / w, corner[:, 1], sides[1])
  return rows[:, :, None] & columns[:, None, :]


def _hole(key, t, h, w):
  ends = jnp.sort(jax.random.uniform(jax.random.fold_in(key, 3), (2,), maxval=t))
  during = (jnp.arange(t) >= ends[0]) & (jnp.arange(t) < ends[1])
  return ~(_rectangle(key, t, h, w, moves=False) & during[:, None, None])


def _still_region(key, t, h, w):
  return _first_frame(key, t, h, w) | ~_rectangle(key, t, h, w, moves=False)


# name -> (key, frames, height, width) -> bool [t h w]
KINDS: Mapping[str, Callable] = {
  "none": lambda key, t, h, w: jnp.zeros((t, h, w), bool),
  "first_frame": _first_frame,
  "first_and_last": _first_and_last,
  "any_frames": _any_frames,
  "every_4th": _every_4th,
  "box": lambda key, t, h, w: ~_rectangle(key, t, h, w, moves=False),
  "tube": lambda key, t, h, w: ~_rectangle(key, t, h, w, moves=True),
  "hole": _hole,
  "border": lambda key, t, h, w: _rectangle(key, t, h, w, moves=False),
  "still_region": _still_region,
}


def reduce(
  mask: Float[np.ndarray, "*b h w"], size: tuple[int, int]
) -> Float[np.ndarray, "*b h2 w2"]:
  """A mask for smaller frames: each pixel is the minimum over the pixels that it covers.

  Raises:
    ValueError: if the new height and width do not divide the old ones.
  """
  *batch, height, width = mask.shape
  rows, columns = size
  if height % rows or width % columns:
    raise ValueError(f"a mask of {height}x{width} pixels cannot be reduced to {rows}x{columns}")
  blocks = mask.reshape(*batch, rows, height // rows, columns, width // columns)
  return blocks.min(axis=(-3, -1))


def soften(mask: Float[np.ndarray, "*b h w"], pixels: int) -> Float[np.ndarray, "*b h w"]:
  """Fades the mask of known pixels towards unknown ones, from 0 at the border to 1 after so many pixels.

  Pixels that stay 1 are kept exactly; in between, the given frames blend into the generated ones.
  """
  if pixels < 0:
    raise ValueError(f"soft_edge={pixels} must be 0 pixels or more")
  if not pixels:
    return mask
  from scipy import ndimage  # here, as it takes a while to import and few samples need it

  softened = np.array(mask, np.float32)
  for frame in softened.reshape(-1, *mask.shape[-2:]):
    if (frame < 1).any() and (frame > 0).any():
      distance = ndimage.distance_transform_edt(frame > 0)
      frame *= np.minimum(1, distance / (pixels + 1))
  return softened
