"""Scores of one's own: a function that sees each clip, and a column of the table that has its name.

    # aesthetics.py
    def aesthetic(video, fps, caption):   # uint8 [t h w 3], 4 frames a second, shorter side 256, without black bars
      return float(...)

python -m lumiere.curate ... --score=aesthetics:aesthetic --keep='aesthetic > 5'
"""

import importlib
import itertools
import math
import numbers
import pathlib
import sys
from collections.abc import Callable

import numpy as np
import pandas as pd
import pyarrow as pa

from lumiere.data.curation import records, samples, table

SCHEMA = pa.schema([("source", pa.string()), ("clip", pa.int64()), ("score", pa.float64())])


def load(spec: str) -> tuple[str, Callable]:
  """(name of the column, function) of MODULE:FUNCTION; modules are also looked for in the current folder.

  Raises:
    ValueError: if there is no such function, or the table has a column of that name already.
  """
  module, colon, name = spec.partition(":")
  if not (module and colon and name.isidentifier()):
    raise ValueError(f"--score={spec} must be MODULE:FUNCTION, such as aesthetics:aesthetic")
  if name in (*table.CLIPS.names, *table.DECIDED):
    raise ValueError(
      f"--score={spec}: the table has a column {name!r} already, give the function another name"
    )
  if "" not in sys.path:
    sys.path.insert(0, "")
  try:
    function = getattr(importlib.import_module(module), name, None)
  except ImportError as error:
    raise ValueError(f"--score={spec}: module {module} cannot be imported: {error}") from error
  if not callable(function):
    raise ValueError(f"--score={spec}: module {module} has no function {name}")
  return name, function


def write(
  path: pathlib.Path,
  clips: pd.DataFrame,
  folder: pathlib.Path,
  spec: str,
):
  """Writes the scores of `clips`, which have a column `caption`.

  Raises:
    ValueError: names the clip of which the function gives no number.
  """
  _, function = load(spec)
  rows = []
  for source, some in itertools.groupby(clips.to_dict("records"), key=lambda row: row["source"]):
    reader = records.Reader(folder / source)
    for row in some:
      count = max(math.ceil(row["duration"] * samples.RATE), 1)
      times = row["start"] + np.arange(count) / samples.RATE
      video = np.stack(
        [records.framed(reader.at(time), row, samples.SIDE) for time in times.tolist()]
      )
      score = function(video, samples.RATE, row["caption"])
      if not isinstance(score, numbers.Real):
        raise ValueError(
          f"--score={spec} must return a number, not {score!r}, as for {source}, clip {row['clip']}"
        )
      rows.append(dict(source=source, clip=row["clip"], score=float(score)))
  table.write(path, rows, SCHEMA)
