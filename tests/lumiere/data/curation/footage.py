"""Videos for tests of curation, made of textures that move."""

import numpy as np

from tests.lumiere.data import media

FPS = 24


def texture(seed: int, height: int = 96, width: int = 160) -> np.ndarray:
  """A soft random picture [h w 3], with colours of its own."""
  rng = np.random.default_rng(seed)
  coarse = rng.uniform(0, 1, (height // 16 + 2, width // 16 + 2, 3)) * rng.uniform(90, 255, 3)
  picture = np.kron(coarse, np.ones((16, 16, 1)))
  for axis in (0, 1):
    picture = sum(np.roll(picture, shift, axis) for shift in range(-2, 3)) / 5
  return picture[:height, :width].round().astype(np.uint8)


def pan(seed: int, num_frames: int = 36, step: int = 1, **size) -> np.ndarray:
  """A picture that moves by `step` pixels a frame, round and round."""
  picture = texture(seed, **size)
  return np.stack([np.roll(picture, index * step, axis=1) for index in range(num_frames)])


def fade(one: np.ndarray, other: np.ndarray, num_frames: int) -> np.ndarray:
  """From the last frame of a video to the first one of another."""
  share = np.linspace(0, 1, num_frames)[:, None, None, None]
  return ((1 - share) * one[-1] + share * other[0]).round().astype(np.uint8)


def write(path, *videos, fps=FPS):
  """Writes videos one after another into one file."""
  media.write(path, np.concatenate(videos), fps, codec=("libx264", "yuv420p", {"crf": "12"}))
