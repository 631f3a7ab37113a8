"""Imports only go down, and Flax NNX stays restricted to its functional core."""

import ast
import pathlib
import re

import pytest

ROOT = pathlib.Path(__file__).parents[1]
MAY_IMPORT = {
  "stunet": {"stunet"},
  "diffusion": {"diffusion"},
  "ssr": {"ssr", "stunet", "diffusion"},
  "multidiffusion": {"multidiffusion", "diffusion"},
  "lumiere": {"lumiere", "multidiffusion", "ssr", "stunet", "diffusion"},
  "configs": {"configs"},
}
OURS = {*MAY_IMPORT, "train", "sample", "tests", "scripts", "benchmarks"}
FILES = [path for package in MAY_IMPORT for path in sorted((ROOT / package).rglob("*.py"))]

# Transforms and helpers whose meaning is still moving in Flax; jax, optax and clu do the same on plain pytrees.
FORBIDDEN_NNX = re.compile(
  r"\bnnx\.(jit|grad|value_and_grad|scan|vmap|remat|pmap|Optimizer|MultiMetric|DiffState|StateAxes|StateSharding|"
  r"BatchNorm|bridge|sow|Dropout)\b"
)


def imported(path: pathlib.Path) -> set[str]:
  """First names of all imports in a file, wherever they stand."""
  names = set()
  for node in ast.walk(ast.parse(path.read_text())):
    if isinstance(node, ast.Import):
      names |= {alias.name.split(".")[0] for alias in node.names}
    elif isinstance(node, ast.ImportFrom) and node.level == 0:
      names.add(node.module.split(".")[0])
  return names


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_go_down_only(path):
  package = path.relative_to(ROOT).parts[0]
  assert imported(path) & OURS <= MAY_IMPORT[package]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_files_are_short_and_nnx_is_functional(path):
  text = path.read_text()
  assert len(text.splitlines()) <= 450
  assert FORBIDDEN_NNX.search(text) is None


def test_the_guard_sees_what_it_forbids():
  assert FORBIDDEN_NNX.search("grads = nnx.value_and_grad(f)")
  assert not FORBIDDEN_NNX.search("graph, state = nnx.split(model, nnx.Param, ...)")
  assert FILES
