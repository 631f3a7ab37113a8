"""The two tables of a curation, as Parquet: `sources`, a row a file, and `clips`, a row a clip and a column a score.

Any tool may add columns; rules may use them by their names.
"""

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

SOURCES = pa.schema(
  [
    ("source", pa.string()),
    ("problem", pa.string()),
    ("container", pa.string()),
    ("codec", pa.string()),
    ("bytes", pa.int64()),
    ("audio", pa.bool_()),
    ("fps", pa.float64()),
    ("duration", pa.float64()),
    ("frames", pa.int64()),
    ("height", pa.int64()),
    ("width", pa.int64()),
    ("shots", pa.int64()),
    ("clips", pa.int64()),
  ]
)
CLIPS = pa.schema(
  [
    ("source", pa.string()),
    ("clip", pa.int64()),
    ("start", pa.float64()),
    ("duration", pa.float64()),
    ("height", pa.int64()),
    ("width", pa.int64()),
    ("side", pa.int64()),
    *((name, pa.float64()) for name in ("top", "bottom", "left", "right")),
    *((name, pa.float64()) for name in ("motion", "local_motion", "blur", "brightness")),
    *((name, pa.float64()) for name in ("contrast", "text", "overlay")),
    ("hashes", pa.list_(pa.uint64(), 3)),
  ]
)
# Columns that `decide` adds.
DECIDED = ("caption", "reason", "group", "split")


def write(
  path: pathlib.Path, rows: Sequence[Mapping[str, Any]] | pa.Table, schema: pa.Schema | None = None
):
  """Writes a table whole or not at all."""
  table = rows if isinstance(rows, pa.Table) else pa.Table.from_pylist(list(rows), schema)
  partial = path.with_name(f"{path.name}.partial")
  pq.write_table(table, partial, compression="zstd")
  partial.rename(path)


def read(*paths: pathlib.Path) -> pa.Table:
  """One table of all files, in their order."""
  return pa.concat_tables([pq.read_table(path) for path in paths])


def from_pandas(frame: pd.DataFrame) -> pa.Table:
  """Without what pandas notes for itself."""
  return pa.Table.from_pandas(frame, preserve_index=False).replace_schema_metadata(None)
