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
LUMIERE = [path for path in FILES if path.is_relative_to(ROOT / "lumiere")]

# Transforms and helpers whose meaning is still moving in Flax; jax, optax and clu do the same on plain pytrees.
FORBIDDEN_NNX = re.compile(
  r"\bnnx\.(jit|grad|value_and_grad|scan|vmap|remat|pmap|Optimizer|MultiMetric|DiffState|StateAxes|StateSharding|"
  r"BatchNorm|bridge|sow|Dropout)\b"
)


def imported(source: str) -> set[str]:
  """Dotted names of all imports in a file, wherever they stand; `from a import b` is a.b."""
  names = set()
  for node in ast.walk(ast.parse(source)):
    if isinstance(node, ast.Import):
      names |= {alias.name for alias in node.names}
    elif isinstance(node, ast.ImportFrom):
      assert node.level == 0, "imports are absolute"
      names |= {f"{node.module}.{alias.name}" for alias in node.names}
  return names


def floors() -> dict[str, int]:
  """Room of lumiere/ -> its floor, from the table in docs/architecture.md."""
  text = (ROOT / "docs" / "architecture.md").read_text()
  table = text.split("| floor | rooms in `lumiere/` |")[1].split("\n\n")[0]
  rows = re.findall(r"^\| (\d+) \| ([^|]*) \|", table, re.MULTILINE)
  return {room: int(floor) for floor, rooms in rows for room in re.findall(r"`(\w+)`", rooms)}


def goes_up(room: str, source: str) -> set[str]:
  """Rooms that a file of `room` imports although they are not below it."""
  # `lumiere.Cascade` is the public name of what lies in sampling/.
  rooms = {
    "sampling" if name == "lumiere.Cascade" else name.split(".")[1]
    for name in imported(source)
    if name.startswith("lumiere.")
  }
  return {other for other in rooms - {room} if floors()[other] >= floors()[room]}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_go_down_only(path):
  package = path.relative_to(ROOT).parts[0]
  assert {name.split(".")[0] for name in imported(path.read_text())} & OURS <= MAY_IMPORT[package]


@pytest.mark.parametrize("path", LUMIERE, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_inside_lumiere_go_down_only(path):
  room = path.relative_to(ROOT / "lumiere").with_suffix("").parts[0]
  if room not in ("__init__", "__main__"):
    assert not goes_up(room, path.read_text())


def test_the_table_names_every_room():
  rooms = {path.relative_to(ROOT / "lumiere").with_suffix("").parts[0] for path in LUMIERE}
  assert set(floors()) == rooms - {"__init__", "__main__"}


@pytest.mark.parametrize(
  ("room", "line", "found"),
  [
    ("sampling", "from lumiere.training import loop", {"training"}),
    ("checkpoints", "def f():\n  from lumiere.sampling.cascade import Cascade", {"sampling"}),
    ("data", "from lumiere import Cascade, fields, mesh", {"sampling", "mesh"}),
    ("masks", "import lumiere.text.t5", {"text"}),
    ("training", "from lumiere import checkpoints\nfrom lumiere.training import step", set()),
  ],
)
def test_a_planted_import_that_goes_up_is_found(room, line, found):
  assert goes_up(room, line) == found


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_files_are_short_and_nnx_is_functional(path):
  text = path.read_text()
  assert len(text.splitlines()) <= 450
  assert FORBIDDEN_NNX.search(text) is None


def test_the_guard_sees_what_it_forbids():
  assert FORBIDDEN_NNX.search("grads = nnx.value_and_grad(f)")
  assert not FORBIDDEN_NNX.search("graph, state = nnx.split(model, nnx.Param, ...)")
  assert FILES
