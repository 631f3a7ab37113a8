"""Files that others wrote, read with errors that name them; folders that are written whole or not at all."""

import contextlib
import json
import pathlib
import shutil
from collections.abc import Iterator
from typing import Any

from etils import epath

# The first line of a pointer: https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md
_POINTER = b"version https://git-lfs.github.com/spec/"


@contextlib.contextmanager
def about(path: epath.PathLike, *also: type[Exception], what: str = "") -> Iterator[None]:
  """Puts `path` and `what` before the message of a ValueError, or of an error of the classes in `also`."""
  try:
    yield
  except (ValueError, *also) as error:
    reason = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, KeyError):
      reason = f"{reason} is missing"
    raise ValueError(f"{path}: {what}{reason}") from error


def check_fetched(path: epath.PathLike):
  """Raises ValueError if what lies at `path` stands for a file that was never downloaded."""
  with epath.Path(path).open("rb") as file:
    start = file.read(200)
  if start.startswith(_POINTER):
    raise ValueError(
      f"{path} is a Git LFS pointer, not the file itself: run 'git lfs pull' in its repository, or download the file"
    )
  if start.lstrip().lower().startswith((b"<!doctype html", b"<html")):
    raise ValueError(
      f"{path} is a web page, not the file that its name says: a download that asked for a login? Download it again"
    )


def read_bytes(path: epath.PathLike) -> bytes:
  """A small file.

  Raises:
    ValueError: if it is a Git LFS pointer.
    OSError: if it cannot be read.
  """
  check_fetched(path)
  return epath.Path(path).read_bytes()


def read_json(path: epath.PathLike, infinite: bool = False) -> dict[str, Any]:
  """The object in a JSON file.

  Args:
    path: the file.
    infinite: whether numbers may be infinite or none, which JSON does not know and Python writes.

  Raises:
    ValueError: if it is no JSON, or no object.
    OSError: if it cannot be read.
  """

  def refuse(name: str):
    raise ValueError(f"{name} is no number of JSON")

  content = read_bytes(path)
  with about(path, RecursionError, what="it is damaged or no JSON: "):
    content = json.loads(content, parse_constant=float if infinite else refuse)
  with about(path):
    if not isinstance(content, dict):
      raise ValueError(f"an object, {{...}}, is expected, not {_KINDS[type(content)]}")
  return content


_KINDS = {
  list: "a list",
  str: "a text",
  int: "a number",
  float: "a number",
  bool: "true or false",
  type(None): "null",
}


@contextlib.contextmanager
def whole_folder(out: pathlib.Path) -> Iterator[pathlib.Path]:
  """A folder to write into, `OUT.partial`, which becomes `out` at the end of the `with` block, or goes if that fails.

  One that a killed process has left is replaced.

  Raises:
    ValueError: if `out` is there.
  """
  if out.exists():
    raise ValueError(f"{out} exists already: nothing is overwritten")
  partial = out.with_name(f"{out.name}.partial")
  made = [folder for folder in out.parents if not folder.exists()]
  if partial.exists():
    shutil.rmtree(partial)
  partial.mkdir(parents=True)
  try:
    yield partial
    partial.rename(out)
  except BaseException:
    shutil.rmtree(partial, ignore_errors=True)
    with contextlib.suppress(OSError):  # others may have written there
      for folder in made:
        folder.rmdir()
    raise
