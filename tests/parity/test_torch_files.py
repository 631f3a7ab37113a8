"""Files that torch itself has saved are read as torch reads them, or refused by name."""

import argparse
import subprocess
import sys

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="make test-parity installs it")

from lumiere.interop.tensors import open_tensors  # noqa: E402


def read(path, variant=None):
  with open_tensors(path, variant) as found:
    return {name: tensor.read() for name, tensor in found.items()}


def weights(dtype=torch.float32) -> dict:
  torch.manual_seed(0)
  return {"w": torch.randn(4, 6, dtype=dtype), "b": torch.randn(6, dtype=dtype)}


def noted(tensor):
  """A tensor with an attribute of its own is pickled in another way."""
  tensor.note = "mine"
  return tensor


@pytest.mark.parametrize(
  "make",
  [
    weights,
    lambda: weights(torch.float16),
    lambda: weights(torch.bfloat16),
    lambda: {name: x.requires_grad_() for name, x in weights().items()},
    lambda: {name: torch.nn.Parameter(x) for name, x in weights().items()},
    lambda: {name: noted(x) for name, x in weights().items()},
    lambda: {name: noted(torch.nn.Parameter(x)) for name, x in weights().items()},
    lambda: torch.nn.Linear(6, 4).state_dict(),
    lambda: {"t": weights()["w"].t(), "part": torch.arange(100.0)[3::7], "zero": torch.ones(0, 3)},
    lambda: {"repeated": torch.ones(1).expand(5), **weights()},
  ],
)
@pytest.mark.parametrize("checksums", [True, False])
def test_state_dicts_are_read_as_torch_reads_them(make, checksums, tmp_path):
  tensors = make()
  torch.serialization.set_crc32_options(checksums)
  torch.save(tensors, tmp_path / "w.pt")
  torch.serialization.set_crc32_options(True)
  found = read(tmp_path / "w.pt")
  assert found.keys() == tensors.keys()
  for name, tensor in tensors.items():
    expected = tensor.detach().to(torch.float32).numpy()
    assert str(tensor.dtype) == f"torch.{found[name].dtype}"
    np.testing.assert_array_equal(found[name].astype(np.float32), expected)


def test_a_trainings_file_gives_its_state_dict(tmp_path):
  model = torch.nn.Linear(6, 4)
  optimizer = torch.optim.Adam(model.parameters())
  model(torch.ones(1, 6)).sum().backward()
  optimizer.step()
  content = {
    "state_dict": model.state_dict(),
    "optimizer": optimizer.state_dict(),
    "args": argparse.Namespace(lr=0.1),
    "step": torch.tensor(3),
  }
  torch.save(content, tmp_path / "w.ckpt")
  np.testing.assert_array_equal(read(tmp_path / "w.ckpt")["weight"], model.weight.detach().numpy())


@pytest.mark.parametrize(
  ("make", "message"),
  [
    (lambda: [1, 2], "the type list"),
    (lambda: weights()["w"], "a bare tensor"),
    (lambda: torch.nn.Linear(2, 3), "the class torch.nn.modules.linear.Linear"),
    (lambda: {"w": weights()["w"].to_sparse()}, "w is a sparse tensor"),
    (lambda: {"w": weights()["w"].to_sparse_csr()}, "w is a sparse tensor"),
    (lambda: {"w": weights()["w"].to("meta")}, "w is a tensor of the device 'meta'"),
    (
      lambda: {"w": torch.quantize_per_tensor(weights()["w"], 0.1, 0, torch.qint8)},
      "w is a quantised tensor",
    ),
    (lambda: {"model": weights(), "ema": weights()}, "several state dicts, model, ema"),
  ],
)
@pytest.mark.filterwarnings("ignore")
def test_what_is_no_state_dict_is_refused(make, message, tmp_path):
  torch.save(make(), tmp_path / "w.pt")
  with pytest.raises(ValueError, match=message):
    read(tmp_path / "w.pt")


def test_advice_for_the_old_format_can_be_followed(tmp_path):
  path = tmp_path / "old.pt"
  torch.save(weights(), path, _use_new_zipfile_serialization=False)
  with pytest.raises(ValueError, match="format of torch before 1.6") as error:
    read(path)
  command = str(error.value).partition("python -c ")[2].strip('"')
  subprocess.run([sys.executable, "-c", command], check=True)
  np.testing.assert_array_equal(read(path)["w"], weights()["w"].numpy())


def test_advice_for_other_tensors_can_be_followed(tmp_path):
  dense = weights()["w"]
  torch.save({"w": dense.to_sparse().to_dense()}, tmp_path / "w.pt")
  np.testing.assert_array_equal(read(tmp_path / "w.pt")["w"], dense.numpy())


def test_files_written_here_for_tests_are_torchs(tmp_path):
  from tests.lumiere.interop.published import write_torch

  ours = {"w": np.arange(6, dtype=np.float32).reshape(2, 3), "i": np.arange(3, dtype=np.int8)}
  write_torch(tmp_path / "w.pt", ours)
  for name, tensor in torch.load(tmp_path / "w.pt", weights_only=True).items():
    np.testing.assert_array_equal(tensor.numpy(), ours[name])
