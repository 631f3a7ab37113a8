"""What lies in a folder, at any depth, links to other folders and archives included."""

import os
import pathlib
from collections.abc import Iterator
from typing import NamedTuple

from lumiere.data import archives

VIDEOS = tuple(
  ".mp4 .m4v .mov .mkv .webm .avi .mpg .mpeg .m2v .mp2v .vob .ts .mts .m2ts .3gp .3g2 .wmv .asf .flv .f4v .ogv .mxf .y4m .gif "
  ".apng".split()
)
PICTURES = tuple(
  ".png .jpg .jpeg .webp .avif .bmp .tif .tiff".split()
)  # clips of one frame, if they do not move


class Listing(NamedTuple):
  """Names of files relative to the folder, with forward slashes, sorted; hidden files are left out.

  Attributes:
    names: all files.
    skipped: what cannot be listed, with the reason.
  """

  names: list[str]
  skipped: dict[str, str]


def list_files(folder: pathlib.Path) -> Listing:
  """All files of a folder; a folder that is reached in several ways, by links, is listed once.

  A .tar archive counts as a folder.

  Raises:
    FileNotFoundError: if there is no such folder.
  """
  if archives.is_archive(folder):
    return Listing(archives.names(folder), {})
  if not folder.is_dir():
    raise FileNotFoundError(
      f"folder={str(folder)!r} must be a folder with videos and their captions; there is none"
    )
  names, skipped, seen, links = [], {}, set(), [folder]
  while links:  # links come last: a folder that lies here itself is listed under its own name
    names += _walk(folder, links.pop(0), seen, links, skipped)
  return Listing(sorted(names), skipped)


def is_media(name: str) -> bool:
  """Whether a file's name ends like a video's or a picture's, in whatever case."""
  return pathlib.PurePosixPath(name).suffix.lower() in VIDEOS + PICTURES


def _walk(root, folder, seen, links, skipped) -> Iterator[str]:
  """Names of the files below `folder`; appends to `links` the links to folders."""
  status = folder.stat()
  if (status.st_dev, status.st_ino) in seen:
    return
  seen.add((status.st_dev, status.st_ino))
  try:
    entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
  except OSError as error:
    skipped[folder.relative_to(root).as_posix()] = f"cannot be listed: {error.strerror.lower()}"
    return
  for entry in entries:
    path = folder / entry.name
    if entry.name.startswith("."):
      continue
    try:
      str(path.relative_to(root)).encode()
    except UnicodeEncodeError:
      shown = os.fsencode(path.relative_to(root)).decode(errors="backslashreplace")
      skipped[shown] = "its name is not UTF-8"
      continue
    if entry.is_dir() and entry.is_symlink():
      links.append(path)
    elif entry.is_dir():
      yield from _walk(root, path, seen, links, skipped)
    elif archives.is_archive(path):
      name = path.relative_to(root).as_posix()
      try:
        yield from (f"{name}/{file}" for file in archives.names(path))
      except OSError as error:
        skipped[name] = f"cannot be read: {error}"
    elif entry.is_file() or entry.is_symlink():
      yield path.relative_to(root).as_posix()
