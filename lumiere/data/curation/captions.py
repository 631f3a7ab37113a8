"""Captions from a table, as the large collections of videos come with them: .csv, .jsonl or .parquet, a row a video or a part of one.

    collection   file            caption    part of the file
    WebVid       videoid         name
    OpenVid-1M   video           caption
    Panda-70M    videoID         caption    timestamp: both are lists
    InternVid    YoutubeID       Caption    Start_timestamp, End_timestamp
    others       file, path, video_path, filename, video_id    caption, text, description    start, end

A row belongs to the file with that name in the folder, or else to the one file whose name is that without its folders and
suffix. Times are seconds, or hours, minutes and seconds as in 0:01:30.5.
"""

import ast
import collections
import math
import pathlib
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import pandas as pd

FILE_COLUMNS = tuple("file video videoid path video_path filename video_id youtubeid".split())
CAPTION_COLUMNS = ("caption", "text", "name", "description")
SPANS_COLUMNS = ("timestamp", "timestamps")
SUFFIXES = (".csv", ".jsonl", ".parquet")
START_COLUMNS, END_COLUMNS = ("start", "start_timestamp"), ("end", "end_timestamp")


class Caption(NamedTuple):
  """What is said of a file from `start` to `end`, in seconds."""

  text: str
  start: float = 0.0
  end: float = math.inf


def of_clip(captions: Sequence[Caption], start: float, duration: float) -> str:
  """The caption that is said of the most of a clip, if that is half of it or more; else an empty text."""
  share = lambda c: (min(c.end, start + duration) - max(c.start, start)) / duration
  best = max(captions, key=share, default=None)
  return best.text if best is not None and share(best) >= 0.5 else ""


def of_clips(clips: pd.DataFrame, captions: Mapping[str, Sequence[Caption]]) -> list[str]:
  """The caption of each row of the table of clips."""
  places = clips[["source", "start", "duration"]].itertuples(index=False)
  return [of_clip(captions.get(source, ()), *place) for source, *place in places]


def read(path: pathlib.Path, names: Iterable[str]) -> tuple[dict[str, list[Caption]], int]:
  """(captions by the names of files, the number of rows without such a file).

  Args:
    path: of the table.
    names: of the files in the folder.

  Raises:
    ValueError: if it cannot be read, or has no column that is known.
  """
  table = _table(path)
  file, caption = (_column(path, table, known) for known in (FILE_COLUMNS, CAPTION_COLUMNS))
  spans = [_known(table, known) for known in (SPANS_COLUMNS, START_COLUMNS, END_COLUMNS)]
  find, found, missing = _finder(names), {}, 0
  for row in table.to_dict("records"):
    name = find(str(row[file]))
    missing += name is None
    try:
      captions = list(_captions(row[caption], *(row.get(column) for column in spans)))
    except (ValueError, SyntaxError) as error:
      raise ValueError(f"{path}: the row of {row[file]}: {error}") from error
    if name is not None and captions:
      found.setdefault(name, []).extend(captions)
  return found, missing


def files_of(table: pathlib.Path) -> tuple[list[str], dict[str, str]]:
  """(names of the files that a table lists, sorted; those that are not there, with the reason).

  A name is relative to the table's folder, or absolute.

  Raises:
    ValueError: if the table cannot be read, or has no column of files.
  """
  rows = _table(table)
  listed = sorted(set(map(str, rows[_column(table, rows, FILE_COLUMNS)])))
  there = [name for name in listed if (table.parent / name).is_file()]
  return there, dict.fromkeys(
    sorted(set(listed) - set(there)), "no such file: there is only its row"
  )


def _captions(said: Any, spans: Any, start: Any, end: Any) -> Iterator[Caption]:
  """Of one row: a text for all of a file or for a part of it, or lists of texts and of their parts."""
  is_list = pd.api.types.is_list_like
  if spans is not None and isinstance(said, str) and said.startswith("["):  # in .csv files
    said, spans = ast.literal_eval(said), ast.literal_eval(str(spans))
  if not is_list(said):  # a column timestamp beside a text says something else
    parts = [(said, (0.0 if _is_blank(start) else start, math.inf if _is_blank(end) else end))]
  elif spans is None:
    raise ValueError("a list of captions needs a column timestamp, a list of [start, end]")
  elif not is_list(spans) or not all(is_list(span) and len(span) == 2 for span in spans):
    raise ValueError("the timestamp of a list of captions must be a list of [start, end]")
  elif len(said) != len(spans):
    raise ValueError(f"it has {len(said)} captions and {len(spans)} timestamps")
  else:
    parts = zip(said, spans, strict=True)
  for text, span in parts:
    if isinstance(text, str) and (text := " ".join(text.split())):
      yield Caption(unicodedata.normalize("NFC", text), *map(_seconds, span))


def _is_blank(value: Any) -> bool:
  return value is None or value == "" or value != value  # the last one is not a number


def _seconds(time: Any) -> float:
  """Of a number of seconds, or of [[hours:]minutes:]seconds."""
  total = 0.0
  for part in str(time).split(":"):
    total = 60 * total + float(part)
  return total


def _table(path: pathlib.Path) -> pd.DataFrame:
  readers = (
    lambda: pd.read_csv(path, dtype=str, keep_default_na=False),
    lambda: pd.read_json(path, lines=True, dtype=False),
    lambda: pd.read_parquet(path),
  )
  if path.suffix not in SUFFIXES:
    raise ValueError(f"{path} must be a {', '.join(SUFFIXES)} file")
  try:
    return readers[SUFFIXES.index(path.suffix)]()
  except FileNotFoundError:
    raise ValueError(f"{path} does not exist") from None
  except (ValueError, OSError) as error:
    raise ValueError(f"{path} cannot be read: {' '.join(str(error).split())}") from error


def _known(table: pd.DataFrame, known: tuple[str, ...]) -> str | None:
  """The first column that has one of the known names, in whatever case."""
  columns = {str(column).lower(): column for column in reversed(table.columns)}
  return next((columns[name] for name in known if name in columns), None)


def _column(path: pathlib.Path, table: pd.DataFrame, known: tuple[str, ...]) -> str:
  column = _known(table, known)
  if column is None:
    raise ValueError(
      f"{path} has no column {', '.join(known)}; it has {', '.join(map(str, table.columns))}"
    )
  return column


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
