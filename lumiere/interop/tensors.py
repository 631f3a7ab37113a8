"""Named tensors on disk, read one at a time: safetensors and torch's state dicts, one file or several with an index.

Nothing here runs code that a file brings; see `torch_files`.
"""

import contextlib
import dataclasses
import json
import pathlib
from collections.abc import Callable, Iterator

import ml_dtypes  # noqa: F401  (makes bfloat16 known to numpy, which safetensors asks for)
import numpy as np
import safetensors
from safetensors import SafetensorError

from lumiere import files
from lumiere.interop import torch_files

TORCH_SUFFIXES = (".pt", ".pth", ".bin", ".ckpt")
# Of safetensors -> numpy's.
_DTYPES = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16"}
_BLOCK = 2**20


@dataclasses.dataclass(frozen=True)
class Tensor:
  """A tensor that has not been read yet.

  Attributes:
    shape: its shape.
    dtype: what its numbers are in the file: "float16", or another name for a kind that no weights are of.
    read: gives it as a numpy array, in the file's dtype; float64 as float32, which networks compute in.
  """

  shape: tuple[int, ...]
  dtype: str
  read: Callable[[], np.ndarray]


@contextlib.contextmanager
def open_tensors(path: pathlib.Path, variant: str | None = None) -> Iterator[dict[str, Tensor]]:
  """The tensors of a file, or of all files of an index, by name; they can be read inside the `with` block.

  Args:
    path: *.safetensors, one of `TORCH_SUFFIXES`, or an index, *.json.
    variant: which of several state dicts in one file of torch's.

  Raises:
    ValueError: if the file is of another kind, or is damaged; by a tensor's `read` if its numbers are not finite.
  """
  with contextlib.ExitStack() as stack:
    yield _indexed(path, stack) if path.suffix == ".json" else _file(path, variant, stack)


def _file(path: pathlib.Path, variant: str | None, stack: contextlib.ExitStack):
  if path.suffix == ".safetensors":
    if variant is not None:
      raise ValueError(f"--variant={variant} has no effect: {path} holds one set of weights")
    return _safetensors(path, stack)
  if path.suffix in TORCH_SUFFIXES:
    return _torch(path, variant, stack)
  torch = ", ".join(f"*{suffix}" for suffix in TORCH_SUFFIXES)
  raise ValueError(f"{path} is no file of weights: *.safetensors, {torch}, or an index, *.json")


def _safetensors(path: pathlib.Path, stack: contextlib.ExitStack) -> dict[str, Tensor]:
  files.check_fetched(path)
  try:
    file = stack.enter_context(safetensors.safe_open(path, framework="numpy"))
  except (SafetensorError, OSError) as error:
    raise ValueError(
      f"{path} cannot be read, it is truncated or damaged: {_first_cut(path) or error}"
    ) from error
  found = {}
  for name in file.keys():  # noqa: SIM118  (no mapping)
    part = file.get_slice(name)
    dtype = _DTYPES.get(part.get_dtype(), part.get_dtype())
    found[name] = _tensor(
      path, name, part.get_shape(), dtype, lambda name=name: file.get_tensor(name)
    )
  return found


def _first_cut(path: pathlib.Path) -> str | None:
  """What is the first that is missing of a file that ends too early; None if it does not."""
  size = path.stat().st_size
  with path.open("rb") as file:
    start = 8 + int.from_bytes(file.read(8), "little")
    if start > size:
      return "it ends within its header"
    try:
      header = json.loads(file.read(start - 8))
      ends = {name: start + entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"}  # fmt: skip
      name = min((name for name in ends if ends[name] > size), key=ends.get, default=None)
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError):
      return None
  return name and f"{name} would end at byte {ends[name]}, the file does at {size}"


def _torch(path: pathlib.Path, variant: str | None, stack: contextlib.ExitStack):
  file = torch_files.TorchFile(path, stack)
  return {
    name: _tensor(path, name, view.shape, view.dtype, lambda view=view: file.read(view))
    for name, view in torch_files.state_dict(file, variant).items()
  }


def _indexed(path: pathlib.Path, stack: contextlib.ExitStack) -> dict[str, Tensor]:
  weight_map = files.read_json(path).get("weight_map")
  if not isinstance(weight_map, dict) or not all(isinstance(n, str) for n in weight_map.values()):
    raise ValueError(
      f"{path}: weight_map must name a file for every tensor; it is no index of weights"
    )
  parts = {}
  for name in sorted(set(weight_map.values())):
    part = path.parent / name
    if pathlib.PurePath(name).name != name or not part.is_file():
      raise ValueError(f"{path} names {name}, which is not beside it")
    parts[name] = _file(part, None, stack)
  for tensor, name in weight_map.items():
    if tensor not in parts[name]:
      raise ValueError(f"{path}: {tensor} is not in {name}")
  return {tensor: parts[name][tensor] for tensor, name in weight_map.items()}


def _tensor(path: pathlib.Path, name: str, shape, dtype: str, read) -> Tensor:
  def checked() -> np.ndarray:
    numbers = read()
    if dtype == "float64":
      with np.errstate(over="ignore"):
        numbers = numbers.astype(np.float32)
    # In blocks: the answer for all numbers at once would take memory too.
    flat = numbers.reshape(-1)
    if not all(np.isfinite(flat[i : i + _BLOCK]).all() for i in range(0, flat.size, _BLOCK)):
      raise ValueError(f"{path}: {name} holds numbers that are not finite (NaN or infinity)")
    return numbers

  return Tensor(tuple(shape), dtype, checked)
