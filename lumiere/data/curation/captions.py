"""Captions from a table, as the large collections of videos come with them: .csv, .jsonl or .parquet, a row a video.

    collection   file            caption
    WebVid       videoid         name
    OpenVid-1M   video           caption
    others       file, path, video_path, filename, video_id    caption, text, description

A row belongs to the file with that name in the folder, or else to the one file whose name is that without its folders and
suffix.
"""

import collections
import pathlib
import unicodedata
from collections.abc import Iterable, Mapping

import pandas as pd

FILE_COLUMNS = ("file", "video", "videoid", "path", "video_path", "filename", "video_id")
CAPTION_COLUMNS = ("caption", "text", "name", "description")


def read(path: pathlib.Path, names: Iterable[str]) -> tuple[dict[str, str], int]:
  """(captions by the names of files, the number of rows without such a file).

  Args:
    path: of the table.
    names: of the files in the folder.

  Raises:
    ValueError: if it cannot be read, or has no column that is known.
  """
  table = _table(path)
  file, caption = (_column(path, table, known) for known in (FILE_COLUMNS, CAPTION_COLUMNS))
  find, found, missing = _finder(names), {}, 0
  for row in table[[file, caption]].itertuples(index=False):
    if not isinstance(row[1], str):
      if pd.api.types.is_list_like(row[1]):
        raise ValueError(
          f"--captions={path}: column {caption!r} holds lists; one caption a file is needed"
        )
      continue  # there is none
    name = find(str(row[0]))
    missing += name is None
    if name is not None and (text := " ".join(row[1].split())):
      found.setdefault(name, unicodedata.normalize("NFC", text))
  return found, missing


def _table(path: pathlib.Path) -> pd.DataFrame:
  readers: Mapping = {
    ".csv": lambda: pd.read_csv(path, dtype=str, keep_default_na=False),
    ".jsonl": lambda: pd.read_json(path, lines=True, dtype=False),
    ".parquet": lambda: pd.read_parquet(path),
  }
  if path.suffix not in readers:
    raise ValueError(f"--captions={path} must be a {', '.join(readers)} file")
  try:
    return readers[path.suffix]()
  except FileNotFoundError:
    raise ValueError(f"--captions={path} does not exist") from None
  except (ValueError, OSError) as error:
    raise ValueError(f"--captions={path} cannot be read: {' '.join(str(error).split())}") from error


def _column(path: pathlib.Path, table: pd.DataFrame, known: tuple[str, ...]) -> str:
  for name in known:
    for column in table.columns:
      if str(column).lower() == name:
        return column
  raise ValueError(
    f"--captions={path} has no column {', '.join(known)}; it has {', '.join(map(str, table.columns))}"
  )


def _finder(names: Iterable[str]):
  """text -> the name of the file that is meant, or None."""
  form = lambda text: unicodedata.normalize("NFC", text.replace("\\", "/"))
  by_name, by_stem = {form(name): name for name in names}, collections.defaultdict(list)
  for name in by_name:
    by_stem[pathlib.PurePosixPath(name).stem].append(by_name[name])

  def find(text: str) -> str | None:
    text = form(text)
    if text in by_name:
      return by_name[text]
    path = pathlib.PurePosixPath(text)
    stems = by_stem.get(path.stem) or by_stem.get(path.name) or []
    return stems[0] if len(stems) == 1 else None

  return find
