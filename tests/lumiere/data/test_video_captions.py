"""The files of a folder, and the captions that are meant for them."""

import json
import os
import pathlib
import shutil
import unicodedata

import pytest

from lumiere.data.video_folder.captions import find_videos, read_captions
from tests.lumiere.data.media import CASES


def captions_of(folder):
  found = find_videos(folder)
  return read_captions(folder, found), found


def touch(folder, *names):
  for name in names:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).touch()


def test_captions_of_lists_come_before_texts_beside_files(tmp_path):
  (tmp_path / "captions.csv").write_text(
    "\ufeffcaption,file\nfrom csv,./a.mp4\n,b.mp4\n", encoding="utf-8"
  )
  (tmp_path / "captions.jsonl").write_text(
    '{"file": "a.mp4", "caption": "from jsonl"}\n\n{"file": "b.mp4", "caption": "two\\n lines"}\n'
  )
  touch(tmp_path, "a.mp4", "b.mp4", "c.webm", "d.gif")
  for name in ("a", "b", "c"):
    (tmp_path / f"{name}.txt").write_text("\ufefffrom text\n")
  captions, found = captions_of(tmp_path)
  assert captions == {"a.mp4": "from csv", "b.mp4": "two lines", "c.webm": "from text"}
  assert found.videos == ["a.mp4", "b.mp4", "c.webm", "d.gif"] and not found.skipped
  assert found.texts == ["a.txt", "b.txt", "c.txt", "captions.csv", "captions.jsonl"]


def test_lines_end_at_newlines_only(tmp_path):
  shutil.copy(CASES / "captions_u2028.jsonl", tmp_path / "captions.jsonl")
  touch(tmp_path, "a.mp4", "b.mp4")
  captions, _ = captions_of(tmp_path)
  assert captions == {"a.mp4": "a red ball rolls over grass", "b.mp4": "a ball"}
  lines = [
    '{"file": "a.mp4", "caption": "one\x85two\x0cthree\x1cfour"}',
    '{"file": "b.mp4", "caption": "b"}',
  ]
  (tmp_path / "captions.jsonl").write_bytes("\r\n".join(lines).encode())
  with pytest.raises(
    ValueError, match="captions.jsonl, line 1"
  ):  # control characters must be escaped in JSON
    captions_of(tmp_path)
  (tmp_path / "captions.jsonl").unlink()
  (tmp_path / "captions.csv").write_bytes(
    "file,caption\r\na.mp4,one\u2028two\x85three\r\n".encode()
  )
  assert captions_of(tmp_path)[0] == {"a.mp4": "one two three"}


def test_byte_order_marks_of_joined_files_are_no_part_of_a_name(tmp_path):
  touch(tmp_path, "a.mp4", "b.mp4")
  parts = ['\ufeff{"file": "a.mp4", "caption": "a"}\n', '\ufeff{"file": "b.mp4", "caption": "b"}\n']
  (tmp_path / "captions.jsonl").write_text("".join(parts), encoding="utf-8")
  assert captions_of(tmp_path)[0] == {"a.mp4": "a", "b.mp4": "b"}


def test_names_are_the_same_in_every_unicode_form(tmp_path):
  composed, split = (unicodedata.normalize(form, "für Zoë") for form in ("NFC", "NFD"))
  assert composed != split
  touch(tmp_path, f"{composed}/{split}.mp4", f"{split}.mov", f"{composed}.mkv")
  (tmp_path / "captions.csv").write_text(f"file,caption\n{split}/{composed}.mp4,in a list\n")
  (tmp_path / f"{composed}.txt").write_text("beside both")
  captions, found = captions_of(tmp_path)
  assert captions == {
    f"{composed}/{split}.mp4": "in a list",
    f"{split}.mov": "beside both",
    f"{composed}.mkv": "beside both",
  }
  assert not found.skipped


