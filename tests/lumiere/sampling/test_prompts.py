"""Prompts along time: read, checked, and given to windows."""

import pathlib

import numpy as np
import pytest

from lumiere.sampling import prompts
from multidiffusion.windows import plan_windows


def test_timed_prompts_are_one_video_and_plain_ones_many():
  assert prompts.parse(["a cat", "a dog"]) == ["a cat", "a dog"]
  assert prompts.parse(["24: a dog", "0: a cat"]) == [{0: "a cat", 24: "a dog"}]
  assert prompts.parse(["ratio 3: 4"]) == ["ratio 3: 4"]
  with pytest.raises(ValueError, match="'a dog' has no frame"):
    prompts.parse(["0: a cat", "a dog"])
  with pytest.raises(ValueError, match="two prompts for one frame"):
    prompts.parse(["0: a cat", "0: a dog"])


def test_a_window_carries_the_prompt_at_its_middle():
  plan = plan_windows(32, 8, 4)
  rows = prompts.of_windows([{0: "a", 16: "b"}, "c"], plan)
  shares = [
    row[0].get("b", 0.0) for row in rows
  ]  # middles 3.5, 7.5, ... 27.5; the fade from 12 to 20
  np.testing.assert_allclose(shares, [0, 0, 0, 7 / 16, 15 / 16, 1, 1])
  assert all(sum(row[0].values()) == pytest.approx(1) for row in rows)
  assert all(row[1] == {"c": 1.0} for row in rows)


def test_a_prompt_that_comes_back():
  rows = prompts.of_windows([{0: "a", 16: "b", 32: "a"}], plan_windows(48, 8, 4))
  shares = np.array([[row[0].get(text, 0.0) for text in "ab"] for row in rows])
  np.testing.assert_allclose(shares.sum(axis=1), 1)
  np.testing.assert_allclose(
    shares, shares[::-1], atol=0.13
  )  # middles are not placed evenly about 24
  assert shares[0].tolist() == shares[-1].tolist() == [1, 0] and shares[:, 1].max() == 1


def test_a_prompt_without_a_window_is_refused():
  with pytest.raises(ValueError, match=r"frame 30 \('b'\) holds for too few frames"):
    prompts.of_windows([{0: "a", 30: "b"}], plan_windows(32, 8, 4))


@pytest.mark.parametrize(
  ("given", "message"),
  (
    ([], "no prompt"),
    ("a cat", "must be a list"),
    ([" "], "prompt 1 of 1 is blank"),
    ([{0: "a", 8: " "}], "blank"),
    ([{4: "a"}], "must begin at frame 0"),
    ([{0: "a", 32: "b"}], "frame 32 is beyond the clip, which has 32 frames"),
  ),
)
def test_prompts_that_cannot_be(given, message):
  with pytest.raises(ValueError, match=message):
    prompts.check_prompts(given, 32)


MARK = "\ufeff"


def read(tmp_path, content: bytes):
  path = tmp_path / "prompts.txt"
  path.write_bytes(content)
  return prompts.read_prompts([], str(path))


def test_a_byte_order_mark_is_no_part_of_a_prompt(tmp_path):
  assert read(tmp_path, f"{MARK}a red circle\na blue square\n".encode()) == [
    "a red circle",
    "a blue square",
  ]


def test_files_from_other_programs():
  """As an editor of Windows and a spreadsheet have written them."""
  cases = pathlib.Path("tests/lumiere/data/cases")
  assert prompts.read_prompts([], str(cases / "prompts_bom.txt")) == [
    "a red circle moves left quickly on black",
    "a blue square spins on gray",
  ]
  assert prompts.read_prompts([], str(cases / "prompts_u2028.txt")) == [
    "a red circle\u2028moves left quickly on black"
  ]


@pytest.mark.parametrize("separator", ["\u2028", "\u2029", "\x85", "\x0b", "\x0c", "\x1c"])
def test_lines_end_at_newlines_only(tmp_path, separator):
  prompt = f"a red circle{separator}on black"
  assert read(tmp_path, f"{prompt}\r\nsecond\n".encode()) == [prompt, "second"]


def test_text_that_is_not_utf8_names_file_and_flag(tmp_path):
  with pytest.raises(ValueError, match=r"--prompts_file=.*prompts.txt is not UTF-8 text: byte 3 "):
    read(tmp_path, "café".encode("latin-1") + b"\n")


@pytest.mark.parametrize(
  ("given", "expected"),
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
def test_a_number_and_a_colon_are_a_time_only_with_a_frame_0(given, expected):
  assert prompts.read_prompts(given) == expected


def test_times_without_a_frame_0_are_remarked_on(capsys):
  assert prompts.read_prompts(["8: a", "16: b"]) == ["8: a", "16: b"]
  assert "no prompt begins at frame 0" in capsys.readouterr().out


def test_plain_and_timed_prompts_do_not_mix():
  with pytest.raises(ValueError, match=r"'b' has no frame"):
    prompts.read_prompts(["0: a", "b"])
