"""Finds the one thing in a video of moving shapes: its colour, outline, and where it is in each frame.

With x a pixel's colour, b the background's and c the thing's, the pixel is covered by the share

    alpha = (x - b) . (c - b) / |c - b|^2                                                                           (1)

and everything else follows from moments of alpha about its centroid, z = x + i y being a pixel's place:

    area = sum alpha        m_n = sum alpha z^n / area^(1 + n/2)                                                     (2)

z^n is harmonic, so m_n does not change when the picture is blurred evenly or shown at another resolution. A regular n-gon
has |m_n| well above 0 and its angle is arg(m_n) / n; a circle's m_n are all 0.
"""

import functools
from typing import NamedTuple

import numpy as np
from jaxtyping import Complex, Float, UInt8

from lumiere.data.moving_shapes.scene import BACKGROUNDS, COLOURS, NUM_SIDES, SHAPES

# The least area that counts as a thing, in squares of the shorter side.
LEAST_AREA = 0.01


class Track(NamedTuple):
  """What was found in a video.

  Attributes:
    background: nearest of BACKGROUNDS.
    colour: nearest of COLOURS; None if there is no thing.
    shape: nearest of SHAPES; None if there is no thing.
    centre: x and y of its centroid in each frame, in shorter sides of the frame; nan where it is not seen.
    size: its extent in each frame, in shorter sides, as `scene.Thing.size`.
    turn: unit number whose argument is its angle times its number of sides; 0 for circles.
  """

  background: str
  colour: str | None
  shape: str | None
  centre: Float[np.ndarray, "t 2"]
  size: Float[np.ndarray, " t"]
  turn: Complex[np.ndarray, " t"]


def track(video: UInt8[np.ndarray, "t h w 3"]) -> Track:
  """Measures a video with at most one thing in it."""
  pixels = video.astype(np.float32)
  background = background_colour(pixels)
  name = nearest(background, BACKGROUNDS)
  colour = foreground_colour(pixels, background)
  if colour is None:
    t = len(video)
    return Track(name, None, None, np.full((t, 2), np.nan), np.zeros(t), np.zeros(t, np.complex128))
  way = colour - background
  alpha = (pixels - background) @ way / (way @ way)  # equation (1)
  return measure(alpha, name, nearest(colour, COLOURS))


def measure(alpha: Float[np.ndarray, "t h w"], background: str, colour: str) -> Track:
  """The track of a thing of known colour from how far it covers each pixel, equation (1)."""
  centre, area, moments = np.zeros((len(alpha), 2)), np.zeros(len(alpha)), {3: [], 4: []}
  for index, frame in enumerate(alpha):
    centre[index], area[index], found = frame_moments(frame)
    for order, values in moments.items():
      values.append(found[order])
  seen = area > LEAST_AREA
  if not seen.any():
    return Track(background, None, None, centre, area, np.zeros(len(alpha), np.complex128))
  moments = {order: np.array(values) for order, values in moments.items()}
  strength = {order: np.median(np.abs(values[seen])) for order, values in moments.items()}
  shape = nearest(np.array([strength[3], strength[4]]), ideal_moments())
  sides = NUM_SIDES[shape]
  turn = np.zeros(len(alpha), np.complex128)
  if sides:
    turn = moments[sides] * np.conj(reference_moment(shape))
    turn /= np.maximum(np.abs(turn), 1e-12)
  centre[~seen] = np.nan
  size = np.sqrt(area / unit_area(shape))
  return Track(background, colour, shape, centre, size, turn)


def background_colour(pixels: Float[np.ndarray, "t h w 3"]) -> Float[np.ndarray, "3"]:
  """The typical colour of the frames' edges."""
  edge = np.concatenate([pixels[:, [0, -1]].reshape(-1, 3), pixels[:, :, [0, -1]].reshape(-1, 3)])
  return np.median(edge, axis=0)


def foreground_colour(
  pixels: Float[np.ndarray, "t h w 3"], background: Float[np.ndarray, "3"]
) -> Float[np.ndarray, "3"] | None:
  """Typical colour of the pixels that differ most from the background; None if hardly any does."""
  distance = np.linalg.norm(pixels - background, axis=-1)
  # The thing's own pixels are far more than one in a thousand; stray ones are fewer.
  most = np.quantile(distance, 0.995)
  if most < 60:
    return None
  return np.median(pixels[distance > 0.85 * most], axis=0)


def frame_moments(
  alpha: Float[np.ndarray, "h w"],
) -> tuple[Float[np.ndarray, "2"], float, dict[int, complex]]:
  """Centroid, area (by the shorter side and its square) and m_3, m_4 of equation (2); the area is 0 if nothing is there."""
  side = min(alpha.shape)
  y, x = (np.indices(alpha.shape) + 0.5) / side
  # A first place and extent from the pixels that are mostly covered, then all that is near: pixels far away add noise only.
  # What is cut off is smooth in alpha, hence not the edge pixels of the shape.
  core = np.where(alpha > 0.35, alpha, 0)
  area = core.sum() / side**2
  if area < LEAST_AREA:
    return np.zeros(2), 0.0, {3: 0j, 4: 0j}
  centre = np.array([(core * x).sum(), (core * y).sum()]) / core.sum()
  near = np.zeros_like(alpha)
  for _ in range(2):
    reach = 1.6 * np.sqrt(area / np.pi) + 1.5 / side
    near = np.where(np.hypot(x - centre[0], y - centre[1]) < reach, alpha, 0)
    area = max(near.sum() / side**2, LEAST_AREA)
    centre = np.array([(near * x).sum(), (near * y).sum()]) / (area * side**2)
  z = (x - centre[0]) + 1j * (y - centre[1])
  moments = {n: complex((near * z**n).sum() / side**2 / area ** (1 + n / 2)) for n in (3, 4)}
  return centre, float(area), moments


@functools.cache
def ideal_moments() -> dict[str, Float[np.ndarray, "2"]]:
  """(|m_3|, |m_4|) of each shape."""
  return {shape: np.abs(_measured(shape)[1:]) for shape in SHAPES}


def reference_moment(shape: str) -> complex:
  """m_n of an upright n-gon."""
  return complex(_measured(shape)[NUM_SIDES[shape] - 2])


def unit_area(shape: str) -> float:
  """Area of the shape of size 1."""
  return float(_measured(shape)[0].real)


@functools.cache
def _measured(shape: str) -> Complex[np.ndarray, "3"]:
  """(area at size 1, m_3, m_4), from one large drawing."""
  from lumiere.data.moving_shapes.render import coverage

  size, side = 0.5, 256
  inside, pixels = coverage(shape, np.array([0.5, 0.5]), size, 0.0, (side, side), 1)
  alpha = np.zeros((side, side), np.float32)
  alpha[pixels] = inside
  _, area, moments = frame_moments(alpha)
  return np.array([area / size**2, moments[3], moments[4]])


def nearest(value: np.ndarray, choices: dict) -> str:
  """The name whose value is the nearest."""
  return min(choices, key=lambda name: float(np.linalg.norm(value - np.asarray(choices[name]))))
