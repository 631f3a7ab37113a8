"""The order in which the demo runs its programs, and what becomes of them when one fails."""

import pytest

from scripts import demo_train


def writes(path, *needs) -> list[str]:
  """A program that appends its name to a file, if the names that it needs are there."""
  return [
    "-c",
    f"import pathlib; path = pathlib.Path({str(path)!r}); seen = path.read_text().split();"
    f"assert set({needs[1:]!r}) <= set(seen), seen; path.write_text(' '.join([*seen, {needs[0]!r}]))",
  ]


def test_each_program_runs_once_and_after_those_that_it_needs(tmp_path):
  path = tmp_path / "seen"
  path.write_text("")
  stages = {
    "c": demo_train.Stage(writes(path, "c", "a", "b"), ("a", "b")),
    "b": demo_train.Stage(writes(path, "b", "a"), ("a",)),
    "a": demo_train.Stage(writes(path, "a")),
  }
  rows = demo_train.run_all(stages, 1)
  assert path.read_text().split() == [row.stage for row in rows] == ["a", "b", "c"]
  assert all(row.peak_bytes > 2**20 for row in rows)


def test_programs_that_need_not_wait_run_beside_each_other(tmp_path):
  meets = lambda own, other: [
    "-c",
    "import pathlib, sys, time\n"
    f"pathlib.Path({str(tmp_path / own)!r}).touch()\n"
    f"while not pathlib.Path({str(tmp_path / other)!r}).exists(): time.sleep(0.01)\n",
  ]
  stages = {"a": demo_train.Stage(meets("a", "b")), "b": demo_train.Stage(meets("b", "a"))}
  assert {row.stage for row in demo_train.run_all(stages, 2)} == {"a", "b"}


def test_a_failure_is_named_and_ends_the_others(tmp_path, capfd):
  ends = tmp_path / "ends"
  stages = {
    "long": demo_train.Stage(
      ["-c", f"import pathlib, time; time.sleep(60); pathlib.Path({str(ends)!r}).touch()"]
    ),
    "bad": demo_train.Stage(["-c", "import sys; sys.exit('no such luck')"]),
    "next": demo_train.Stage(["-c", f"open({str(tmp_path / 'next')!r}, 'w')"], ("bad",)),
  }
  with pytest.raises(RuntimeError, match="stage bad failed"):
    demo_train.run_all(stages, 2)
  assert "bad                | no such luck" in capfd.readouterr().out
  assert not ends.exists() and not (tmp_path / "next").exists()
