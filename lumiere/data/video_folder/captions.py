"""Captions of the videos in a folder: `captions.csv`, `captions.jsonl`, or a text file beside each video.

    captions.csv       header file,caption; one row a video
    captions.jsonl     {"file": ..., "caption": ...}, one line a video
    NAME.txt           the caption of NAME.mp4, NAME.webm or NAME.gif

Files are named relative to the folder, with forward slashes. A video that several of them mention takes the first.
"""

import csv
import json
import pathlib
from collections.abc import Iterator

CSV, JSONL = "captions.csv", "captions.jsonl"


def caption_files(folder: pathlib.Path, videos: list[str]) -> list[str]:
  """Names of the files in `folder` that captions of `videos` are read from."""
  sidecars = sorted({_sidecar(video) for video in videos})
  return [name for name in (CSV, JSONL, *sidecars) if (folder / name).is_file()]


def read_captions(folder: pathlib.Path, videos: list[str]) -> dict[str, str]:
  """Captions by file name; those in lists may name files that do not exist, empty ones are left out.

  Raises:
    ValueError: if a list cannot be read as such; names the file, the line and what is expected.
  """
  captions = {}
  for name in caption_files(folder, videos):
    if name == CSV:
      found = _read_csv(folder / name)
    elif name == JSONL:
      found = _read_jsonl(folder / name)
    else:
      found = ((video, _read_text(folder / name)) for video in videos if _sidecar(video) == name)
    for video, caption in found:
      video, caption = pathlib.PurePosixPath(video).as_posix(), " ".join(caption.split())
      if caption:
        captions.setdefault(video, caption)
  return captions


def _sidecar(video: str) -> str:
  return pathlib.PurePosixPath(video).with_suffix(".txt").as_posix()


def _read_csv(path: pathlib.Path) -> Iterator[tuple[str, str]]:
  # Spreadsheets put a byte order mark in front; the standard library's "utf-8-sig" takes it away.
  with path.open(newline="", encoding="utf-8-sig") as file:
    try:
      rows = csv.DictReader(file, strict=True)
      if not {"file", "caption"} <= set(rows.fieldnames or ()):
        raise ValueError(f"{path}: columns {rows.fieldnames} must include 'file' and 'caption'")
      for row in rows:
        if row["file"] is None or row["caption"] is None or None in row:
          raise ValueError(
            f"{path}, line {rows.line_num}: must have {len(rows.fieldnames)} columns; quote commas"
          )
        yield row["file"], row["caption"]
    except (csv.Error, UnicodeDecodeError) as error:
      raise ValueError(f"{path}: must be comma-separated UTF-8 text ({error})") from error


def _read_jsonl(path: pathlib.Path) -> Iterator[tuple[str, str]]:
  for number, line in enumerate(_read_text(path).splitlines(), start=1):
    if not line.strip():
      continue
    try:
      entry = json.loads(line)
      file, caption = entry["file"], entry["caption"]
    except (json.JSONDecodeError, KeyError, TypeError) as error:
      raise ValueError(f'{path}, line {number}: must be {{"file": ..., "caption": ...}}') from error
    if not (isinstance(file, str) and isinstance(caption, str)):
      raise ValueError(f"{path}, line {number}: 'file' and 'caption' must be texts")
    yield file, caption


def _read_text(path: pathlib.Path) -> str:
  try:
    return path.read_text(encoding="utf-8-sig")
  except UnicodeDecodeError as error:
    raise ValueError(f"{path}: must be UTF-8 text ({error})") from error
