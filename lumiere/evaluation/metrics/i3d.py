"""I3D, the network behind FVD: Inception-v1 with kernels that also have a length (Carreira and Zisserman, 2017).

Its features are the 400 logits of Kinetics before softmax, averaged over time: `RGB/inception_i3d/Mean:0` of the module that FVD
was defined with (Unterthiner et al., 2018). Every convolution but the last is followed by a batch norm without scale, which is
here part of the convolution (`i3d_weights.py` folds it in), and by ReLU.
"""

import einops
import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from lumiere.evaluation.metrics import resizing

SIZE, MIN_FRAMES, NUM_CLASSES = 224, 9, 400

# Of each Inception block: 1x1x1; 1x1x1 -> 3x3x3; 1x1x1 -> 3x3x3; pool -> 1x1x1.
MIXED = {
  "Mixed_3b": (64, (96, 128), (16, 32), 32),
  "Mixed_3c": (128, (128, 192), (32, 96), 64),
  "Mixed_4b": (192, (96, 208), (16, 48), 64),
  "Mixed_4c": (160, (112, 224), (24, 64), 64),
  "Mixed_4d": (128, (128, 256), (24, 64), 64),
  "Mixed_4e": (112, (144, 288), (32, 64), 64),
  "Mixed_4f": (256, (160, 320), (32, 128), 128),
  "Mixed_5b": (256, (160, 320), (32, 128), 128),
  "Mixed_5c": (384, (192, 384), (48, 128), 128),
}
# (window, strides) of the pooling before a block.
POOLS = {
  "Conv3d_2b_1x1": ((1, 3, 3), (1, 2, 2)),
  "Mixed_3b": ((1, 3, 3), (1, 2, 2)),
  "Mixed_4b": ((3, 3, 3), (2, 2, 2)),
  "Mixed_5b": ((2, 2, 2), (2, 2, 2)),
}


class Conv(nnx.Conv):
  """A convolution over frames and space with `SAME` padding, as one over space: the frames that an output frame sees are
  its input channels. XLA's own takes several times as long on a CPU where channels are few.
  """

  def __init__(self, c_in: int, c_out: int, size: int, stride: int = 1, *, rngs: nnx.Rngs):
    super().__init__(c_in, c_out, (size,) * 3, (stride,) * 3, rngs=rngs)

  def __call__(self, x: Float[Array, "b t h w c"]) -> Float[Array, "b t2 h2 w2 d"]:
    """Strides are rounded up: ceil(t / stride) frames."""
    (length, *_), (stride, *strides) = self.kernel_size, self.strides
    (around,) = jax.lax.padtype_to_pads(x.shape[1:2], (length,), (stride,), "SAME")
    padded = jnp.pad(x, [(0, 0), around, (0, 0), (0, 0), (0, 0)])
    last = padded.shape[1] - length
    seen = jnp.concatenate([padded[:, i : last + i + 1 : stride] for i in range(length)], axis=-1)
    y = jax.lax.conv_general_dilated(
      einops.rearrange(seen, "b t h w c -> (b t) h w c"),
      einops.rearrange(self.kernel[...], "t h w c d -> h w (t c) d"),
      strides,
      "SAME",
      dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )
    y += jnp.broadcast_to(self.bias[...], y.shape)
    return einops.rearrange(y, "(b t) h w d -> b t h w d", b=len(x))


class Mixed(nnx.Module):
  """An Inception block: four branches side by side."""

  def __init__(self, c_in: int, widths, *, rngs: nnx.Rngs):
    first, (second_in, second), (third_in, third), fourth = widths
    conv = lambda *sizes: Conv(*sizes, rngs=rngs)
    self.branches = nnx.List(
      [
        nnx.List([conv(c_in, first, 1)]),
        nnx.List([conv(c_in, second_in, 1), conv(second_in, second, 3)]),
        nnx.List([conv(c_in, third_in, 1), conv(third_in, third, 3)]),
        nnx.List([conv(c_in, fourth, 1)]),
      ]
    )
    self.width = first + second + third + fourth

  def __call__(self, x: Float[Array, "b t h w c"]) -> Float[Array, "b t h w d"]:
    """The branches' outputs after each other; the last one sees a maximum over 3x3x3."""
    pooled = _maximum(x, (3, 3, 3), (1, 1, 1))
    outputs = []
    for branch, h in zip(self.branches, (x, x, x, pooled), strict=True):
      for conv in branch:
        h = nnx.relu(conv(h))
      outputs.append(h)
    return jnp.concatenate(outputs, axis=-1)


class I3D(nnx.Module):
  """See the module docstring."""

  def __init__(self, *, rngs: nnx.Rngs):
    self.Conv3d_1a_7x7 = Conv(3, 64, 7, 2, rngs=rngs)
    self.Conv3d_2b_1x1 = Conv(64, 64, 1, rngs=rngs)
    self.Conv3d_2c_3x3 = Conv(64, 192, 3, rngs=rngs)
    width, mixed = 192, {}
    for name, widths in MIXED.items():
      mixed[name] = Mixed(width, widths, rngs=rngs)
      width = mixed[name].width
    self.mixed = nnx.Dict(mixed)
    self.logits = Conv(width, NUM_CLASSES, 1, rngs=rngs)

  def trunk(self, x: Float[Array, "b t h w 3"]) -> Float[Array, "b t2 h2 w2 1024"]:
    """What comes before the last pooling: an eighth of the frames, a 32nd of the size, both rounded up."""
    x = nnx.relu(self.Conv3d_1a_7x7(x))
    x = nnx.relu(self.Conv3d_2b_1x1(_pooled(x, "Conv3d_2b_1x1")))
    x = nnx.relu(self.Conv3d_2c_3x3(x))
    for name, block in self.mixed.items():
      x = block(_pooled(x, name))
    return x

  def __call__(self, x: Float[Array, "b t h w 3"]) -> Float[Array, "b 400"]:
    """Logits of clips in [-1, 1], averaged over time.

    Args:
      x: 9 frames or more of 193x193 pixels or more; 224x224 is what the network was trained on.

    Raises:
      ValueError: if the clips are shorter or smaller.
    """
    _, t, height, width, _ = x.shape
    if t < MIN_FRAMES or min(height, width) <= SIZE - 32:
      raise ValueError(
        f"clips of {t} frames of {height}x{width} pixels: I3D needs {MIN_FRAMES} frames of {SIZE - 31} pixels or more"
      )
    pooled = nnx.avg_pool(self.trunk(x), (2, 7, 7), (1, 1, 1), "VALID")
    return jnp.mean(self.logits(pooled), axis=(1, 2, 3))


def _pooled(x, name: str):
  if name not in POOLS:
    return x
  return _maximum(x, *POOLS[name])


def _maximum(x, window: tuple[int, ...], strides: tuple[int, ...]):
  """The maximum over a window, along one axis after the other: 9 comparisons in place of 27."""
  for axis in range(3):
    of_axis = lambda sizes, axis=axis: tuple(n if a == axis else 1 for a, n in enumerate(sizes))
    x = nnx.max_pool(x, of_axis(window), of_axis(strides), "SAME")
  return x


def features(network: I3D, clips: Float[Array, "b t h w 3"], kind: str) -> Float[Array, "b 400"]:
  """Features of clips in 0..255 of any size."""
  b = len(clips)
  x = einops.rearrange(clips, "b t h w c -> (b t) h w c") / 127.5 - 1
  x = resizing.resize(x, SIZE, SIZE, kind)
  with jax.default_matmul_precision("highest"):
    return network(einops.rearrange(x, "(b t) h w c -> b t h w c", b=b))
