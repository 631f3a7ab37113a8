"""The documentation speaks of what is there: commands, flags, configs, files, names and links."""

import ast
import configparser
import importlib.util
import pathlib
import re

import pytest
import yaml
from absl import app, flags

from lumiere import __main__ as commands
from lumiere import cli
from lumiere.sampling import outputs
from scripts import showcase
from tests import command_line, documentation
from tests.documentation import PAGES, ROOT

PACKAGES = ("stunet", "ssr", "multidiffusion", "diffusion", "lumiere")
PARTS = (*PACKAGES, "configs", "docs", "tests", "scripts", "benchmarks", "notebooks", ".ci")
SETUP = configparser.ConfigParser()
SETUP.read(ROOT / "setup.cfg")
PROGRAMS = ("train.py", "sample.py", "scripts/*.py", "benchmarks/*.py", "lumiere/**/*.py")
SCRIPTS = sorted(
  path
  for pattern in PROGRAMS
  for path in ROOT.glob(pattern)
  if 'if __name__ == "__main__":' in path.read_text()
  and path.parent.name + path.stem != "lumiere__main__"
)
CONFIGS = sorted(set(ROOT.glob("configs/*.py")) - {ROOT / "configs" / "common.py"})
named = lambda path: str(path.relative_to(ROOT))


@pytest.fixture
def problem(monkeypatch, capsys):
  """A function: command -> what is wrong with it, or None. Our programs read their flags and then do nothing."""
  monkeypatch.chdir(ROOT)
  run, app_run = cli.run, app.run

  def read_config(*_):
    if "config" in flags.FLAGS and flags.FLAGS.config is not None:
      assert flags.FLAGS.config.stage  # a config that cannot be loaded says so at the first access

  def parsed_only(main, flags_parser=None):
    options = {"flags_parser": flags_parser} if flags_parser else {}
    app_run(main if flags_parser else read_config, **options)

  monkeypatch.setattr(cli, "run", lambda main, commands=None: run(read_config, commands))
  monkeypatch.setattr(app, "run", parsed_only)

  def of_program(script: str, *arguments: str) -> str | None:
    if not (ROOT / script).is_file():
      return f"{script} does not exist"
    code, _, error = command_line.run(monkeypatch, capsys, script, *arguments)
    return error.strip() or f"exit code {code}" if code else None

  def of_module(name: str, *arguments: str) -> str | None:
    package, _, command = name.partition(".")
    if package == "lumiere":
      if command not in ("", *commands.COMMANDS):
        return f"python -m lumiere does not list {command}"
      files = (f"lumiere/{command}.py", f"lumiere/{command}/__main__.py", "lumiere/__main__.py")
      return of_program(next(file for file in files if (ROOT / file).is_file()), *arguments)
    if importlib.util.find_spec(name) is None:
      return f"there is no module {name}"
    extras = re.findall(r"^\.\[(.*)\]$", arguments[-1]) if name == "pip" else []
    if extras and not SETUP.has_option("options.extras_require", extras[0]):
      return f"setup.cfg has no extra {extras[0]}"
    paths = [word for word in arguments if word.endswith((".py", ".txt"))]
    return next((f"{path} does not exist" for path in paths if not (ROOT / path).exists()), None)

  def of(command: str) -> str | None:
    match documentation.words(command):
      case [
        "python" | "python3" | ".venv/bin/python" | ".venv-beam/bin/python",
        "-m",
        module,
        *rest,
      ]:
        return of_module(module, *rest)
      case ["python", "-c", source]:
        ast.parse(source)
      case ["python" | ".venv-beam/bin/python", script, *arguments]:
        return of_program(script, *arguments)
      case ["make", *arguments]:
        makefile = (ROOT / "Makefile").read_text()
        pattern = lambda word: rf"^{word.split('=')[0]} \?=" if "=" in word else rf"^{word}:"
        missing = [w for w in arguments if not re.search(pattern(w), makefile, re.MULTILINE)]
        return f"Makefile has no {missing[0]}" if missing else None
      case ["scripts/tpu_slice.sh" as script, _, _, action, *arguments]:
        if f"\n  {action})" not in (ROOT / script).read_text():
          return f"{script} has no {action}"
        return of_program("train.py", "--distributed", *arguments) if action == "train" else None
      case [".", ".venv/bin/activate"] | [".venv/bin/python"] | ["gcloud", *_] | [".ci/run"]:
        return None
      case other:
        return f"{other[0]} is no command that this test knows"

  return of


def check(problem, found: list[str]):
  """Fails with every command that has a problem."""
  wrong = {command: why for command in found if (why := problem(command))}
  assert not wrong, "\n".join(f"{command}\n    {why}" for command, why in wrong.items())


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_commands_of_a_page_exist_and_can_be_pasted(page, problem):
  text = page.read_text()
  languages = {found[1] for found in documentation.FENCE.finditer(text)}
  assert languages <= {"sh", "python", "text", "mermaid"}, "every block has a language"
  found = [c for _, block in documentation.blocks(text, "sh") for c in documentation.lines(block)]
  assert not {c: why for c in found if (why := documentation.not_pasteable(c))}
  starts = ("python ", "make ", ".venv/", ". .venv")
  check(problem, found + [span for span in documentation.spans(text) if span.startswith(starts)])


