"""Scenes as pixels: analytic, anti-aliased, the same at any size.

A pixel's value is the mean over its area. It is taken from a grid of at least FINE points along the shorter side, where a shape's coverage
is its signed distance in grid steps, clipped:

    coverage = clip(1/2 - distance, 0, 1)                                                                           (1)

Sizes that divide FINE share one grid: averaging the larger picture gives the smaller one.
"""

from collections.abc import Sequence

import einops
import numpy as np
from jaxtyping import Float

from lumiere.data import frames
from lumiere.data.moving_shapes.scene import BACKGROUNDS, COLOURS, REACH, Scene
from lumiere.sizes import Size, size_of

FINE = 128
# Outward normals of a triangle that points up; y runs down.
NORMALS = tuple((np.cos(a), np.sin(a)) for a in np.pi / 2 + np.arange(3) * 2 * np.pi / 3)


def distance(shape: str, x, y, size):
  """Signed distance from the outline, in the unit of `size`; negative inside. Near corners a lower bound."""
  if shape == "circle":
    return np.hypot(x, y) - 0.5 * size
  if shape == "square":
    return np.maximum(np.abs(x), np.abs(y)) - 0.45 * size
  return np.maximum.reduce([a * x + b * y for a, b in NORMALS]) - 0.34 * size


def coverage(
  shape: str,
  centre: Float[np.ndarray, "2"],
  size: float,
  angle: float,
  resolution: Size,
  detail: int,
) -> tuple[Float[np.ndarray, "h w"], tuple[slice, slice]]:
  """Equation (1) at `detail` x `detail` points a pixel, for the pixels that the shape may touch.

  Returns:
    (coverage of the points, rows and columns of those pixels).
  """
  unit, limits = min(resolution), resolution[::-1]
  grid = unit * detail
  reach = REACH[shape] * size + 1 / grid
  first = np.clip(np.floor((centre - reach) * unit).astype(int), 0, limits)
  last = np.clip(np.ceil((centre + reach) * unit).astype(int), 0, limits)
  x, y = (
    ((np.arange(a * detail, b * detail) + 0.5) / grid - c).astype(np.float32)
    for a, b, c in zip(first, last, centre, strict=True)
  )
  x, y = x[None, :], y[:, None]
  cos, sin = np.float32(np.cos(angle)), np.float32(np.sin(angle))
  outline = distance(shape, cos * x + sin * y, cos * y - sin * x, np.float32(size))
  inside = np.clip(0.5 - grid * outline, 0, 1).astype(np.float32)
  return inside, (slice(first[1], last[1]), slice(first[0], last[0]))


def render(
  scene: Scene,
  num_frames: int,
  fps: float | int,
  resolution: int | Sequence[int],
  first: int = 0,
) -> Float[np.ndarray, "t h w 3"]:
  """Draws a scene.

  Args:
    scene: what is drawn.
    num_frames: frames.
    fps: frame i shows the scene at time i / fps.
    resolution: side, or (height, width), in pixels.
    first: number of the first frame.

  Returns:
    float32 in [-1, 1].
  """
  resolution = size_of(resolution, "resolution")
  detail = -(-FINE // min(resolution))
  times = np.arange(first, first + num_frames) / fps
  states = [thing.state(times) for thing in scene.things]
  background = frames.to_float(np.array(BACKGROUNDS[scene.background], np.uint8))
  video = np.empty((num_frames, *resolution, 3), np.float32)
  video[:] = background
  for index, frame in enumerate(video):
    # Front to back on the fine points, so that things hide each other exactly within a pixel, too.
    free = np.ones([side * detail for side in resolution], np.float32)
    for thing, state in reversed(list(zip(scene.things, states, strict=True))):
      centre, size, angle = (value[index] for value in state)
      inside, pixels = coverage(thing.shape, centre, size, angle, resolution, detail)
      points = tuple(slice(part.start * detail, part.stop * detail) for part in pixels)
      seen = inside * free[points]
      free[points] -= seen
      mean = einops.reduce(seen, "(h y) (w x) -> h w 1", "mean", y=detail, x=detail)
      frame[pixels] += mean * (
        frames.to_float(np.array(COLOURS[thing.colour], np.uint8)) - background
      )
  return video
