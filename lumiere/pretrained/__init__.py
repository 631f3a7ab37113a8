"""The models that ship with the package, small ones of the world of moving shapes, as releases.

base/           text to video with known pixels, 16 frames of 32x32 pixels at 8 fps
ssr/            video super-resolution to 128x128 pixels
styles/NAME/    image models in a style, of the base's shape

scripts/train_release.py makes them. Programs use them where no workdir is given.
"""

import importlib.resources

from etils import epath

FOLDER = epath.Path(importlib.resources.files(__name__))
BASE, SSR, STYLES = FOLDER / "base", FOLDER / "ssr", FOLDER / "styles"


def cascade_of(workdir: str | None, ssr_workdir: str | None) -> tuple[str, str | None]:
  """(base, super-resolution or None) of a program's flags; says so if they are the models that ship.

  Args:
    workdir: of the base; None is the base that ships.
    ssr_workdir: of super-resolution. None is the one that ships, if the base is, and else none; an empty string is none.

  Raises:
    ValueError: if `workdir` is an empty string.
  """
  if workdir == "":
    raise ValueError("--workdir is empty: give a workdir or a release, or leave the flag out")
  if workdir is not None:
    return workdir, ssr_workdir or None
  print(
    "no --workdir: using the model that ships with the package, which knows moving shapes such as "
    '"a red circle bounces on navy"'
  )
  return str(BASE), str(SSR) if ssr_workdir is None else ssr_workdir or None


def style_of(style: str | None) -> str | None:
  """The path of a style that ships, if `style` is the name of one; else `style` itself."""
  if style and not epath.Path(style).exists() and style in styles():
    return str(STYLES / style)
  return style


def styles() -> list[str]:
  """Names of the styles that ship."""
  return sorted(path.name for path in STYLES.iterdir()) if STYLES.exists() else []
