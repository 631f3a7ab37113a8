"""Pictures of videos: contact sheets and slices along time."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw

from lumiere.data.frames.arrays import enlarge


def contact_sheet(
  videos: Sequence[UInt8[np.ndarray, "_t _h _w 3"]],
  captions: Sequence[str] = (),
  columns: int = 8,
  side: int = 96,
) -> UInt8[np.ndarray, "h2 w2 3"]:
  """A picture of videos: one a row, frames at equal distances from first to last, captions above.

  Args:
    videos: any number, of any lengths.
    captions: one a video, or none.
    columns: most frames of a row.
    side: smallest side of a frame on the sheet.
  """
  rows = []
  for index, video in enumerate(videos):
    picked = np.linspace(0, len(video) - 1, min(columns, len(video))).round().astype(int)
    frames = np.pad(
      enlarge(video[picked], side), [(0, 0), (1, 1), (1, 1), (0, 0)], constant_values=255
    )
    row = np.concatenate(list(frames), axis=1)
    if captions:
      row = np.concatenate([_text(captions[index], row.shape[1]), row])
    rows.append(row)
  width = max(row.shape[1] for row in rows)
  padding = [[(0, 0), (0, width - row.shape[1]), (0, 0)] for row in rows]
  return np.concatenate(
    [np.pad(row, pad, constant_values=255) for row, pad in zip(rows, padding, strict=True)]
  )


def _text(line: str, width: int, height: int = 16) -> UInt8[np.ndarray, "h w 3"]:
  image = Image.new("RGB", (width, height), "white")
  # The built-in font knows Latin-1 only.
  line = line.encode("latin-1", "replace").decode("latin-1")
  ImageDraw.Draw(image).text((3, 1), line, fill="black")
  return np.asarray(image)


def xt_slice(
  video: UInt8[np.ndarray, "t h w 3"], min_side: int = 256
) -> UInt8[np.ndarray, "t2 w2 3"]:
  """The middle row of every frame, time running down: smooth motion is smooth lines, a seam is a step."""
  return enlarge(video[:, video.shape[1] // 2], min_side)
