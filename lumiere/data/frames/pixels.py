"""A decoded frame of a video -> pixels as a player shows them."""

from fractions import Fraction

import av
import numpy as np
from av.video.reformatter import Colorspace
from jaxtyping import UInt8
from PIL import Image

from lumiere.data.frames import hdr
from lumiere.data.frames.arrays import turn
from lumiere.data.frames.pictures import over_black

# Tags of a matrix (ISO/IEC 23091-2) that FFmpeg's scaler converts from.
_MATRICES = (1, 4, 5, 6, 7, 9)
# Rows from which on an untagged video is taken for BT.709.
HD_ROWS = 720
# Pixels that are more oblong than this are taken for a damaged header.
_MAX_ASPECT = 8


def to_rgb(
  frame: av.VideoFrame,
  aspect: Fraction | None = None,
  orientation: tuple[bool, bool, bool] = (False, False, False),
  name: str = "",
) -> UInt8[np.ndarray, "h w 3"]:
  """The pixels of a frame: R'G'B' in full range, square, upright, over black where it is transparent.

  The matrix and the range are those of the frame's tags. Without a tag, or with one that is not known, the matrix is BT.709
  from 720 rows on and BT.601 below, and the range is limited. HDR (PQ, HLG) becomes BT.709; what is brighter than its
  reference white is white.

  Args:
    frame: as it was decoded.
    aspect: width over height of its pixels; None or 0: square.
    orientation: arguments of `turn` that show it upright.
    name: of the file, for the log.
  """
  options = {"threads": 1}
  if not frame.format.is_rgb and frame.colorspace not in _MATRICES:
    options["src_colorspace"] = Colorspace.ITU709 if frame.height >= HD_ROWS else Colorspace.ITU601
  if frame.color_trc in hdr.TRANSFERS:
    pixels = hdr.to_sdr(frame.to_ndarray(format="rgb48le", **options), frame.color_trc)
  elif frame.format.has_palette or any(part.is_alpha for part in frame.format.components):
    rgba = frame.to_ndarray(format="rgba", **options)
    pixels = over_black(rgba[..., :3], rgba[..., 3], name)
  else:
    pixels = frame.to_ndarray(format="rgb24", **options)
  if aspect and aspect != 1 and 1 / _MAX_ASPECT <= aspect <= _MAX_ASPECT:
    pixels = _square(pixels, aspect)
  return np.ascontiguousarray(turn(pixels, *orientation))


def thumbnail(
  frame: av.VideoFrame,
  aspect: Fraction | None = None,
  orientation: tuple[bool, bool, bool] = (False, False, False),
  side: int = 64,
) -> UInt8[np.ndarray, "h w 3"]:
  """A frame in small, its shorter side `side` pixels: area-averaged, upright, of square pixels.

  Quick: colours are converted with FFmpeg's defaults, HDR and transparency are not heeded. Arguments as for `to_rgb`.
  """
  height, width = shown_size(frame, aspect)
  scale = side / min(height, width)
  small = frame.reformat(
    width=max(round(width * scale), 1),
    height=max(round(height * scale), 1),
    format="rgb24",
    interpolation="AREA",
    threads=1,
  )
  return np.ascontiguousarray(turn(small.to_ndarray(), *orientation))


def shown_size(
  frame: av.VideoFrame,
  aspect: Fraction | None = None,
  orientation: tuple[bool, bool, bool] = (False, False, False),
) -> tuple[int, int]:
  """(height, width) of what `to_rgb` returns."""
  height, width = frame.height, frame.width
  if aspect and aspect != 1 and 1 / _MAX_ASPECT <= aspect <= _MAX_ASPECT:
    height, width = _square_size(height, width, aspect)
  return (width, height) if orientation[0] else (height, width)


def _square_size(height: int, width: int, aspect: Fraction) -> tuple[int, int]:
  return (height, round(width * aspect)) if aspect > 1 else (round(height / aspect), width)


def _square(pixels: UInt8[np.ndarray, "h w 3"], aspect: Fraction) -> UInt8[np.ndarray, "h2 w2 3"]:
  """Oblong pixels made square; the side that has too few of them grows."""
  height, width = _square_size(*pixels.shape[:2], aspect)
  return np.asarray(Image.fromarray(pixels).resize((width, height), Image.Resampling.BILINEAR))


def orientation_of(frame: av.VideoFrame) -> tuple[bool, bool, bool]:
  """Arguments of `turn` that do what the frame's display matrix says, to the next quarter turn.

  The matrix (a b u; c d v; x y w) sends a stored pixel's place (p, q) to (a p + c q + x, b p + d q + y). Not for every frame:
  its side data and the frame hold each other, and stay until Python collects its garbage.
  """
  try:
    data = frame.side_data.get("DISPLAYMATRIX")
  except (
    ValueError
  ):  # PyAV fails on kinds of side data that it does not know; the angle it always gives
    quarters = round(frame.rotation / 90) % 4
    return (quarters % 2 == 1, quarters in (2, 3), quarters in (1, 2))
  if data is None:
    return (False, False, False)
  a, b, _, c, d = np.frombuffer(data, np.int32)[:5].astype(int)
  if abs(a) + abs(d) >= abs(b) + abs(c):
    return (False, bool(a < 0), bool(d < 0))
  return (True, bool(c < 0), bool(b < 0))
