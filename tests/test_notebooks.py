"""Notebooks run from top to bottom."""

import nbclient
import nbformat

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
