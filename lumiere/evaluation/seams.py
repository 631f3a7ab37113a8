"""Seams between windows: change from frame to frame at window borders, relative to change elsewhere."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float


def frame_change(video: Float[np.ndarray, "t h w c"]) -> Float[np.ndarray, " t-1"]:
  """Root mean square of frame i + 1 minus frame i, for each i."""
  return np.sqrt(np.mean(np.square(np.diff(video, axis=0)), axis=(1, 2, 3)))


def seam_score(
  video: Float[np.ndarray, "t h w c"],
  borders: Sequence[int],
  reference: Float[np.ndarray, "t h w c"] | None = None,
) -> float:
  """Mean change at the borders divided by mean change elsewhere: 1 if there is no seam.

  Args:
    video: frames in [-1, 1].
    borders: border i lies between frames i and i + 1, as `WindowPlan.borders` gives them.
    reference: the same clip without seams, for super-resolution the truth or the upsampled input. If given, changes of the
      difference to it are compared, so that uneven motion (or a source of another frame rate) does not count as a seam.

  Raises:
    ValueError: if there is no border, no change that is not at a border, or a border outside the video.
  """
  inside = np.ones(len(video) - 1, bool)
  if not len(borders) or min(borders) < 0 or max(borders) >= len(inside):
    raise ValueError(f"borders={tuple(borders)} must lie between 0 and {len(inside) - 1}")
  inside[list(borders)] = False
  if not inside.any():
    raise ValueError(f"borders={tuple(borders)} leave no frame change inside a window")
  change = frame_change(video if reference is None else video - reference)
  return float(change[~inside].mean() / max(change[inside].mean(), 1e-12))
