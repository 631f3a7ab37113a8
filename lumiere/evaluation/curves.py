"""Accuracy over steps as a picture: lines in [0, 1] with a grid, axes and a legend."""

from collections.abc import Mapping, Sequence

import numpy as np
from etils import epath
from PIL import Image, ImageDraw, ImageFont

from lumiere.data import frames

SIZE, MARGIN = (720, 400), (56, 20, 150, 36)  # left, top, right, bottom
INKS = (  # ten, for five fields of two splits
  *("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00"),
  *("#56b4e9", "#882255", "#6b8e23", "#8a5a44", "#555555"),
)


def draw(
  path: epath.PathLike, lines: Mapping[str, Sequence[tuple[float | int, float | int]]], x_title: str
):
  """Writes a picture of `lines`, points (x, share) by name; points come in the order of x.

  Raises:
    ValueError: if there is nothing to draw.
  """
  points = [point for line in lines.values() for point in line]
  if not points:
    raise ValueError("there is no point to draw")
  most = max(x for x, _ in points) or 1
  left, top, right, bottom = MARGIN
  width, height = SIZE[0] - left - right, SIZE[1] - top - bottom
  place = lambda x, y: (left + width * x / most, top + height * (1 - y))
  image = Image.new("RGB", SIZE, "white")
  canvas, font = ImageDraw.Draw(image), ImageFont.load_default(12)
  for tenth in range(0, 11, 2):
    canvas.line([place(0, tenth / 10), place(most, tenth / 10)], "#dddddd")
    _, y = place(0, tenth / 10)
    canvas.text((left - 8, y), f"{tenth * 10} %", "black", font, anchor="rm")
  for quarter in range(5):
    x, y = place(most * quarter / 4, 0)
    canvas.text((x, y + 6), f"{most * quarter / 4:g}", "black", font, anchor="mt")
  canvas.text((left + width, SIZE[1] - 4), x_title, "black", font, anchor="rb")
  for index, (name, line) in enumerate(lines.items()):
    ink = INKS[index % len(INKS)]
    places = [place(x, y) for x, y in line]
    canvas.line(places, ink, 2)
    for x, y in places:
      canvas.ellipse([x - 2, y - 2, x + 2, y + 2], ink)
    canvas.text((left + width + 12, top + 16 * index), name, ink, font)
  frames.write_image(path, np.asarray(image))
