"""Tables of captions as collections have them, and what is wrong with others."""

import json

import pandas as pd
import pytest

from lumiere.data.curation import captions

NAMES = ("001/1066.mp4", "a/clip one.mp4", "b/clip one.mp4", "celebv_xyz.mp4", "caf\u00e9.webm")


def written(path, columns):
  table = pd.DataFrame(columns)
  if path.suffix == ".csv":
    table.to_csv(path, index=False)
  elif path.suffix == ".jsonl":
    path.write_text("".join(json.dumps(row) + "\n" for row in table.to_dict("records")))
  else:
    table.to_parquet(path)
  return path


def texts(path, names=NAMES):
  found, missing = captions.read(path, names)
  return {name: [caption.text for caption in each] for name, each in found.items()}, missing


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_webvid_and_openvid_and_ours(tmp_path, suffix):
  make = lambda **columns: written(tmp_path / f"table{suffix}", columns)
  path = make(
    videoid=["1066", "77"],
    contentUrl=["https://x"] * 2,
    name=["Waves  at\nnight", "no file"],
    page_dir=["001", "9"],
  )
  assert texts(path) == ({"001/1066.mp4": ["Waves at night"]}, 1)
  path = make(video=["celebv_xyz.mp4", "clip one.mp4"], caption=["a face", "which of the two?"])
  assert texts(path) == ({"celebv_xyz.mp4": ["a face"]}, 1)
  path = make(path=["b\\clip one.mp4", "cafe\u0301.webm", "celebv_xyz"], text=["two", "a bar", " "])
  assert texts(path) == ({"b/clip one.mp4": ["two"], "caf\u00e9.webm": ["a bar"]}, 0)


def test_a_number_that_looks_like_one_is_a_name(tmp_path):
  (tmp_path / "t.csv").write_text("videoid,name\n0012,kept as it is\n")
  assert texts(tmp_path / "t.csv", ["0012.mp4"])[0] == {"0012.mp4": ["kept as it is"]}


PANDA = dict(
  videoID=["1066"],
  url=["https://x"],
  timestamp=[[["0:00:03.000", "0:00:10.500"], ["0:01:00", "0:01:30.250"]]],
  caption=[["a dog runs", "a cat sleeps"]],
  matching_score=[[0.4, 0.5]],
)
INTERNVID = dict(
  YoutubeID=["1066", "1066"],
  Start_timestamp=["00:00:03.000", "00:01:00.000"],
  End_timestamp=["00:00:10.500", "00:01:30.250"],
  Caption=["a dog runs", "a cat sleeps"],
)


@pytest.mark.parametrize("columns", [PANDA, INTERNVID])
@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_captions_of_parts_go_to_the_clips_that_lie_in_them(tmp_path, suffix, columns):
  found, missing = captions.read(written(tmp_path / f"t{suffix}", columns), NAMES)
  assert missing == 0 and found == {
    "001/1066.mp4": [
      captions.Caption("a dog runs", 3.0, 10.5),
      captions.Caption("a cat sleeps", 60.0, 90.25),
    ]
  }
  for start, text in ((3.0, "a dog runs"), (0.6, "a dog runs"), (0.4, ""), (30.0, "")):
    assert captions.of_clip(found["001/1066.mp4"], start, 5.0) == text, start
  assert captions.of_clip(found["001/1066.mp4"], 86.0, 5.0) == "a cat sleeps"


def test_blank_times_are_the_whole_file_and_other_timestamps_are_none(tmp_path):
  for name, columns in (
    ("a.csv", dict(file=["1066"], caption=["a dog"], start=[""], end=[""])),
    ("a.parquet", dict(file=["1066"], caption=["a dog"], start=[float("nan")], end=[None])),
    ("b.csv", dict(file=["1066"], caption=["a dog"], timestamp=["2024-01-01 10:00"])),
  ):
    found, _ = captions.read(written(tmp_path / name, columns), NAMES)
    assert found == {"001/1066.mp4": [captions.Caption("a dog")]}, name


def test_of_several_captions_of_a_clip_the_first_is_taken():
  both = [captions.Caption("one"), captions.Caption("two"), captions.Caption("part", 0.0, 3.0)]
  assert captions.of_clip(both, 0.0, 5.0) == "one" and captions.of_clip([], 0.0, 5.0) == ""
  clips = pd.DataFrame(dict(source=["a", "b", "a"], start=[0.0, 0, 9], duration=5.0))
  assert captions.of_clips(clips, {"a": both}) == ["one", "", "one"]


def test_what_is_no_table_of_captions_is_refused(tmp_path):
  for name, content, message in (
    ("t.csv", "a,b\n1,2\n", "has no column file, video, .*; it has a, b"),
    ("t.csv", "file,b\n1,2\n", "has no column caption, text"),
    ("t.jsonl", "{", "cannot be read"),
    ("t.parquet", "x", "cannot be read"),
    ("t.txt", "x", "must be a .csv, .jsonl, .parquet file"),
    (
      "t.jsonl",
      '{"videoID": "1066", "caption": ["a", "b"]}\n',
      "the row of 1066: a list of captions needs a column timestamp",
    ),
    ("t.csv", "file,caption,timestamp\nx,\"['a']\",3\n", "must be a list of .start, end."),
    (
      "t.csv",
      "file,caption,timestamp\nx,['a'],[]\n",
      "the row of x: it has 1 captions and 0 timestamps",
    ),
    ("t.csv", "file,caption,start\nx,a,soon\n", "the row of x: could not convert"),
  ):
    (tmp_path / name).write_text(content)
    with pytest.raises(ValueError, match=message):
      captions.read(tmp_path / name, NAMES)
  with pytest.raises(ValueError, match="does not exist"):
    captions.read(tmp_path / "none.csv", NAMES)
