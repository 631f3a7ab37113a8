"""Draws captioned images in a style, moving shapes as a mosaic: the data of configs/t2i_style_tiny.py.

python scripts/style_pictures.py --out=pictures
"""

import csv
import pathlib
import sys

import numpy as np
from absl import flags

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))

from lumiere import cli  # noqa: E402  (runs from anywhere)


def main():
  """Draws `--count` images and writes their captions."""
  draw(pathlib.Path(flags.FLAGS.out), flags.FLAGS.count)


def draw(folder: pathlib.Path, count: int = 24, size: int = 64, seed: int = 11):
  """Writes images and captions.csv; raises ValueError if `count` is less than 2."""
  from lumiere.data import frames
  from lumiere.data.moving_shapes import random_scene, render
  from lumiere.data.moving_shapes.captions import write_caption
  from lumiere.data.moving_shapes.mosaic import mosaic

  if count < 2:
    raise ValueError(f"--count={count} must be 2 or more")
  folder.mkdir(parents=True, exist_ok=True)
  rng = np.random.default_rng(seed)
  with (folder / "captions.csv").open("w", newline="") as file:
    rows = csv.writer(file)
    rows.writerow(("file", "caption"))
    for index in range(count):
      scene = random_scene(rng, duration=0.0)
      picture = frames.to_uint8(render(scene, 1, 8, size))[0]
      frames.write_image(folder / f"{index:02d}.png", mosaic(picture))
      rows.writerow((f"{index:02d}.png", write_caption(scene, rng)))


if __name__ == "__main__":
  flags.DEFINE_string("out", "pictures", "Folder to write to.")
  flags.DEFINE_integer("count", 24, "Number of images.")
  cli.run(main)
