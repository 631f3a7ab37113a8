"""Draws a contact sheet with a row for each application, all from one checkpoint.

python scripts/applications_sheet.py
python scripts/applications_sheet.py --workdir=runs/stunet_masked_tiny --ssr_workdir=runs/ssr_tiny --style=runs/t2i_style_tiny
"""

import pathlib

import numpy as np
from absl import flags

from lumiere import cli


def main():
  """Makes a video for each application and writes applications.png."""
  from lumiere import Cascade, pretrained
  from lumiere.data import frames

  values = flags.FLAGS
  cascade = Cascade.restore(*pretrained.cascade_of(values.workdir, values.ssr_workdir))
  rows = make_rows(cascade, cascade.restyle(pretrained.style_of(values.style), 0.75))
  pathlib.Path(values.out).mkdir(parents=True, exist_ok=True)
  sheet = frames.contact_sheet([videos[0] for videos in rows.values()], list(rows))
  frames.write_image(pathlib.Path(values.out) / "applications.png", sheet)


def make_rows(cascade, style) -> dict[str, np.ndarray]:
  """Title -> one video [1 t h w 3] for each application."""
  from lumiere.data import frames
  from lumiere.data.moving_shapes import Scene, Thing, render

  count, (height, width) = cascade.num_frames, cascade.resolution
  thing = Thing("circle", "red", "right", "slow", (0.32, 0.5), 0.36)
  clip = frames.to_uint8(render(Scene((thing,), "black"), count, 8, (height, width)))
  prompt, other = (
    "a red circle moves right slowly on black",
    "a green circle moves right slowly on navy",
  )
  half = np.zeros((height, width), bool)
  half[:, : width // 2] = True
  hole, around = np.zeros((count, height, width), bool), np.ones((1, height, width), bool)
  hole[count // 4 : -count // 4, height // 8 : -height // 8, width // 8 : -width // 8] = True
  around[:, height // 5 : -height // 5] = False
  hidden = np.where(hole[..., None], 128, clip).astype(np.uint8)
  two = {
    0: "a cyan square bounces slowly on black",
    count: "a magenta circle bounces slowly on black",
  }
  return {
    f"text-to-video: {prompt}": cascade.generate([prompt]),
    "image-to-video: the first frame is given": cascade.animate([prompt], [clip[0]]),
    "first and last frame are given": cascade.animate([prompt], [clip[0], clip[-1]], at=(0, -1)),
    "cinemagraph: only the left half moves": cascade.animate([prompt], [clip[0]], moving=half),
    "inpainting: the input, gray where it is hidden": hidden[None],
    "inpainting: the result": cascade.fill([prompt], clip, hole),
    "outpainting: above and below are generated": cascade.fill([prompt], clip, around),
    f"video-to-video, strength 0.7: {other}": cascade.edit([other], clip, strength=0.7),
    "style, strength 0.75, on gray": style.generate([prompt.replace("black", "gray")]),
    "twice as long, two prompts: a cyan square, then a magenta circle": cascade.extend(
      [two], 2 * count
    ),
  }


if __name__ == "__main__":
  flags.DEFINE_string(
    "workdir", None, "Run or release of a conditional base; default: the model that ships."
  )
  flags.DEFINE_string("ssr_workdir", None, "Run or release of super-resolution.")
  flags.DEFINE_string(
    "style", "mosaic", "Run or release of a style, or the name of one that ships."
  )
  flags.DEFINE_string("out", "out", "Folder for applications.png.")
  cli.run(main)
