"""Tables of captions as collections have them, and what is wrong with others."""

import json

import pandas as pd
import pytest

from lumiere.data.curation import captions

NAMES = ("001/1066.mp4", "a/clip one.mp4", "b/clip one.mp4", "celebv_xyz.mp4", "caf\u00e9.webm")


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_webvid_and_openvid_and_ours(tmp_path, suffix):
  def written(**columns):
    path, table = tmp_path / f"table{suffix}", pd.DataFrame(columns)
    if suffix == ".csv":
      table.to_csv(path, index=False)
    elif suffix == ".jsonl":
      path.write_text("".join(json.dumps(row) + "\n" for row in table.to_dict("records")))
    else:
      table.to_parquet(path)
    return path

  path = written(
    videoid=["1066", "77"],
    contentUrl=["https://x"] * 2,
    name=["Waves  at\nnight", "no file"],
    page_dir=["001", "9"],
  )
  assert captions.read(path, NAMES) == ({"001/1066.mp4": "Waves at night"}, 1)
  path = written(video=["celebv_xyz.mp4", "clip one.mp4"], caption=["a face", "which of the two?"])
  assert captions.read(path, NAMES) == ({"celebv_xyz.mp4": "a face"}, 1)
  path = written(
    path=["b\\clip one.mp4", "cafe\u0301.webm", "celebv_xyz"], text=["two", "a bar", " "]
  )
  assert captions.read(path, NAMES) == ({"b/clip one.mp4": "two", "caf\u00e9.webm": "a bar"}, 0)


def test_a_number_that_looks_like_one_is_a_name(tmp_path):
  (tmp_path / "t.csv").write_text("videoid,name\n0012,kept as it is\n")
  assert captions.read(tmp_path / "t.csv", ["0012.mp4"])[0] == {"0012.mp4": "kept as it is"}


def test_what_is_no_table_of_captions_is_refused(tmp_path):
  for name, content, message in (
    ("t.csv", "a,b\n1,2\n", "has no column file, video, .*; it has a, b"),
    ("t.csv", "file,b\n1,2\n", "has no column caption, text"),
    ("t.jsonl", "{", "cannot be read"),
    ("t.parquet", "x", "cannot be read"),
    ("t.txt", "x", "must be a .csv, .jsonl, .parquet file"),
    ("t.jsonl", '{"videoID": "1066", "caption": ["a", "b"]}\n', "column 'caption' holds lists"),
  ):
    (tmp_path / name).write_text(content)
    with pytest.raises(ValueError, match=message):
      captions.read(tmp_path / name, NAMES)
  with pytest.raises(ValueError, match="does not exist"):
    captions.read(tmp_path / "none.csv", NAMES)
