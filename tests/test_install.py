"""What `pip install .` installs is complete, and its commands say what they are."""

import os
import pathlib
import shutil
import subprocess
import sys

import pytest

from lumiere import __main__ as commands
from lumiere import pretrained


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
  """A folder with the installed packages; built from a copy, as building leaves files beside the source."""
  copy, target = tmp_path_factory.mktemp("copy") / "source", tmp_path_factory.mktemp("installed")
  hidden = shutil.ignore_patterns(
    ".*", "tests", "docs", "runs", "data", "out", "build", "*.egg-info"
  )
  shutil.copytree(".", copy, ignore=hidden)
  pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
  subprocess.run(
    [*pip, "--no-deps", "--no-build-isolation", "--no-compile", "--target", target, copy],
    check=True,
  )
  return target


def python(installed, *arguments) -> str:
  """What the interpreter prints, started in another folder, with the installed packages first."""
  environment = os.environ | {"PYTHONPATH": str(installed)}
  done = subprocess.run(
    [sys.executable, *arguments], cwd=installed.parent, env=environment, capture_output=True, text=True
  )  # fmt: skip
  assert done.returncode == 0, done.stderr
  return done.stdout


def test_the_cascade_is_there_from_another_folder(installed):
  source = "import lumiere; from lumiere import Cascade; print(lumiere.__file__); print(Cascade)"
  where, what = python(installed, "-c", source).splitlines()
  assert where.startswith(str(installed)) and "sampling.cascade.Cascade" in what


def test_the_models_that_ship_come_with_it(installed):
  source = "from lumiere import pretrained as p; print(*(x.exists() for x in (p.BASE / 'weights.safetensors', p.SSR / 'README.md')), *p.styles())"
  assert python(installed, "-c", source).split() == ["True", "True", *pretrained.styles()]


def test_every_command_is_listed_and_shows_an_example(installed):
  listed = python(installed, "-m", "lumiere")
  for command in commands.COMMANDS:
    assert f"python -m lumiere.{command}" in listed
  for command in ("plan", "convert"):  # those with most imports
    text = python(installed, "-m", f"lumiere.{command}", "--help")
    assert f"python -m lumiere.{command} --" in text and "Flags:" in text


def test_whatever_can_be_run_is_listed():
  folder = pathlib.Path("lumiere")
  runnable = {path.stem for path in folder.glob("*.py") if "cli.run(" in path.read_text()}
  runnable |= {path.parent.name for path in folder.glob("*/__main__.py")}
  assert runnable == set(commands.COMMANDS)
