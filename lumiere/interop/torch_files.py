"""Files of torch.save, read without torch: nothing that a file brings is imported or run.

A file is a zip archive (torch 1.6 and later), its entries not compressed:

    NAME/data.pkl       a pickle: what was saved, with a call of a `torch._utils._rebuild_*` function for every tensor
    NAME/data/KEY       the bytes of a storage, into which tensors are views
    NAME/byteorder      "little" or "big"; not in old files

The archive has a checksum of every entry, unless torch was told to leave them out: then all are 0.

A pickle can name any function to be called. Here a name is looked up in `_KNOWN`, whose functions only take notes; any
other name becomes a `Foreign` object, which does nothing. Bytes of tensors are read one storage at a time, and compared
with the archive's checksums.
"""

import collections
import contextlib
import dataclasses
import io
import math
import pathlib
import pickle
import struct
import zipfile
import zlib
from collections.abc import Mapping
from typing import Any

import ml_dtypes  # noqa: F401  (makes bfloat16 known to numpy)
import numpy as np

from lumiere import files

CHUNK = 2**24
_LEGACY = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
_REWRITE = (
  "import torch; f = {path!r}; torch.save(torch.load(f, map_location='cpu', weights_only=True), f)"
)
_STORAGES = {
  "Float": "float32", "Half": "float16", "BFloat16": "bfloat16", "Double": "float64", "Long": "int64", "Int": "int32",
  "Short": "int16", "Char": "int8", "Byte": "uint8", "Bool": "bool", "ComplexFloat": "complex64",
  "ComplexDouble": "complex128",
}  # fmt: skip
_FOREIGN_TENSORS = {
  "torch._utils._rebuild_sparse_tensor": "a sparse tensor; store tensor.to_dense()",
  "torch._utils._rebuild_qtensor": "a quantised tensor; store tensor.dequantize()",
  "torch._utils._rebuild_meta_tensor_no_storage": "a tensor of the device 'meta', which has no numbers",
}


@dataclasses.dataclass(frozen=True)
class _Storage:
  """Where the numbers of tensors lie: `size` of them, in entry `data/KEY`."""

  dtype: str
  key: str
  size: int


@dataclasses.dataclass(frozen=True)
class View:
  """A tensor: number [i, j, ...] is the storage's number offset + i * strides[0] + j * strides[1] + ..."""

  storage: _Storage
  offset: int
  shape: tuple[int, ...]
  strides: tuple[int, ...]
  dtype: str

  def __post_init__(self):
    numbers = (self.offset, self.storage.size, *self.shape, *self.strides)
    if not all(type(n) is int and n >= 0 for n in numbers) or len(self.shape) != len(self.strides):
      raise ValueError(f"shape {self.shape} and strides {self.strides} are no tensor's")

  def is_inside(self) -> bool:
    """Whether all of it lies in its storage."""
    last = self.offset + sum((n - 1) * s for n, s in zip(self.shape, self.strides, strict=True))
    return 0 in self.shape or last < self.storage.size


class Foreign:
  """An object of a class that is not known here. Whatever a pickle does to it is ignored."""

  kind = ""

  def __init__(self, *args, **kwargs):
    pass

  def ignore(self, *args):
    """Takes anything."""

  __setstate__ = __setitem__ = append = extend = add = ignore


def _view(storage, offset, shape, strides, *_) -> View:
  return View(storage, offset, tuple(shape), tuple(strides), storage.dtype)


def _view_of_bytes(storage, offset, shape, strides, grad, hooks, dtype, *_) -> View:
  # dtypes that have no storages of their own: floats of 8 bits and others that no network of ours has
  return View(storage, offset, tuple(shape), tuple(strides), dtype.kind.removeprefix("torch."))


_KNOWN = {
  "collections.OrderedDict": collections.OrderedDict,
  "torch.Size": tuple,
  "torch._utils._rebuild_tensor": _view,
  "torch._utils._rebuild_tensor_v2": _view,
  "torch._utils._rebuild_tensor_v3": _view_of_bytes,
  "torch._utils._rebuild_parameter": lambda data, *_: data,
  "torch._utils._rebuild_parameter_with_state": lambda data, *_: data,
  "torch._tensor._rebuild_from_type_v2": lambda make, kind, args, state: make(*args),
  "torch.storage.UntypedStorage": "uint8",
  **{f"torch.{name}Storage": dtype for name, dtype in _STORAGES.items()},
}


# The one in Python: the one in C makes room for any number of objects that a damaged pickle announces.
class _Unpickler(pickle._Unpickler):
  def find_class(self, module: str, name: str):
    name = f"{module}.{name}"
    return _KNOWN[name] if name in _KNOWN else type("Foreign", (Foreign,), {"kind": name})

  def persistent_load(self, pid):
    _, dtype, key, _, size = pid
    dtype = dtype if isinstance(dtype, str) else dtype.kind
    return _Storage(dtype, str(key), size)


