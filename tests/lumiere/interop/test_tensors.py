"""Files of weights are read without torch, tensor by tensor; what they hold else, and damage, is said by name."""

import json
import pickle
import zipfile

import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import save_file

from lumiere.interop.tensors import open_tensors
from tests.lumiere.interop.published import (
  Call,
  Storage,
  torch_tensor,
  write_parts,
  write_torch,
)
from tests.lumiere.test_files import POINTER

LEGACY = (
  b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03."  # how files of torch 1.5 begin
)


def numbers(*shape, dtype=np.float32):
  return np.random.default_rng(0).standard_normal(shape).astype(dtype)


def read(path, variant=None):
  with open_tensors(path, variant) as found:
    return {name: tensor.read() for name, tensor in found.items()}


def refuse(path, message, variant=None):
  """Opening or reading the file ends in one line that names it."""
  with pytest.raises(ValueError, match=message) as error:
    read(path, variant)
  assert str(path.parent) in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("dtype", ["float32", "float16", ml_dtypes.bfloat16])
@pytest.mark.parametrize("checksums", [True, False])
def test_torchs_files_give_the_tensors_that_were_saved(dtype, checksums, tmp_path):
  tensors = {
    "w": numbers(3, 4, dtype=dtype),
    "b": numbers(5, dtype=dtype),
    "s": numbers(dtype=dtype),
  }
  write_torch(tmp_path / "w.pt", tensors, checksums)
  found = read(tmp_path / "w.pt")
  assert found.keys() == tensors.keys()
  for name, tensor in tensors.items():
    assert found[name].dtype == dtype and found[name].shape == tensor.shape
    np.testing.assert_array_equal(found[name], tensor)


def test_views_into_one_storage_are_told_apart(tmp_path):
  shared = Storage(np.arange(24.0, dtype=np.float32))
  a, b = np.zeros((2, 3), np.float32), np.zeros((4, 2), np.float32)
  tensors = {"a": torch_tensor(a, shared, 6), "transposed": torch_tensor(b, shared, 1, (1, 4))}
  tensors["parameter"] = Call("parameter", torch_tensor(a, shared, 18), True, {})
  tensors["repeated"] = torch_tensor(np.zeros((2, 3), np.float32), shared, 2, (0, 1))
  write_torch(tmp_path / "w.pt", tensors)
  found = read(tmp_path / "w.pt")
  np.testing.assert_array_equal(found["a"], np.arange(6.0, 12).reshape(2, 3))
  np.testing.assert_array_equal(found["transposed"], 1 + np.arange(8.0).reshape(2, 4).T)
  np.testing.assert_array_equal(found["parameter"], np.arange(18.0, 24).reshape(2, 3))
  np.testing.assert_array_equal(found["repeated"], [[2, 3, 4], [2, 3, 4]])


def test_a_state_dict_is_found_in_a_trainings_file(tmp_path):
  weights = {"w": torch_tensor(numbers(3))}
  optimizer = {"state": {0: {"exp_avg": torch_tensor(numbers(3))}}, "param_groups": [{"lr": 1e-3}]}
  step = torch_tensor(np.zeros((), np.int64))
  content = {"epoch": 3, "step": step, "state_dict": weights, "optimizer": optimizer}
  write_torch(tmp_path / "w.ckpt", content)
  np.testing.assert_array_equal(read(tmp_path / "w.ckpt")["w"], numbers(3))
  write_torch(tmp_path / "nested.pt", {"module": {"model": weights}})
  assert read(tmp_path / "nested.pt").keys() == {"w"}


def test_of_several_state_dicts_one_is_chosen(tmp_path):
  model, ema = ({"w": torch_tensor(numbers(3) + n)} for n in range(2))
  write_torch(tmp_path / "w.pt", {"model": model, "ema": ema})
  refuse(tmp_path / "w.pt", "several state dicts, model, ema: --variant chooses one")
  np.testing.assert_array_equal(read(tmp_path / "w.pt", "ema")["w"], numbers(3) + 1)
  refuse(tmp_path / "w.pt", "--variant=best is not in .*, which holds model, ema", "best")
  write_torch(tmp_path / "one.pt", model)
  refuse(tmp_path / "one.pt", "holds one state dict and no variants", "ema")
  save_file({"w": numbers(3)}, tmp_path / "w.safetensors")
  refuse(tmp_path / "w.safetensors", "--variant=ema has no effect", "ema")


@pytest.mark.parametrize(
  ("content", "message"),
  [
    ([1, 2], "holds an object of the type list; a state dict is needed"),
    (None, "holds nothing"),
    (torch_tensor(numbers(3)), "holds a bare tensor"),
    ({}, "a dict without tensors"),
    ({"epoch": 3, "lr": 0.1}, "a dict without tensors .epoch, lr."),
    ({0: 1, "w": Call("sparse_tensor", 0, ())}, "w is a sparse tensor; store tensor.to_dense()"),
    ({"w": Call("qtensor", Storage(numbers(2)), 0, (2,), (1,), ())}, "w is a quantised tensor"),
    ({"w": Call("meta_tensor_no_storage", 0, (2,), (1,), False)}, "'meta', which has no numbers"),
    (Storage(numbers(2)), "holds an object of the type _Storage"),
    ({"w": torch_tensor(numbers(9), Storage(numbers(2)))}, "w: its bytes are not in the file"),
    ({"w": torch_tensor(numbers(2), Storage(numbers(2)), -1)}, "its pickle is damaged"),
    ({"w": torch_tensor(numbers(2), Storage(numbers(2)), 0, (1, 1))}, "its pickle is damaged"),
    ({"w": torch_tensor(numbers(2), Storage(numbers(2)), 1)}, "w: its bytes are not in the file"),
  ],
)
def test_files_of_torch_without_a_readable_state_dict_are_refused(content, message, tmp_path):
  write_torch(tmp_path / "w.pt", content)
  refuse(tmp_path / "w.pt", message)


