"""Files inside of tar archives, as WebDataset keeps them: SHARD.tar/NAME is read where it lies, as if the archive were a folder."""

import functools
import os
import pathlib
import posixpath
import tarfile
from typing import BinaryIO, NamedTuple

SUFFIX = ".tar"


class Member(NamedTuple):
  """A file in an archive, which need not be there."""

  archive: pathlib.Path
  name: str


class _Opened(tarfile.ExFileObject):
  """A file in an archive that closes the archive with itself."""

  mode = "rb"

  def __init__(self, tar: tarfile.TarFile, entry: tarfile.TarInfo):
    super().__init__(tar, entry)
    self._tar = tar

  def close(self):
    super().close()
    self._tar.close()


def is_archive(path: str | os.PathLike) -> bool:
  """Whether a path is that of an archive."""
  return os.fspath(path).lower().endswith(SUFFIX) and os.path.isfile(path)


def member(path: str | os.PathLike) -> Member | None:
  """What a path names, if it leads into an archive; None for any other path."""
  if SUFFIX not in os.fspath(path).lower():
    return None  # the rest asks the disk
  path = pathlib.Path(path)
  archive = next((parent for parent in path.parents if is_archive(parent)), None)
  return archive and Member(archive, path.relative_to(archive).as_posix())


def names(archive: pathlib.Path) -> list[str]:
  """The files in an archive; hidden ones, and those whose names lead out of it, are left out.

  Raises:
    OSError: if it cannot be read.
  """
  hidden = lambda name: any(part.startswith(".") for part in name.split("/"))
  return sorted(name for name in _index(*_stamp(archive)) if not hidden(name))


def open_member(of: Member) -> BinaryIO:
  """Opens a file in an archive.

  Raises:
    OSError: if the archive cannot be read, or there is no such file in it.
  """
  index = _index(*_stamp(of.archive))
  if of.name not in index:
    raise FileNotFoundError(f"no {of.name} in {of.archive}")
  return _Opened(tarfile.open(of.archive, "r:"), index[of.name])


def stamp(path: pathlib.Path) -> tuple[int, int]:
  """(size in bytes, time of the last change in nanoseconds) of a file, whether it lies in an archive or not."""
  if (of := member(path)) is not None:
    found = _index(*_stamp(of.archive)).get(of.name)
    return (found.size if found else 0, _stamp(of.archive)[1])
  status = path.stat() if path.exists() else path.lstat()  # of a link to nothing
  return status.st_size, status.st_mtime_ns


def _stamp(archive: pathlib.Path) -> tuple[str, int]:
  return str(archive), os.stat(archive).st_mtime_ns


@functools.lru_cache(maxsize=64)
def _index(archive: str, _changed: int) -> dict[str, tarfile.TarInfo]:
  try:
    with tarfile.open(archive, "r:") as tar:
      return {posixpath.normpath(entry.name): entry for entry in tar if entry.isreg()}
  except tarfile.TarError as error:
    raise OSError(f"no tar archive, or a damaged one ({error})") from error
