"""The videos in a folder and their captions: `captions.csv`, `captions.jsonl`, or a text file beside each video.

    captions.csv       header file,caption; one row a video
    captions.jsonl     {"file": ..., "caption": ...}, one line a video
    NAME.txt           the caption of NAME.mp4, or of NAME with another suffix

Lists name files relative to the folder or by their absolute paths, with slashes of either kind; a name is the same in every
Unicode form. Any file that has a caption is taken for a video, whatever its suffix. Of several captions of a video the first
one is taken. Texts are UTF-8, with or without a byte order mark, and their lines end at newlines only.
"""

import collections
import csv
import functools
import io
import json
import os
import pathlib
import stat
import unicodedata
from collections.abc import Iterator
from typing import NamedTuple

from lumiere.data import archives
from lumiere.data.video_folder.files import is_media, list_files

CSV, JSONL = "captions.csv", "captions.jsonl"


class Found(NamedTuple):
  """The videos of a folder, and where their captions are.

  Attributes:
    videos: names, sorted: relative to the folder and with forward slashes, or absolute for files that lie elsewhere.
    listed: captions from lists, by name.
    beside: name of the text beside a video, by the name of the video.
    texts: names of the files that captions are read from, sorted.
    skipped: captions without a video and folders that cannot be read, each with the reason.
  """

  videos: list[str]
  listed: dict[str, str]
  beside: dict[str, str]
  texts: list[str]
  skipped: dict[str, str]


def find_videos(folder: pathlib.Path) -> Found:
  """Finds videos and captions in `folder` and below it.

  Raises:
    FileNotFoundError: if there is no such folder.
    ValueError: if a list cannot be read as such; names the file, the line and what is expected.
  """
  names, skipped = list_files(folder)
  videos, listed = {name for name in names if is_media(name)}, {}
  lists = [name for name in (CSV, JSONL) if name in names]
  find = _Finder(folder, names)
  for name in lists:
    for file, caption in (_read_csv if name == CSV else _read_jsonl)(folder / name):
      video = find(file)
      if video is None:
        skipped[file] = _why_missing(folder / file)
        continue
      videos.add(video)
      if caption := _one_line(caption):
        listed.setdefault(video, caption)

  beside, by_stem = {}, collections.defaultdict(list)
  for name in sorted({*names, *videos}):
    by_stem[_stem(name)].append(name)
  texts = [name for name in names if pathlib.PurePosixPath(name).suffix.lower() == ".txt"]
  for text in texts:
    others = [name for name in by_stem[_stem(text)] if name not in texts and name not in lists]
    described = [name for name in others if name in videos] or others
    if not described:
      skipped[text] = "no video beside it: there is only a text"
    videos.update(described)
    beside |= {video: text for video in described}
  used = sorted({*lists, *beside.values()})
  return Found(sorted(videos), listed, beside, used, skipped)


def read_captions(folder: pathlib.Path, found: Found) -> dict[str, str]:
  """Captions by the names of the videos; those in lists come first, blank ones are left out.

  Raises:
    ValueError: if a text is not UTF-8; names the file.
  """
  captions = dict(found.listed)
  for video, text in found.beside.items():
    if video not in captions and (caption := _one_line(_read_text(folder / text))):
      captions[video] = caption
  return captions


class _Finder:
  """The name of a video that a list means."""

  def __init__(self, folder: pathlib.Path, names: list[str]):
    self._folder, self._names = folder, names
    self._by_form = {_form(name): name for name in names}

  @functools.cached_property
  def _by_place(self) -> dict[str, str]:
    return {os.path.realpath(self._folder / name): name for name in self._names}

  def __call__(self, file: str) -> str | None:
    """The name; None if there is no such file."""
    root = f"{_form(str(self._folder))}/"
    spellings = (file, file.replace("\\", "/"))
    for spelling in spellings:
      if name := self._by_form.get(_form(os.path.normpath(spelling)).removeprefix(root)):
        return name
    for spelling in spellings:
      path = os.path.normpath(self._folder / spelling)
      if os.path.isfile(path):
        return self._by_place.get(os.path.realpath(path), path)
    return None


def _why_missing(path: pathlib.Path) -> str:
  try:
    folder = stat.S_ISDIR(os.stat(path).st_mode)
    return "it is a folder" if folder else "it is not a regular file"
  except (FileNotFoundError, NotADirectoryError, ValueError):
    return "no such file: there is only its caption"
  except OSError as error:
    return f"cannot be read: {error.strerror.lower()}"


def _form(name: str) -> str:
  return unicodedata.normalize("NFC", name)


def _stem(name: str) -> str:
  return _form(pathlib.PurePosixPath(name).with_suffix("").as_posix())


def _one_line(caption: str) -> str:
  return " ".join(caption.split())


def _read_csv(path: pathlib.Path) -> Iterator[tuple[str, str]]:
  try:
    rows = csv.DictReader(io.StringIO(_read_text(path), newline=""), strict=True)
    if not {"file", "caption"} <= set(rows.fieldnames or ()):
      raise ValueError(f"{path}: columns {rows.fieldnames} must include 'file' and 'caption'")
    for row in rows:
      if row["file"] is None or row["caption"] is None or None in row:
        raise ValueError(
          f"{path}, line {rows.line_num}: must have {len(rows.fieldnames)} columns; quote commas"
        )
      yield row["file"], row["caption"]
  except csv.Error as error:
    raise ValueError(f"{path}: must be comma-separated text ({error})") from error


def _read_jsonl(path: pathlib.Path) -> Iterator[tuple[str, str]]:
  for number, line in enumerate(_read_text(path).split("\n"), start=1):
    if not line.strip():
      continue
    try:
      entry = json.loads(line)
      file, caption = entry["file"], entry["caption"]
      f"{file}{caption}".encode()  # an escape may stand for half a character
    except (ValueError, KeyError, TypeError, RecursionError) as error:
      raise ValueError(f'{path}, line {number}: must be {{"file": ..., "caption": ...}}') from error
    if not (isinstance(file, str) and isinstance(caption, str)):
      raise ValueError(f"{path}, line {number}: 'file' and 'caption' must be texts")
    yield file, caption


def _read_text(path: pathlib.Path) -> str:
  of = archives.member(path)
  try:
    with path.open("rb") if of is None else archives.open_member(of) as file:
      # Files that were joined have byte order marks within.
      return file.read().decode("utf-8").replace("\ufeff", "")
  except UnicodeDecodeError as error:
    raise ValueError(f"{path}: must be UTF-8 text ({error})") from error