class Evil:
  """Unpickled by Python, it would write a file."""

  def __init__(self, path):
    self.path = path

  def __reduce__(self):
    return open, (self.path, "w")


def test_nothing_in_a_file_is_run(tmp_path):
  trap = tmp_path / "trap"
  write_torch(tmp_path / "w.pt", {"w": numbers(3), "evil": Evil(str(trap))})
  np.testing.assert_array_equal(read(tmp_path / "w.pt")["w"], numbers(3))
  write_torch(tmp_path / "only.pt", Evil(str(trap)))
  refuse(tmp_path / "only.pt", "holds an object of the class _?io.open")
  assert not trap.exists()
  with pytest.warns(ResourceWarning):
    pickle.loads(pickle.dumps(Evil(str(trap))))
  assert trap.exists()


@pytest.mark.parametrize("suffix", [".pt", ".safetensors", ".bin"])
@pytest.mark.parametrize(
  ("content", "message"),
  [
    (POINTER.encode(), "is a Git LFS pointer"),
    (b"<html>", "is a web page"),
    (b"", "truncated or damaged|no file of torch.save"),
    (b"\x00" * 100, "truncated or damaged|no file of torch.save"),
    (LEGACY, r"truncated or damaged|format of torch before 1.6; .* python -c \"import torch"),
    (b"\x80\x04]\x94.", "truncated or damaged|is a plain pickle"),
    (b"PK\x03\x04abcd", "truncated or damaged"),
  ],
)
def test_files_of_other_kinds_are_told_apart(suffix, content, message, tmp_path):
  path = tmp_path / f"w{suffix}"
  path.write_bytes(content)
  refuse(path, message)


def test_other_archives_are_told_apart(tmp_path):
  np.savez(tmp_path / "w.npz", w=numbers(3))
  (tmp_path / "w.npz").rename(tmp_path / "w.pt")
  refuse(tmp_path / "w.pt", "a zip archive, but none that torch.save writes")
  write_torch(tmp_path / "script.pt", {"w": numbers(3)})
  with zipfile.ZipFile(tmp_path / "script.pt", "a") as archive:
    archive.writestr("script/constants.pkl", b"")
  refuse(tmp_path / "script.pt", "a TorchScript program")
  write_torch(tmp_path / "pickle.pt", {})
  with zipfile.ZipFile(tmp_path / "pickle.pt", "w") as archive:
    archive.writestr("pickle/data.pkl", b"\x80\x02}q\x00(X\x01")
  refuse(tmp_path / "pickle.pt", "its pickle is damaged")


def test_a_changed_byte_is_noticed(tmp_path):
  path = tmp_path / "w.pt"
  write_torch(path, {"w": numbers(1000)})
  content = bytearray(path.read_bytes())
  content[content.index(numbers(1000).tobytes()) + 2000] ^= 1
  path.write_bytes(content)
  refuse(path, "Bad CRC-32 for file 'w/data/0'")


@pytest.mark.parametrize("dtype", ["float16", ml_dtypes.bfloat16, "float32", "float64"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_not_finite_are_refused(dtype, value, tmp_path):
  tensor = np.ones((3, 2**19), np.float32)
  tensor[2, 77] = value
  save_file({"fine": numbers(3), "w": tensor.astype(dtype)}, tmp_path / "w.safetensors")
  refuse(tmp_path / "w.safetensors", "w.safetensors: w holds numbers that are not finite")


def test_double_precision_is_narrowed_and_may_not_overflow(tmp_path):
  save_file({"w": np.array([1 / 3, 1e-3])}, tmp_path / "w.safetensors")
  w = read(tmp_path / "w.safetensors")["w"]
  np.testing.assert_array_equal(w, np.array([1 / 3, 1e-3], np.float32))
  save_file({"w": np.array([1e39])}, tmp_path / "large.safetensors")
  refuse(tmp_path / "large.safetensors", "w holds numbers that are not finite")


@pytest.mark.parametrize("form", ["bin", "safetensors"])
def test_several_files_and_their_index_are_one(form, tmp_path):
  tensors = {name: numbers(2, 3) + n for n, name in enumerate("abc")}
  write_parts(tmp_path, tensors, form, "fp16")
  (index,) = tmp_path.glob("*.index.fp16.json")
  found = read(index)
  for name, tensor in tensors.items():
    np.testing.assert_array_equal(found[name], tensor)


@pytest.mark.parametrize(
  ("content", "message"),
  [
    ([], "is expected, not a list"),
    ({}, "weight_map must name a file for every tensor"),
    ({"weight_map": ["model-1.safetensors"]}, "weight_map must name a file"),
    ({"weight_map": {"w": 3}}, "weight_map must name a file"),
    ({"weight_map": {"w": "other.safetensors"}}, "names other.safetensors, which is not beside it"),
    ({"weight_map": {"w": "../w.safetensors"}}, "which is not beside it"),
    ({"weight_map": {"w": "w.safetensors", "v": "w.safetensors"}}, "v is not in w.safetensors"),
    ({"weight_map": {"w": "index.json"}}, "is no file of weights"),
  ],
)
def test_an_index_of_another_kind_is_refused(content, message, tmp_path):
  save_file({"w": numbers(3)}, tmp_path / "w.safetensors")
  (tmp_path / "index.json").write_text(json.dumps(content))
  refuse(tmp_path / "index.json", message)
