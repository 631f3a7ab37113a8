"""The open Lumiere: text to video. `python -m lumiere` lists its commands.

python train.py --config=configs/stunet_base.py     trains a stage
python sample.py --prompt="a red circle"            generates videos
"""

import ast
import importlib.resources

COMMANDS = ("convert", "curate", "doctor", "embed", "evaluate", "fetch", "plan", "release", "web")


def about(command: str) -> str:
  """The first line of a command's docstring, read without importing it."""
  folder = importlib.resources.files("lumiere")
  path = folder / f"{command}.py"
  path = path if path.is_file() else folder / command / "__main__.py"
  return ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))).splitlines()[0]


if __name__ == "__main__":
  print(__doc__)
  for command in COMMANDS:
    print(f"python -m lumiere.{command:<10} {about(command)}")
  print("\nEach has --help, with an example.")
