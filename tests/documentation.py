"""What the documentation consists of: its files, fenced blocks, commands, links and headings."""

import pathlib
import re
import shlex

ROOT = pathlib.Path(__file__).parents[1]
PAGES = sorted(
  [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *ROOT.glob("docs/*.md")]
)
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(text: str, language: str) -> list[tuple[int, str]]:
  """(line, content) of the fenced blocks in a language."""
  return [
    (text.count("\n", 0, found.start(2)) + 1, found[2])
    for found in FENCE.finditer(text)
    if found[1] == language
  ]


def prose(text: str) -> str:
  """The text without fenced blocks."""
  return FENCE.sub("", text)


def spans(text: str) -> list[str]:
  """What stands in backticks outside of fenced blocks."""
  return re.findall(r"`([^`\n]+)`", prose(text))


def lines(block: str) -> list[str]:
  """The commands of a shell block; a backslash at the end continues a line."""
  return [line.strip() for line in block.replace("\\\n", " ").splitlines() if line.strip()]


def docstring_commands(text: str) -> list[str]:
  """The command lines in a docstring or in a --help text, with optional flags and without remarks in parentheses."""
  found = re.findall(r"^ *(python .*)$", text.replace("\\\n", " "), re.MULTILINE)
  return [re.sub(r"\s{2,}\(.*", "", line).replace("[", "").replace("]", "") for line in found]


def words(command: str) -> list[str]:
  """A command as a shell splits it, without settings of environment variables before it."""
  split = shlex.split(command)
  while split and re.fullmatch(r"[A-Z_]+=.*", split[0]):
    split.pop(0)
  return split


def not_pasteable(command: str) -> str | None:
  """What bash or zsh would not read as it stands: globs, variables and comments outside of quotes."""
  bare = re.sub(r"'[^']*'", "", command)
  for part in re.findall(r'"[^"]*"', bare):
    if found := re.search(r"[$`!]", part):
      return found[0]
  found = re.search(r"[][*?{}()<>~$!|;&`#]", re.sub(r'"[^"]*"', "", bare))
  return found[0] if found else None


def links(text: str) -> list[str]:
  """Targets of links and pictures that lie in the repository."""
  targets = re.findall(r"\]\(([^()\s]+)\)", prose(text))
  return [target for target in targets if not re.match(r"[a-z]+:", target)]


def anchors(text: str) -> set[str]:
  """What the headings of a page are called in links."""
  titles = re.findall(r"^#+ (.+)$", prose(text), re.MULTILINE)
  return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}
