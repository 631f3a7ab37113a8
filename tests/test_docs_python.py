"""The Python examples of the documentation run, in their order, on miniature runs in place of the models that ship."""

import inspect

import pytest

from lumiere import Cascade, pretrained
from tests import documentation
from tests.documentation import ROOT


@pytest.mark.parametrize("page", ["README.md", "docs/python.md"])
def test_examples_run(page, tmp_path, monkeypatch, runs, masked_run, style_run):
  (tmp_path / "styles").mkdir()
  (tmp_path / "styles" / "mosaic").symlink_to(style_run)
  for name, folder in (("BASE", masked_run), ("SSR", runs["ssr"]), ("STYLES", tmp_path / "styles")):
    monkeypatch.setattr(pretrained, name, folder)
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
  assert set(methods) >= {"restore", "pretrained", "generate", "upscale"}
  assert not [name for name in methods if f"ascade.{name}(" not in examples]
