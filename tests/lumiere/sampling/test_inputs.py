"""Prompts as people write and save them."""

import pytest

from lumiere.sampling import inputs

MARK = "\ufeff"


def read(tmp_path, content: bytes):
  path = tmp_path / "prompts.txt"
  path.write_bytes(content)
  return inputs.read_prompts([], str(path))


def test_a_byte_order_mark_is_no_part_of_a_prompt(tmp_path):
  assert read(tmp_path, f"{MARK}a red circle\na blue square\n".encode()) == [
    "a red circle",
    "a blue square",
  ]


@pytest.mark.parametrize("separator", ["\u2028", "\u2029", "\x85", "\x0b", "\x0c", "\x1c"])
def test_lines_end_at_newlines_only(tmp_path, separator):
  prompt = f"a red circle{separator}on black"
  assert read(tmp_path, f"{prompt}\r\nsecond\n".encode()) == [prompt, "second"]


def test_text_that_is_not_utf8_names_file_and_flag(tmp_path):
  with pytest.raises(ValueError, match=r"--prompts_file=.*prompts.txt is not UTF-8 text: byte 3 "):
    read(tmp_path, "café".encode("latin-1") + b"\n")


@pytest.mark.parametrize(
  ("given", "prompts"),
  [
    (["16:9 footage of a circle"], ["16:9 footage of a circle"]),
    (["2001: a space odyssey"], ["2001: a space odyssey"]),
    (["2001: a space odyssey", "a circle"], ["2001: a space odyssey", "a circle"]),
    (["0: a", "16: b"], [{0: "a", 16: "b"}]),
    (["16: b", "0: a"], [{0: "a", 16: "b"}]),
    ([r"\0: hours left"], ["0: hours left"]),
    ([r"\0: hours left", "a circle"], ["0: hours left", "a circle"]),
    ([r"\a circle"], [r"\a circle"]),
  ],
)
def test_a_number_and_a_colon_are_a_time_only_with_a_frame_0(given, prompts):
  assert inputs.read_prompts(given) == prompts


def test_times_without_a_frame_0_are_remarked_on(capsys):
  assert inputs.read_prompts(["8: a", "16: b"]) == ["8: a", "16: b"]
  assert "no prompt begins at frame 0" in capsys.readouterr().out


def test_plain_and_timed_prompts_do_not_mix():
  with pytest.raises(ValueError, match=r"'b' has no frame"):
    inputs.read_prompts(["0: a", "b"])