class TorchFile:
  """An open file of torch.save.

  Attributes:
    path: where it is.
    content: what was saved: tensors are `View`s, objects of unknown classes are `Foreign`.
  """

  def __init__(self, path: pathlib.Path, stack: contextlib.ExitStack):
    """Opens it until `stack` is left.

    Raises:
      ValueError: if it is of another kind, or is damaged.
    """
    self.path = path
    files.check_fetched(path)
    if not zipfile.is_zipfile(path):
      raise ValueError(f"{path} {_other_kind(path)}")
    with self._readable():
      self._archive = stack.enter_context(zipfile.ZipFile(path))
      entries = self._archive.infolist()
      if not any(entry.CRC for entry in entries):
        for entry in entries:
          entry.CRC = None  # not compared then
      names = [entry.filename for entry in entries]
      root = next((n.removesuffix("data.pkl") for n in names if n.endswith("data.pkl")), None)
      pickled = b"" if root is None else self._archive.read(f"{root}data.pkl")
      order = f"{root}byteorder"
      order = self._archive.read(order) if order in names else b"little"
    if root is None:
      raise ValueError(f"{path} is a zip archive, but none that torch.save writes")
    if f"{root}constants.pkl" in names:
      raise ValueError(
        f"{path} is a TorchScript program; a state dict saved with torch.save is needed"
      )
    if order != b"little":
      raise ValueError(f"{path} was written on a big-endian machine; little-endian files are read")
    self._root = root
    try:
      self.content = _Unpickler(io.BytesIO(pickled)).load()
    except Exception as error:  # a damaged pickle raises any
      raise ValueError(f"{path} cannot be read, its pickle is damaged: {error!r}") from error

  def check(self, view: View):
    """Raises ValueError unless the bytes that a tensor is made of are in the file."""
    entry = self._archive.NameToInfo.get(f"{self._root}data/{view.storage.key}")
    size = view.storage.size * np.dtype(view.storage.dtype).itemsize
    if not view.is_inside() or entry is None or entry.file_size != size:
      raise ValueError("its bytes are not in the file, which is damaged")

  def read(self, view: View) -> np.ndarray:
    """The numbers of a tensor that `check` has passed, in the file's dtype.

    Raises:
      ValueError: if its bytes are not those that were written.
    """
    entry = self._archive.getinfo(f"{self._root}data/{view.storage.key}")
    numbers = np.empty(view.storage.size, view.dtype)
    rest = memoryview(numbers.view(np.uint8))
    with self._readable(), self._archive.open(entry) as file:
      while rest:
        count = file.readinto(rest[:CHUNK])
        if not count:
          raise ValueError(f"{entry.filename} ends too early")
        rest = rest[count:]
    strides = [stride * numbers.itemsize for stride in view.strides]
    return np.lib.stride_tricks.as_strided(
      numbers[view.offset :], view.shape, strides, writeable=False
    )

  @contextlib.contextmanager
  def _readable(self):
    with files.about(self.path, *_DAMAGE, what="it is damaged: "):
      yield


# What zipfile raises for archives that are damaged, encrypted or compressed in ways that it lacks.
_DAMAGE = (
  zipfile.BadZipFile, EOFError, OSError, OverflowError, RuntimeError, struct.error, zlib.error,
)  # fmt: skip


def _other_kind(path: pathlib.Path) -> str:
  """What a file that is no zip archive seems to be."""
  with path.open("rb") as file:
    start = file.read(len(_LEGACY))
  if start == _LEGACY:
    return (
      "is in the format of torch before 1.6; on a machine with torch, write it anew:"
      f' python -c "{_REWRITE.format(path=str(path))}"'
    )
  if start.startswith(b"PK\x03\x04"):
    return "is truncated or damaged: the end of the zip archive is not there"
  if start.startswith(b"\x80"):
    return "is a plain pickle, which is not opened; a state dict saved with torch.save is needed"
  return "is no file of torch.save: no zip archive"


def state_dict(file: TorchFile, name: str | None = None) -> Mapping[str, View]:
  """The tensors of a file, by name, wherever in nested dicts they are.

  Args:
    file: what was saved: a state dict, or a training's dict with one or several in it ("state_dict", "model", "ema").
    name: which of several; nested names are joined by "/".

  Raises:
    ValueError: if there is none, if there are several and `name` does not say which, or if one of its tensors is of a
      kind that is not read.
  """
  found = dict(_state_dicts(file.content))
  if not found:
    raise ValueError(
      f"{file.path} holds {_describe(file.content)}; a state dict is needed: the names of tensors and the tensors"
    )
  if name is None and len(found) > 1:
    raise ValueError(
      f"{file.path} holds several state dicts, {', '.join(found)}: --variant chooses one of a bare file; in a folder, "
      "save the one that is meant alone"
    )
  if name is not None and name not in found:
    raise ValueError(
      f"--variant={name} is not in {file.path}, which holds "
      + (", ".join(found) if "" not in found else "one state dict and no variants")
    )
  chosen = next(iter(found.values())) if name is None else found[name]
  views = {}
  for key, value in chosen.items():
    if isinstance(value, Foreign) and value.kind.startswith("torch."):
      raise ValueError(f"{file.path}: {key} is {_describe(value)}")
    if isinstance(value, View) and isinstance(key, str):
      with files.about(file.path), files.about(key, TypeError):
        file.check(value)
      views[key] = value
  return views


def _state_dicts(content: Any, depth: int = 0, name: str = ""):
  """(name, dict) of every dict that holds tensors; what is inside of one is not looked into."""
  if not isinstance(content, Mapping):
    return
  items = [(key, value) for key, value in content.items() if isinstance(key, str)]
  if any(_is_tensor(value) for _, value in items):
    yield name, content
  elif depth < 2:
    for key, value in items:
      yield from _state_dicts(value, depth + 1, f"{name}/{key}".removeprefix("/"))


def _is_tensor(value: Any) -> bool:
  """Whether it is one that a network may have: single numbers are counters beside state dicts."""
  if isinstance(value, View):
    return math.prod(value.shape) > 1
  return isinstance(value, Foreign) and value.kind in _FOREIGN_TENSORS


def _describe(content: Any) -> str:
  if isinstance(content, View):
    return "a bare tensor"
  if isinstance(content, Foreign):
    return _FOREIGN_TENSORS.get(content.kind, f"an object of the class {content.kind}")
  if isinstance(content, Mapping):
    return f"a dict without tensors ({', '.join(map(str, list(content)[:5])) or 'empty'})"
  return "nothing" if content is None else f"an object of the type {type(content).__name__}"