def test_paths_of_all_kinds_are_understood(tmp_path):
  folder, elsewhere = tmp_path / "videos", tmp_path / "elsewhere"
  touch(folder, "deep/a.mp4", "b.mp4", "c.mp4", "d.mp4")
  touch(elsewhere, "e.mp4", "f.mp4")
  (tmp_path / "link").symlink_to(folder)
  names = [
    "deep\\a.mp4",
    ".\\b.mp4",
    str(folder / "deep" / ".." / "c.mp4"),
    str(tmp_path / "link" / "d.mp4"),
    str(elsewhere / "e.mp4"),
    "../elsewhere/f.mp4",
    str(folder / "gone.mp4"),
    "deep",
  ]
  lines = [json.dumps({"file": name, "caption": f"caption {i}"}) for i, name in enumerate(names)]
  (folder / "captions.jsonl").write_text("\n".join(lines))
  captions, found = captions_of(folder)
  assert captions == {
    "deep/a.mp4": "caption 0",
    "b.mp4": "caption 1",
    "c.mp4": "caption 2",
    "d.mp4": "caption 3",
    str(elsewhere / "e.mp4"): "caption 4",
    str(elsewhere / "f.mp4"): "caption 5",
  }
  assert found.skipped == {
    str(folder / "gone.mp4"): "no such file: there is only its caption",
    "deep": "it is a folder",
  }


def test_linked_folders_are_followed_once(tmp_path):
  folder, elsewhere = tmp_path / "videos", tmp_path / "elsewhere"
  touch(folder, "own/a.mp4")
  touch(elsewhere, "b.mp4", "deep/c.mp4", ".hidden/d.mp4")
  (folder / "link").symlink_to(elsewhere)
  (folder / "again").symlink_to(folder / "own")
  (folder / "own" / "loop").symlink_to(folder)
  (elsewhere / "back").symlink_to(folder)
  (folder / "captions.csv").write_text(
    "file,caption\nagain/a.mp4,by another way\nlink/b.mp4,linked\n"
  )
  captions, found = captions_of(folder)
  assert found.videos == ["link/b.mp4", "link/deep/c.mp4", "own/a.mp4"]
  assert captions == {"own/a.mp4": "by another way", "link/b.mp4": "linked"}


def test_folders_that_cannot_be_listed_and_names_that_cannot_be_written(tmp_path, monkeypatch):
  touch(tmp_path, "a.mp4", "closed/b.mp4")
  with open(os.fsencode(tmp_path) + b"/\xff.mp4", "wb"):
    pass
  scan = os.scandir

  def scandir(path):
    if pathlib.Path(path).name == "closed":
      raise PermissionError(13, "Permission denied")
    return scan(path)

  monkeypatch.setattr(os, "scandir", scandir)
  found = find_videos(tmp_path)
  assert found.videos == ["a.mp4"]
  assert found.skipped == {
    "closed": "cannot be listed: permission denied",
    "\\xff.mp4": "its name is not UTF-8",
  }


@pytest.mark.parametrize(
  ("name", "content", "words"),
  [
    ("captions.csv", b"name,text\na.mp4,x\n", "must include 'file' and 'caption'"),
    ("captions.csv", b"", "must include"),
    ("captions.csv", b"file,caption\na.mp4,one, two\n", "line 2"),
    ("captions.csv", b"file,caption\na.mp4\n", "line 2"),
    ("captions.csv", b"file,caption\na.mp4,\xff\xfe\n", "UTF-8"),
    ("captions.jsonl", b'{"file": "a.mp4", "caption": "x"}\n{"file": "b.mp4"}\n', "line 2"),
    ("captions.jsonl", b"a.mp4: x\n", "line 1"),
    ("captions.jsonl", b'{"file": "a.mp4", "caption": 3}\n', "line 1"),
    ("captions.jsonl", b'{"file": "a.mp4", "caption": "\\ud800"}\n', "line 1"),
    ("captions.jsonl", b"[" * 100000, "line 1"),
    ("captions.jsonl", "a.mp4".encode("utf-16"), "captions.jsonl: must be UTF-8"),
    ("a.txt", b"\xff\xfe", "a.txt: must be UTF-8"),
  ],
)
def test_captions_that_cannot_be_read(tmp_path, name, content, words):
  touch(tmp_path, "a.mp4", "b.mp4")
  (tmp_path / name).write_bytes(content)
  with pytest.raises(ValueError, match=words) as error:
    captions_of(tmp_path)
  assert name in str(error.value)
