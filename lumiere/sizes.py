"""Height and width of frames, in pixels: what users write as a side, a pair or text is a pair inside.

32        32x32
(24, 40)  24 rows of 40 pixels
"24x40"   the same, as flags and messages have it
"""

import itertools
import math
import re
from collections.abc import Sequence

Size = tuple[int, int]


def size_of(value: int | Sequence[int], name: str = "size") -> Size:
  """(height, width) of a side or of a pair; raises ValueError, which names it, if it is neither."""
  pair = (value, value) if isinstance(value, int) else tuple(value)
  if len(pair) != 2 or not all(isinstance(side, int) and side >= 1 for side in pair):
    raise ValueError(f"{name}={value} must be a side or (height, width), of 1 pixel or more")
  return pair


def read(text: str, name: str) -> Size:
  """(height, width) of "24x40" or "32"; raises ValueError, which names the flag."""
  found = re.fullmatch(r"(\d+)(?:[xX](\d+))?", text.strip())
  if found is None or "0" in (
    sides := [side.lstrip("0") or "0" for side in found.groups() if side]
  ):
    raise ValueError(
      f"{name}={text} must be HEIGHTxWIDTH or a side in pixels, such as 96x160 or 128"
    )
  return int(sides[0]), int(sides[-1])


def as_text(size: Size) -> str:
  """As `read` takes it."""
  return f"{size[0]}x{size[1]}"


def divided(size: Size, factor: int) -> Size:
  """That of frames reduced by a whole factor."""
  return size[0] // factor, size[1] // factor


def check_multiple(name: str, size: Size, multiple: int):
  """Raises ValueError, which names the nearest sizes, unless height and width are multiples of a number."""
  if size[0] % multiple or size[1] % multiple:
    sides = [
      sorted({max(side // multiple, 1) * multiple, -(-side // multiple) * multiple})
      for side in size
    ]
    nearest = sorted(itertools.product(*sides), key=lambda other: math.dist(size, other))
    raise ValueError(
      f"{name}={as_text(size)}: height and width must be multiples of {multiple}; the nearest are "
      f"{' and '.join(map(as_text, nearest[:2]))}"
    )


def kept(source: Size, size: Size) -> Size:
  """The largest part of `source` that has the shape of `size`, in whole pixels."""
  (rows, columns), (height, width) = source, size
  return (
    min(rows, max(1, round(columns * height / width))),
    min(columns, max(1, round(rows * width / height))),
  )


def cut_off(source: Size, size: Size) -> float:
  """The share of a picture that is cut off, in [0, 1), where its middle gets another shape."""
  ratio = source[0] * size[1] / (source[1] * size[0])
  return 1 - min(ratio, 1 / ratio)


def nearest_shape(source: Size, sizes: Sequence[Size]) -> Size:
  """The one of which the least of a picture is cut off; of several, the largest."""
  return min(sizes, key=lambda size: (cut_off(source, size), -size[0] * size[1]))


def of_like_area(size: Size, multiple: int) -> list[Size]:
  """Sizes of whole multiples and about the area of `size`, from four times as high as wide to the contrary."""
  area = size[0] * size[1]
  sides = range(multiple, 2 * math.isqrt(area) + multiple + 1, multiple)
  return [
    (height, width)
    for height, width in itertools.product(sides, sides)
    if max(height, width) <= 4 * min(height, width) and 0.8 * area <= height * width <= 1.25 * area
  ]
