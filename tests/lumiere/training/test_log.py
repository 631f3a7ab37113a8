"""Few lines for the terminal, all for the file."""

import io
import logging as python_logging

import pytest
from absl import flags, logging

from lumiere.training import log


@pytest.fixture
def terminal(monkeypatch):
  """What a terminal shows: a handler on the root logger in place of absl's, which is there once flags are parsed."""
  root, shown = python_logging.getLogger(), io.StringIO()
  handler, level, verbosity = (
    python_logging.StreamHandler(shown),
    root.level,
    logging.get_verbosity(),
  )
  monkeypatch.setattr(logging, "get_absl_handler", lambda: handler)
  monkeypatch.setattr(flags.FLAGS["verbosity"], "present", 0)
  root.addHandler(handler)
  root.setLevel(python_logging.INFO)
  yield shown
  root.removeHandler(handler)
  root.setLevel(level)
  logging.set_verbosity(verbosity)


def speak():
  logging.info("a table of weights")
  logging.warning("something to know")
  library = python_logging.LogRecord(
    "absl", python_logging.ERROR, "/x/orbax/checkpoint/a.py", 1, "of a library", (), None
  )
  logging.get_absl_logger().handle(library)
  python_logging.getLogger("jax").info("a probe")


def test_the_terminal_shows_warnings_and_the_file_everything(terminal, tmp_path):
  log.quiet_terminal()
  with log.RunLog() as run:
    speak()
    run.write_to(tmp_path / "run")
    assert not (tmp_path / "run").exists()  # the run makes it
    (tmp_path / "run").mkdir()
    logging.info("later")
    written = (tmp_path / "run" / "train.log").read_text()
  lines = ("a table of weights", "something to know", "of a library", "a probe", "later")
  assert all(line in written for line in lines)
  assert "something to know" in terminal.getvalue()
  assert not any(line in terminal.getvalue() for line in lines if line != lines[1])


def test_verbosity_brings_everything_to_the_terminal(terminal, tmp_path):
  flag = flags.FLAGS["verbosity"]
  flag.value, flag.present = logging.INFO, 1
  log.quiet_terminal()
  with log.RunLog() as run:
    run.write_to(tmp_path)
    speak()
  for text in (terminal.getvalue(), (tmp_path / "train.log").read_text()):
    for line in ("a table of weights", "something to know", "of a library", "a probe"):
      assert line in text


def test_a_run_that_cannot_be_leaves_no_file(terminal, tmp_path):
  log.quiet_terminal()
  with pytest.raises(ValueError), log.RunLog() as run:
    run.write_to(tmp_path / "run")
    logging.info("almost")
    raise ValueError
  assert not (tmp_path / "run").exists()


def test_an_error_is_in_the_file_with_its_traceback_and_runs_share_the_file(terminal, tmp_path):
  log.quiet_terminal()
  for _ in range(2):
    with pytest.raises(ValueError), log.RunLog() as run:
      run.write_to(tmp_path)
      raise ValueError("what was wrong")
  assert (tmp_path / "train.log").read_text().count("ValueError: what was wrong") == 2
  assert terminal.getvalue() == ""


def test_a_disk_that_is_full_does_not_end_what_is_logged(terminal, tmp_path, capsys):
  log.quiet_terminal()
  with log.RunLog() as run:
    run.write_to(tmp_path)
    (tmp_path / "train.log").symlink_to("/dev/full")
    logging.info("nowhere to go")
  assert terminal.getvalue() == "" and "Logging error" not in capsys.readouterr().err


def test_say_is_for_both(capsys, caplog):
  caplog.set_level(python_logging.INFO, logger="absl")
  log.say("a run begins")
  assert capsys.readouterr().out == "a run begins\n" and "a run begins" in caplog.text
