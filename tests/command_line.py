"""Runs train.py and sample.py in this process, as the command line would."""

import runpy
import sys

from absl import flags

from lumiere import cli  # noqa: F401  (its flags stay)


def run(monkeypatch, capsys, script: str, *args) -> tuple[int, str, str]:
  """(exit code, stdout, stderr) of `python SCRIPT ARGS`."""
  monkeypatch.setattr(sys, "argv", [script, *map(str, args)])
  known = set(flags.FLAGS)
  capsys.readouterr()
  code = 0
  try:
    runpy.run_path(script, run_name="__main__")
  except SystemExit as stop:
    code = stop.code or 0
  finally:
    # Both scripts have a --workdir: each starts from flags that are not there yet.
    for name in set(flags.FLAGS) - known:
      delattr(flags.FLAGS, name)
    flags.FLAGS.unparse_flags()
  printed = capsys.readouterr()
  return code, printed.out, printed.err


def assert_one_line(result: tuple[int, str, str], *words: str):
  """Exit code 1 and a single line on stderr that has all the words."""
  code, _, stderr = result
  assert code == 1
  errors = [line for line in stderr.splitlines() if line.startswith("error: ")]
  assert len(errors) == 1 and "Traceback" not in stderr, stderr
  for word in words:
    assert word in errors[0], errors[0]
