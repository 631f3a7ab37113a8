"""Draws captioned images in a style, moving shapes before a sunset: the data of configs/t2i_style_tiny.py.

python scripts/style_pictures.py --out=pictures
"""

import csv
import dataclasses
import pathlib
import sys

import numpy as np
from absl import flags

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))

from lumiere import cli  # noqa: E402  (runs from anywhere)

SKY = ((70, 20, 110), (255, 130, 40))  # from top to bottom


def main():
  """Draws `--count` images and writes their captions."""
  draw(pathlib.Path(flags.FLAGS.out), flags.FLAGS.count)


def draw(folder: pathlib.Path, count: int = 24, size: int = 64, seed: int = 11):
  """Writes images and captions.csv; raises ValueError if `count` is less than 2."""
  from lumiere.data import frames
  from lumiere.data.moving_shapes import random_scene, render
  from lumiere.data.moving_shapes.captions import write_caption
  from lumiere.data.moving_shapes.scene import BACKGROUNDS

  if count < 2:
    raise ValueError(f"--count={count} must be 2 or more")
  folder.mkdir(parents=True, exist_ok=True)
  rng = np.random.default_rng(seed)
  share = np.linspace(0, 1, size)[:, None, None]
  sky = np.broadcast_to((1 - share) * SKY[0] + share * SKY[1], (size, size, 3))
  with (folder / "captions.csv").open("w", newline="") as file:
    rows = csv.writer(file)
    rows.writerow(("file", "caption"))
    for index in range(count):
      scene = random_scene(rng, duration=0.0)
      # The same thing before two backgrounds: what of them shows through is what it does not cover.
      dark, light = (
        frames.to_uint8(render(dataclasses.replace(scene, background=name), 1, 8, size))[0].astype(
          float
        )
        for name in ("black", "gray")
      )
      through = (light - dark) / BACKGROUNDS["gray"][0]
      picture = np.clip(dark + through * sky, 0, 255).round().astype(np.uint8)
      frames.write_image(folder / f"{index:02d}.png", picture)
      rows.writerow((f"{index:02d}.png", write_caption(scene, rng)))


if __name__ == "__main__":
  flags.DEFINE_string("out", "pictures", "Folder to write to.")
  flags.DEFINE_integer("count", 24, "Number of images.")
  cli.run(main)
