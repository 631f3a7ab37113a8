"""Named tensors on disk, read one at a time: safetensors (one file or several with an index) and torch's state dicts.

Nothing here runs code that a file brings: torch's files are opened with `weights_only`.
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

INDEX_SUFFIX = ".safetensors.index.json"
TORCH_SUFFIXES = (".pt", ".pth", ".bin", ".ckpt")


@dataclasses.dataclass(frozen=True)
class Tensor:
  """A tensor that has not been read yet.

  Attributes:
    shape: its shape.
    read: gives it as a numpy array, in the file's dtype.
  """

  shape: tuple[int, ...]
  read: Callable[[], np.ndarray]


@contextlib.contextmanager
def open_tensors(path: pathlib.Path) -> Iterator[dict[str, Tensor]]:
  """The tensors of a file, by name; they can be read inside the `with` block.

  Raises:
    ValueError: if the file is none of the kinds that the head of this file names, or is damaged.
  """
  with contextlib.ExitStack() as stack:
    if path.name.endswith(INDEX_SUFFIX):
      yield _indexed(path, stack)
    elif path.suffix == ".safetensors":
      yield _safetensors(path, stack)
    elif path.suffix in TORCH_SUFFIXES:
      yield _torch(path)
    else:
      raise ValueError(
        f"{path} is no file of weights: *.safetensors, *{INDEX_SUFFIX} or {', '.join(f'*{s}' for s in TORCH_SUFFIXES)}"
      )


def find_weights(folder: pathlib.Path) -> pathlib.Path:
  """The file of weights in a folder as diffusers and transformers write it; several files count as their index.

  Raises:
    ValueError: if there is none, or more than one candidate.
  """
  for pattern in (f"*{INDEX_SUFFIX}", "*.safetensors", "*.bin"):
    # "model.fp16.safetensors" beside "model.safetensors" is the same weights, rounded.
    found = [p for p in sorted(folder.glob(pattern)) if ".fp16." not in p.name] or sorted(
      folder.glob(pattern)
    )
    if len(found) == 1:
      return found[0]
    if found:
      raise ValueError(
        f"{folder} has several files of weights ({', '.join(p.name for p in found)}): name one"
      )
  raise ValueError(f"{folder} has no weights: *.safetensors, *{INDEX_SUFFIX} or *.bin")


def _safetensors(path: pathlib.Path, stack: contextlib.ExitStack) -> dict[str, Tensor]:
  try:
    file = stack.enter_context(safetensors.safe_open(path, framework="numpy"))
  except (SafetensorError, OSError) as error:
    raise ValueError(
      f"{path} cannot be read, it is truncated or damaged: {_first_cut(path) or error}"
    ) from error
  return {
    name: Tensor(
      tuple(file.get_slice(name).get_shape()), lambda file=file, name=name: file.get_tensor(name)
    )
    for name in file.keys()  # noqa: SIM118  (no mapping)
  }


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
    except (ValueError, TypeError, KeyError, AttributeError):
      return None
  name = min((name for name in ends if ends[name] > size), key=ends.get, default=None)
  return name and f"{name} would end at byte {ends[name]}, the file does at {size}"


def _indexed(path: pathlib.Path, stack: contextlib.ExitStack) -> dict[str, Tensor]:
  weight_map = json.loads(path.read_text())["weight_map"]
  files = {}
  for name in sorted(set(weight_map.values())):
    part = path.parent / name
    if part.parent.resolve() != path.parent.resolve() or not part.is_file():
      raise ValueError(f"{path} names {name}, which is not beside it")
    files[name] = _safetensors(part, stack)
  missing = [tensor for tensor, name in weight_map.items() if tensor not in files[name]]
  if missing:
    raise ValueError(f"{path}: {missing[0]} is not in {weight_map[missing[0]]}")
  return {tensor: files[name][tensor] for tensor, name in weight_map.items()}


def _torch(path: pathlib.Path) -> dict[str, Tensor]:
  try:
    import torch
  except ImportError as error:
    raise ValueError(
      f"{path} needs PyTorch to be read: pip install torch, or convert it to safetensors"
    ) from error
  try:
    state = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
  except Exception as error:  # torch raises many kinds
    reason = str(error).strip().splitlines()
    raise ValueError(
      f"{path} cannot be read as plain weights: {reason[0] if reason else type(error).__name__}"
    ) from error
  for name in ("state_dict", "model"):  # trainers wrap it
    if isinstance(state.get(name), dict):
      state = state[name]

  def read(tensor):
    if tensor.dtype == torch.bfloat16:
      return tensor.view(torch.uint16).numpy().view("bfloat16")
    return tensor.numpy()

  return {
    name: Tensor(tuple(tensor.shape), lambda tensor=tensor: read(tensor))
    for name, tensor in state.items()
    if isinstance(tensor, torch.Tensor)
  }
