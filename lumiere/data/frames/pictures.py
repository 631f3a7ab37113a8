"""Picture files, read as a viewer shows them: upright, in sRGB, over black where they are transparent."""

import functools
import io
import os
import warnings
from typing import BinaryIO

import numpy as np
from absl import logging
from etils import epath
from jaxtyping import UInt8
from PIL import ExifTags, Image, ImageCms, UnidentifiedImageError

from lumiere.data import archives
from lumiere.data.frames.arrays import turn

# Those that a file's first bytes tell from videos.
FORMATS = ("AVIF", "BMP", "GIF", "JPEG", "JPEG2000", "MPO", "PNG", "PPM", "TIFF", "WEBP")

# EXIF orientation -> arguments of `turn`.
_TURNS = {
  2: (False, True, False),
  3: (False, True, True),
  4: (False, False, True),
  5: (True, False, False),
  6: (True, True, False),
  7: (True, True, True),
  8: (True, False, True),
}


class UnreadableError(ValueError):
  """A file gives no picture; the message is the reason, for the user."""


def read_image(path: epath.PathLike) -> UInt8[np.ndarray, "h w 3"]:
  """A picture file as a viewer shows it; of an animation the first frame.

  It is turned as its camera says, converted to sRGB if it has a colour profile, and shown over black where it is
  transparent. More than 8 bits are scaled to 0..255; white is 65535 in 16 bits, and in pictures of floats or of 32 bits the
  smallest of 1, 255 and 65535 that none of their values exceeds.

  Raises:
    ValueError: if it cannot be read; says why.
  """
  try:
    with open_file(path) as file:
      image = identify(file)
      if image is None:
        raise UnreadableError(f"no picture in it; one of {', '.join(FORMATS)} is needed")
      return to_rgb(image, str(path))
  except UnreadableError as error:
    raise ValueError(f"{path} cannot be read as a picture: {error}") from error


def open_file(path: epath.PathLike) -> BinaryIO:
  """Opens a file to be read, be it in an archive or not.

  Raises:
    UnreadableError: if that is not possible, in words that fit the reason.
  """
  try:
    of = archives.member(path)
    path = epath.Path(path)
    if of is None and path.is_dir():
      raise UnreadableError("it is a folder")
    if of is None and os.path.exists(path) and not os.path.isfile(path):
      raise UnreadableError("it is not a regular file")
    file = path.open("rb") if of is None else archives.open_member(of)
  except FileNotFoundError as error:
    raise UnreadableError("no such file") from error
  except OSError as error:
    raise UnreadableError((error.strerror or str(error)).lower()) from error
  if not file.read(1):
    file.close()
    raise UnreadableError("it is empty")
  file.seek(0)
  return file


def identify(file: BinaryIO) -> Image.Image | None:
  """A picture or animation of which only the header is read; None if it is neither.

  Raises:
    UnreadableError: if it is one that cannot be read.
  """
  Image.init()
  try:
    with warnings.catch_warnings():
      # Pillow warns at half of what it refuses.
      warnings.simplefilter("ignore", Image.DecompressionBombWarning)
      return Image.open(file, formats=[name for name in FORMATS if name in Image.OPEN])
  except UnidentifiedImageError:
    file.seek(0)
    head = file.read(12)
    if head[4:8] == b"ftyp" and head[8:12] in (b"heic", b"heix", b"mif1"):
      raise UnreadableError("HEIC pictures are not supported; convert it to JPEG or PNG") from None
    return None
  except Image.DecompressionBombError as error:
    limit = 2 * Image.MAX_IMAGE_PIXELS
    raise UnreadableError(
      f"a decompression bomb? It has more than {limit / 1e6:.0f} million pixels"
    ) from error
  except Exception as error:  # Pillow does not say what its readers raise on damaged files
    raise UnreadableError(f"damaged, or of a kind that is not supported ({error})") from error


def to_rgb(image: Image.Image, name: str) -> UInt8[np.ndarray, "h w 3"]:
  """The pixels of a picture, or of an animation's present frame, as `read_image` describes them.

  Args:
    image: what `identify` gave.
    name: of the file, for the log.

  Raises:
    UnreadableError: if it is damaged.
  """
  try:
    image.load()
    if image.mode.startswith(("I", "F")):
      shades = _scaled(np.asarray(image), image.mode)
      if (key := image.info.get("transparency")) is not None:
        shades[np.asarray(image) == key] = 0
      pixels = np.repeat(shades[..., None], 3, axis=-1)
    elif image.has_transparency_data:
      image_rgba = image.convert("RGBA")
      colours = _to_srgb(image_rgba.convert("RGB"), image.info.get("icc_profile"))
      pixels = over_black(np.asarray(colours), np.asarray(image_rgba.getchannel("A")), name)
    else:
      pixels = np.asarray(_to_srgb(image, image.info.get("icc_profile")))
  except Exception as error:  # see identify
    raise UnreadableError(f"damaged, or of a kind that is not supported ({error})") from error
  return np.ascontiguousarray(turn(pixels, *_TURNS.get(_orientation(image), (False,) * 3)))


def thumbnail(picture: UInt8[np.ndarray, "h w 3"], side: int) -> UInt8[np.ndarray, "h2 w2 3"]:
  """A picture in small, its shorter side `side` pixels, area-averaged."""
  height, width = picture.shape[:2]
  scale = side / min(height, width)
  size = (max(round(width * scale), 1), max(round(height * scale), 1))
  return np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.BOX))


def over_black(
  colours: UInt8[np.ndarray, "h w 3"], alpha: UInt8[np.ndarray, "h w"], name: str
) -> UInt8[np.ndarray, "h w 3"]:
  """Colours over a black background; one that its alpha hides leaves no trace.

  Args:
    colours: not multiplied by alpha.
    alpha: 0 is transparent, 255 opaque.
    name: of the file, for the log.
  """
  if (alpha == 255).all():
    return colours
  _say_transparent(name)
  return ((colours.astype(np.uint16) * alpha[..., None] + 127) // 255).astype(np.uint8)


@functools.lru_cache(maxsize=4096)
def _say_transparent(name: str):
  """Logs it once for a file."""
  logging.info("%s is transparent in places; black is shown there", name)


def _scaled(values: np.ndarray, mode: str) -> UInt8[np.ndarray, "h w"]:
  """Values of more than 8 bits -> 0..255."""
  values = np.nan_to_num(values.astype(np.float64))
  white = 65535
  if not mode.startswith("I;16"):
    whites = (1, 255, 65535) if mode == "F" else (255, 65535)
    white = next((each for each in whites if values.max() <= each), values.max())
  return np.rint(values.clip(0, white) * (255 / white)).astype(np.uint8)


def _to_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
  """A picture without transparency in RGB, by its colour profile if it has one that can be used."""
  if profile:
    source = image if image.mode in ("RGB", "L", "CMYK") else image.convert("RGB")
    try:
      space = ImageCms.ImageCmsProfile(io.BytesIO(profile))
      if "sRGB" not in ImageCms.getProfileDescription(space):
        return ImageCms.profileToProfile(
          source, space, ImageCms.createProfile("sRGB"), outputMode="RGB"
        )
    except (ImageCms.PyCMSError, OSError):
      pass  # viewers ignore profiles that are damaged or of another kind of picture
  return image.convert("RGB")


def _orientation(image: Image.Image) -> int:
  try:
    return image.getexif().get(ExifTags.Base.Orientation, 1)
  except Exception:  # viewers ignore damaged EXIF
    return 1
