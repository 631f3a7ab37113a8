"""Joint denoising of a video that is longer than the network's window: turns a denoiser into another denoiser.

At every call the noisy video is cut into windows, each is denoised, and the predictions are reconciled (`reconcile.py`).
Noise is not drawn here: the clip has one noise, and overlapping windows share the frames of it.

Windows are cut, denoised and summed in a loop, `windows_per_batch` at a time. Memory holds the video, one sum of its size, and
one such group, however long the video is.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from diffusion.objective import Denoiser
from multidiffusion.reconcile import add_window, along_time, total_weight
from multidiffusion.windows import WindowPlan


def windowed(
  denoiser: Denoiser,
  plan: WindowPlan,
  *,
  weights: str = "uniform",
  windows_per_batch: int = 1,
  per_frame: Sequence[str] = (),
  per_window: Sequence[str] = (),
) -> Denoiser:
  """Wraps a denoiser of windows into a denoiser of the whole video.

  Args:
    denoiser: `(z [b w h w c], log_snr [b], conditioning) -> prediction`, of z's shape; conditioning is a dict.
    plan: where the windows lie.
    weights: "uniform" or "tapered", see `window_weights`.
    windows_per_batch: windows denoised in one call; more is faster and takes more memory. The last call is padded with
      windows of weight zero.
    per_frame: names of entries [b t ...] that are cut like the video, such as a low-resolution condition.
    per_window: names of entries [n b ...] with one value per window, such as its prompt. All windows share the others.

  Returns:
    a denoiser `(z [b t h w c], log_snr [b], conditioning) -> prediction [b t h w c]`. It raises ValueError if the length of
    the video is not that of the plan, or if the conditioning lacks one of the names.
  """
  if windows_per_batch < 1:
    raise ValueError(f"windows_per_batch={windows_per_batch} must be 1 or more")
  count = len(plan.starts)
  group = windows_per_batch
  order = np.arange(-(-count // group) * group)
  starts = np.array(plan.starts, np.int32)[np.minimum(order, count - 1)].reshape(-1, group)
  filler = np.zeros((len(order) - count, plan.length), np.float32)
  weight = np.concatenate([plan.weights(weights), filler]).reshape(-1, group, plan.length)
  normaliser = total_weight(plan, weights)

  def joint(z, log_snr, conditioning):
    _check(z, conditioning or {}, plan, per_frame, per_window)
    named = dict(conditioning or {})
    own = {name: named.pop(name) for name in per_window}
    framewise = {name: named.pop(name) for name in per_frame}
    own = jax.tree.map(
      lambda x: x[np.minimum(order, count - 1)].reshape(-1, group, *x.shape[1:]), own
    )
    shared = jax.tree.map(lambda x: _flat(jnp.broadcast_to(x, (group, *x.shape))), named)

    def body(total, part):
      starts, weight, own = part
      cut = jax.vmap(
        lambda x, start: jax.lax.dynamic_slice_in_dim(x, start, plan.length, 1), (None, 0)
      )
      noisy, frames = jax.tree.map(lambda x: _flat(cut(x, starts)), (z, framewise))
      each = shared | frames | jax.tree.map(_flat, own)
      predicted = denoiser(noisy, jnp.tile(log_snr, group), each)
      for index, window in enumerate(predicted.reshape(group, len(z), *predicted.shape[1:])):
        total = add_window(total, window.astype(total.dtype), starts[index], weight[index])
      return total, None

    total, _ = jax.lax.scan(body, jnp.zeros_like(z), (starts, weight, own))
    return total / along_time(normaliser, total)

  return joint


def _flat(x):
  """[k b ...] -> [(k b) ...]."""
  return x.reshape(-1, *x.shape[2:])


def _check(z, conditioning, plan: WindowPlan, per_frame, per_window):
  if z.shape[1] != plan.num_frames:
    raise ValueError(
      f"the video has {z.shape[1]} frames, but the windows were planned for {plan.num_frames}"
    )
  for kind, names in (("per_frame", per_frame), ("per_window", per_window)):
    for name in names:
      if name not in conditioning:
        raise ValueError(
          f"{kind} names {name!r}, but the conditioning has {', '.join(conditioning) or 'nothing'}"
        )
  for name in per_window:
    for leaf in jax.tree.leaves(conditioning[name]):
      if len(leaf) != len(plan.starts):
        raise ValueError(
          f"{name!r} holds {len(leaf)} values, but there are {len(plan.starts)} windows"
        )
