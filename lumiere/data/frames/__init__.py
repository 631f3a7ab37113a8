"""Frames to and from the outside: read, resize, write. The only place where frames are uint8.

Inside the project videos are float in [-1, 1]; `to_float` and `to_uint8` are the border.
"""

from lumiere.data.frames.arrays import (
  area_resize,
  enlarge,
  fit,
  middle,
  to_float,
  to_uint8,
)
from lumiere.data.frames.decoding import DamagedError
from lumiere.data.frames.pictures import UnreadableError, read_image
from lumiere.data.frames.sheets import contact_sheet, xt_slice
from lumiere.data.frames.videos import Shown, first_frame, read_mask, read_video, shown
from lumiere.data.frames.writing import FORMATS, check_format, write_bytes, write_image, write_video

__all__ = [
  "DamagedError",
  "FORMATS",
  "Shown",
  "UnreadableError",
  "area_resize",
  "middle",
  "check_format",
  "contact_sheet",
  "enlarge",
  "first_frame",
  "fit",
  "read_image",
  "read_mask",
  "read_video",
  "shown",
  "to_float",
  "to_uint8",
  "write_bytes",
  "write_image",
  "write_video",
  "xt_slice",
]
