"""Files of others are read with errors that name them; folders are written whole or not at all."""

import pathlib

import pytest

from lumiere import files

POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935c943\nsize 45\n"


@pytest.mark.parametrize(
  ("content", "message"),
  [
    (b"[1, 2]", "an object, {...}, is expected, not a list"),
    (b"3", "not a number"),
    (b"null", "not null"),
    (b'{"a": ', "line 1"),
    (b"", "line 1"),
    (b"\xff\xfe\x00", "decode"),
    (b'{"a": NaN}', "NaN is no number of JSON"),
    (b"[" * 100_000, "recursion"),
    (POINTER.encode(), "is a Git LFS pointer, not the file itself: run 'git lfs pull'"),
    (b"<!DOCTYPE html><html>Log in", "is a web page"),
  ],
)
def test_what_is_no_json_object_is_refused_by_its_name(content, message, tmp_path):
  path = tmp_path / "config.json"
  path.write_bytes(content)
  with pytest.raises(ValueError) as error:
    files.read_json(path)
  assert str(error.value).startswith(f"{path}") and message in str(error.value)
  assert "\n" not in str(error.value)


def test_json_with_a_byte_order_mark_is_json(tmp_path):
  (tmp_path / "config.json").write_text('{"a": [1.5, "é"]}', encoding="utf-8-sig")
  assert files.read_json(tmp_path / "config.json") == {"a": [1.5, "é"]}


def test_errors_are_put_under_a_name():
  with pytest.raises(ValueError, match="^file: 'width' is missing$"), files.about("file", KeyError):
    {}["width"]
  with pytest.raises(TypeError), files.about("file", KeyError):
    len(3)


def test_a_folder_that_fails_is_not_there(tmp_path):
  out = tmp_path / "new" / "out"
  with pytest.raises(OSError, match="disk"), files.whole_folder(out) as partial:
    (partial / "weights").write_text("half")
    raise OSError("the disk is full")
  assert not any(tmp_path.iterdir())


def test_what_a_killed_process_left_is_replaced(tmp_path):
  out = tmp_path / "out"
  left = tmp_path / "out.partial" / "old" / "weights"
  left.parent.mkdir(parents=True)
  left.write_text("half")
  with files.whole_folder(out) as partial:
    assert partial.name == "out.partial" and not left.exists() and not out.exists()
    (partial / "weights").write_text("whole")
  assert [str(p.relative_to(tmp_path)) for p in sorted(tmp_path.rglob("*"))] == [
    "out",
    "out/weights",
  ]


def test_what_is_there_stays(tmp_path):
  (tmp_path / "out").mkdir()
  (tmp_path / "out" / "weights").write_text("mine")
  with pytest.raises(ValueError, match="out exists already"), files.whole_folder(tmp_path / "out"):
    pytest.fail("it was written into")
  assert [p.name for p in tmp_path.iterdir()] == ["out"]
  with pytest.raises(ValueError), files.whole_folder(pathlib.Path(tmp_path / "a" / "b")):
    (tmp_path / "a" / "another's").write_text("")  # written meanwhile, by somebody else
    raise ValueError
  assert [p.name for p in (tmp_path / "a").iterdir()] == ["another's"]
