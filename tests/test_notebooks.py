"""Notebooks run from top to bottom, and say what is missing where the code is not."""

import configparser
import importlib.util
import pathlib
import re
import subprocess
import sys

import nbclient
import nbformat
import pytest

REDUCED = """
STEPS = {"t2i": 1, "stunet": 1, "ssr_image": 1, "ssr": 1}
NUM_TRAIN, NUM_HELD_OUT = 16, 8
OUT = %r
"""
# Networks, batches and videos of the other trainings in the tests, whose programs are there already.
SMALL = """
  from tests.lumiere.experiments import micro_config
  config = micro_config(stage, out / "data", out / PARENTS[stage] if stage in PARENTS else "")
  config.train.num_steps = 1
"""


def test_quickstart(tmp_path):
  notebook = nbformat.read("notebooks/quickstart.ipynb", as_version=4)
  [parameters] = [c for c in notebook.cells if "parameters" in c.metadata.get("tags", ())]
  parameters.source = REDUCED % str(tmp_path)
  for cell in notebook.cells:
    cell.source = cell.source.replace("  return Experiment", SMALL + "  return Experiment")
  nbclient.NotebookClient(notebook, timeout=600, kernel_name="python3").execute()
  assert {"data.png", "sampled.png", "sampled.gif"} <= {path.name for path in tmp_path.iterdir()}
  printed = [
    o.text for c in notebook.cells for o in c.get("outputs", ()) if o.get("name") == "stdout"
  ]
  assert "sampled {'background'" in "".join(printed)


def test_applications(tmp_path, monkeypatch, runs, masked_run, style_run):
  monkeypatch.setenv("JAX_NUM_CPU_DEVICES", "1")
  notebook = nbformat.read("notebooks/applications.ipynb", as_version=4)
  [parameters] = [c for c in notebook.cells if "parameters" in c.metadata.get("tags", ())]
  parameters.source = f"BASE, SSR, STYLE, OUT = {str(masked_run)!r}, {str(runs['ssr'])!r}, {str(style_run)!r}, {str(tmp_path)!r}"
  nbclient.NotebookClient(notebook, timeout=600, kernel_name="python3").execute()
  pictures = ("animated", "cinemagraph", "filled", "edited", "extended", "styled")
  assert {f"{name}.png" for name in pictures} <= {path.name for path in tmp_path.iterdir()}


@pytest.fixture(params=["quickstart", "applications"])
def first_cell(request, tmp_path, monkeypatch):
  """The source of a notebook's first code cell; what runs it is in an empty folder, without the package."""
  notebook = nbformat.read(f"notebooks/{request.param}.ipynb", as_version=4)
  monkeypatch.chdir(tmp_path)
  monkeypatch.setattr(sys, "path", [*sys.path])
  monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
  return next(cell.source for cell in notebook.cells if cell.cell_type == "code")


def test_the_address_of_the_code_is_that_of_the_package(first_cell):
  setup = configparser.ConfigParser()
  setup.read(pathlib.Path(__file__).parents[1] / "setup.cfg")
  assert f'\nREPOSITORY = "{setup["metadata"]["url"]}"' in first_cell


def with_address(cell: str, address: str) -> str:
  """The cell as it would be with another address."""
  return re.sub(r'^REPOSITORY = ".*?"', f'REPOSITORY = "{address}"', cell, flags=re.MULTILINE)


@pytest.mark.parametrize(
  ("there", "address", "commands"),
  [
    ("lumiere", "", [["pip", "."]]),
    ("open-lumiere/lumiere", "", [["pip", "open-lumiere"]]),
    ("open-lumiere/lumiere", "https://example.org/code", [["pip", "open-lumiere"]]),
    (".", "https://example.org/code", [["git", "open-lumiere"], ["pip", "open-lumiere"]]),
  ],
)
def test_the_code_is_installed_from_where_it_is(
  first_cell, there, address, commands, tmp_path, monkeypatch
):
  (tmp_path / there).mkdir(parents=True, exist_ok=True)
  ran = []

  def run(command, check):
    ran.append(["pip" if "pip" in command else command[0], command[-1]])
    (tmp_path / command[-1] / "lumiere").mkdir(parents=True, exist_ok=True)

  monkeypatch.setattr(subprocess, "run", run)
  exec(with_address(first_cell, address), {})
  assert ran == commands
  assert pathlib.Path("lumiere").is_dir() and sys.path[0] == str(pathlib.Path.cwd())


def test_where_there_is_no_code_and_no_address_a_sentence_says_what_to_do(first_cell):
  with pytest.raises(RuntimeError, match="upload the repository .* run this cell again"):
    exec(with_address(first_cell, ""), {})
