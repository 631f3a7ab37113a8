"""The Python examples of the documentation run, in their order, on miniature runs in place of those of `make demo`."""

import inspect

import pytest

from lumiere import Cascade
from tests import documentation
from tests.documentation import ROOT


@pytest.mark.parametrize("page", ["README.md", "docs/python.md"])
def test_examples_run(page, tmp_path, monkeypatch, runs, masked_run, style_run):
  (tmp_path / "runs").mkdir()
  made = {"stunet_masked_tiny": masked_run, "ssr_tiny": runs["ssr"], "t2i_style_tiny": style_run}
  for name, workdir in made.items():
    (tmp_path / "runs" / name).symlink_to(workdir)
  examples = documentation.blocks((ROOT / page).read_text(), "python")
  assert examples
  monkeypatch.chdir(tmp_path)
  names = {}
  for line, source in examples:
    exec(compile("\n" * (line - 1) + source, page, "exec"), names)
  written = {path.suffix for path in (tmp_path / "out").iterdir()}
  assert ".mp4" in written


def test_every_public_method_has_an_example():
  text = (ROOT / "docs" / "python.md").read_text()
  examples = "\n".join(source for _, source in documentation.blocks(text, "python"))
  methods = [
    name
    for name, member in inspect.getmembers(Cascade)
    if callable(member) and not name.startswith("_")
  ]
  assert set(methods) >= {"restore", "generate", "upscale"}
  assert not [name for name in methods if f"ascade.{name}(" not in examples]