@pytest.mark.parametrize("path", CONFIGS, ids=named)
def test_a_config_says_how_it_is_trained(path, problem):
  found = documentation.docstring_commands(ast.get_docstring(ast.parse(path.read_text())))
  assert any(c.startswith("python train.py") and f"configs/{path.name}" in c for c in found)
  check(problem, found)


@pytest.mark.parametrize("path", SCRIPTS, ids=named)
def test_a_program_shows_an_example_that_it_accepts(path, problem):
  found = documentation.docstring_commands(ast.get_docstring(ast.parse(path.read_text())))
  assert found
  check(problem, found)


def test_every_command_of_sample_shows_an_example_that_it_accepts(problem, monkeypatch, capsys):
  _, text, _ = command_line.run(monkeypatch, capsys, "sample.py", "--help")
  found = documentation.docstring_commands(text)
  assert len(found) > 5
  check(problem, found)


@pytest.mark.parametrize(
  ("command", "word"),
  [
    ("python sample.py --promt=x", "promt"),
    ("python sample.py fill --image=a.png", "image"),
    ("python sample.py --sampler=euler", "euler"),
    ("python train.py --config=configs/t2i_huge.py", "t2i_huge"),
    ("python train.py --config=configs/t2i_tiny.py --config.train.steps=5", "train.steps"),
    ("python train.py --config=configs/t2i_tiny.py --config.train.num_steps=many", "num_steps"),
    ("python train.py extra --config=configs/t2i_tiny.py", "extra"),
    ("python -m lumiere.plans --config=configs/t2i_tiny.py", "plans"),
    ("python -m lumiere.plan --config=configs/t2i_tiny.py --costs=abstract", "costs"),
    ("python benchmarks/speed.py", "speed"),
    ("python benchmarks/random_kills.py --kill=3", "kill"),
    ("python -m pip install -e '.[gpu]'", "gpu"),
    ("python -m pytest tests/test_nothing.py", "test_nothing"),
    ("make tests", "tests"),
    ("scripts/tpu_slice.sh lumiere ZONE train --config=configs/nothing.py", "nothing"),
    ("pyhton train.py", "pyhton"),
  ],
)
def test_a_planted_mistake_in_a_command_is_found(command, word, problem):
  assert word in problem(command)


@pytest.mark.parametrize(
  ("command", "what"),
  [
    ("make demo  # ten minutes", "#"),
    ("python -m pip install -e .[web]", "["),
    ("python sample.py $M", "$"),
    ('python sample.py --prompt="$P"', "$"),
    ("python train.py --config.model.remat_levels=(0,1)", "("),
    ("python train.py '--config.model.remat_levels=(0,1)'", None),
    ('python sample.py --prompt="a (red) circle"', None),
  ],
)
def test_what_a_shell_would_read_otherwise_is_found(command, what):
  assert documentation.not_pasteable(command) == what


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_links_and_paths_of_a_page_exist(page):
  assert not dead_links(page, page.read_text())
  paths = [s for s in documentation.spans(page.read_text()) if re.fullmatch(r"[\w./-]+", s)]
  paths = [path for path in paths if "/" in path and path.split("/")[0] in PARTS]
  assert not [path for path in paths if not (ROOT / path).exists()]


def dead_links(page: pathlib.Path, text: str) -> list[str]:
  """Links to files that are not there, or to headings that they do not have."""
  dead = []
  for link in documentation.links(text):
    path, _, anchor = link.partition("#")
    target = (page.parent / path).resolve() if path else page
    if not target.exists():
      dead.append(link)
    elif anchor and anchor not in documentation.anchors(target.read_text()):
      dead.append(link)
  return dead


def test_a_planted_dead_link_is_found():
  text = "[a](docs/nothing.md), [b](docs/tpu.md#nothing), [c](docs/tpu.md#the-mesh), ![d](x.png)"
  assert dead_links(ROOT / "README.md", text) == ["docs/nothing.md", "docs/tpu.md#nothing", "x.png"]


def test_what_a_newcomer_looks_for_is_where_the_table_says():
  text = (ROOT / "docs" / "architecture.md").read_text()
  table = text.split("## Where is ...?")[1].split("\n## ")[0]
  rows = [row.split("|")[2:4] for row in table.splitlines() if "](" in row]
  assert len(rows) > 10
  for files, names in rows:
    paths = [ROOT / "docs" / link for link in documentation.links(files)]
    source = "\n".join(path.read_text() for path in paths)
    assert paths and documentation.spans(names)
    for name in documentation.spans(names):
      assert re.search(rf"\b(def |class |\.){name}\b", source), f"{name} is not in {files}"


def test_files_that_commands_take_are_those_that_others_wrote():
  text = "".join(page.read_text() for page in PAGES)
  written = {outputs.file_stem(index, prompt, 0) for index, prompt in enumerate(showcase.PROMPTS)}
  taken = set(re.findall(r"=out/demo/videos/(\w[\w-]*)\.mp4", text))
  assert taken and taken <= written
  prompts = re.findall(r'sample.py --prompt="(.*?)" --format=png --out=out/frames', text)
  taken = set(re.findall(r"=out/frames/(\w[\w-]*)\.png/", text))
  assert taken and taken == {outputs.file_stem(0, prompt, 0) for prompt in prompts}


def test_the_citation_names_the_version():
  citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
  version = SETUP["metadata"]["version"]
  assert citation["version"] == version
  assert f"## [{version}]" in (ROOT / "CHANGELOG.md").read_text()
