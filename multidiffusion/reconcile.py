"""One video from overlapping windows: the least-squares solution of MultiDiffusion (Bar-Tal et al., 2023).

Window i predicts y_i for its frames F_i. The video nearest to all predictions,

    J* = argmin_J  sum_i || sqrt(w) (J|_{F_i} - y_i) ||^2,                                                          (1)

is found frame by frame, since no two frames share a term: it is the mean over the windows that cover the frame, weighted by
w at the frame's position in each window. With w = 1 this is the plain mean of Lumiere's section 3.2.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from multidiffusion.windows import WindowPlan


def cut(video: Float[Array, "b t ..."], plan: WindowPlan) -> Float[Array, "n b w ..."]:
  """The windows of a video."""
  return jnp.moveaxis(video[:, plan.indices()], 1, 0)


def reconcile(
  windows: Float[Array, "n b w ..."], plan: WindowPlan, weights: str = "uniform"
) -> Float[Array, "b t ..."]:
  """Equation (1). A frame that only one window covers is taken from it, bit for bit.

  Args:
    windows: the prediction of each window of `plan`.
    plan: where the windows lie.
    weights: "uniform" or "tapered", see `window_weights`.
  """
  _, batch, _, *rest = windows.shape
  total = jnp.zeros((batch, plan.num_frames, *rest), windows.dtype)
  for start, window, weight in zip(plan.starts, windows, plan.weights(weights), strict=True):
    total = add_window(total, window, start, weight)
  return total / along_time(total_weight(plan, weights), total)


def add_window(
  total: Float[Array, "b t ..."],
  window: Float[Array, "b w ..."],
  start,
  weight: Float[ArrayLike, " w"],
) -> Float[Array, "b t ..."]:
  """Adds a weighted window to the sum, from frame `start` on; `start` may be a traced value."""
  length = window.shape[1]
  before = jax.lax.dynamic_slice_in_dim(total, start, length, axis=1)
  after = before + along_time(weight, window) * window
  return jax.lax.dynamic_update_slice_in_dim(total, after, start, axis=1)


def total_weight(plan: WindowPlan, weights: str) -> Float[np.ndarray, " t"]:
  """Sum of the weights at each frame."""
  return np.bincount(plan.indices().ravel(), plan.weights(weights).ravel()).astype(np.float32)


def along_time(per_frame, video: Float[Array, "b t ..."]) -> Array:
  """[t] -> [1 t 1 ... 1] in the video's dtype, so that it multiplies the video."""
  return jnp.asarray(per_frame, video.dtype).reshape(1, -1, *(1,) * (video.ndim - 2))
