"""What a clip of 80 frames takes on disk, in several forms, and how fast one core reads it at the sizes of the stages.

python -m lumiere.fetch --what=footage
python benchmarks/stored_clips.py

The clip is five seconds of Big Buck Bunny, 1280x720. For super-resolution to 1024 pixels it is enlarged to 1820x1024, which encodes
better than true detail would. All that a loader does with a clip is counted: it is decoded, cropped to a square and averaged.
"""

import io
import time
from collections.abc import Callable

import av
import numpy as np
from av.video.reformatter import Colorspace
from PIL import Image

from lumiere import cli

NUM_FRAMES, FPS, RUN = 80, 16, 16
SIDES = (128, 720, 1024)  # shorter sides that clips are stored at
SIZES = (64, 128, 1024)  # that the stages read


def main():
  """Encodes, decodes, and prints two tables in Markdown."""
  import cv2

  from lumiere import user_cache
  from lumiere.data import frames
  from lumiere.data.curation import records
  from lumiere.data.frames import encoded

  cv2.setNumThreads(1)
  path = user_cache.folder() / "footage" / "bigbuckbunny.mp4"
  if not path.exists():
    raise ValueError(f"{path} is missing: python -m lumiere.fetch --what=footage")
  reader = records.Reader(path)
  source = [reader.at(index / FPS) for index in range(NUM_FRAMES)]
  whole = dict.fromkeys(("top", "bottom", "left", "right"), 0.0)
  pictures = {side: [records.framed(f, whole, side) for f in source] for side in SIDES[:2]}
  pictures[1024] = [cv2.resize(f, (1820, 1024), interpolation=cv2.INTER_CUBIC) for f in source]

  forms = {
    "H.264, crf 18": (lambda v: encoded.encode(v, FPS, 18), encoded.decode),
    "H.264, crf 23": (lambda v: encoded.encode(v, FPS, 23), encoded.decode),
    "WebP frames, quality 90": (webp, webp_decoded),
    "AV1, crf 24": (av1, encoded.decode),
  }
  print(
    "| stored as | side | kB a clip | PSNR | seconds to encode | "
    + " | ".join(f"read at {s}" for s in SIZES)
    + " | 16 frames at 128 |"
  )
  print("| --- |" + " --- |" * (5 + len(SIZES)))
  for side, video in pictures.items():
    raw = sum(frame.nbytes for frame in video)
    print(f"| raw | {side} | {raw / 1e3:.0f} | | | " + " | " * len(SIZES) + "|")
    for name, (encode, decode) in forms.items():
      begun = time.process_time()
      content = encode(video)
      spent = time.process_time() - begun
      size = len(content) if isinstance(content, bytes) else sum(map(len, content))
      error = np.mean(
        [
          np.square(a.astype(np.float32) - b).mean()
          for a, b in zip(decode(content, 0, NUM_FRAMES), video, strict=True)
        ]
      )
      cells = [rate(decode, content, frames.fit, s, NUM_FRAMES) if s <= side else "" for s in SIZES]
      cells.append(rate(decode, content, frames.fit, 128, RUN))
      psnr = 10 * np.log10(255**2 / error)
      print(
        f"| {name} | {side} | {size / 1e3:.0f} | {psnr:.1f} | {spent:.1f} | "
        + " | ".join(cells)
        + " |",
        flush=True,
      )


def rate(decode: Callable, content, fit: Callable, size: int, count: int) -> str:
  """Clips, or runs of `count` frames of them, that one core reads in a second."""
  starts = np.random.default_rng(0).integers(0, NUM_FRAMES - count + 1, 3)
  begun = time.process_time()
  for start in starts.tolist():
    for frame in decode(content, start, start + count):
      fit(frame, size)
  return f"{len(starts) / (time.process_time() - begun):.1f}"


def av1(video) -> bytes:
  """By SVT-AV1, with a key frame every 8 frames, as `encoded.encode` has them."""
  from lumiere.data.frames import pixels

  buffer = io.BytesIO()
  with av.open(buffer, "w", format="mp4") as container:
    stream = container.add_stream("libsvtav1", rate=FPS)
    stream.height, stream.width = video[0].shape[:2]
    stream.pix_fmt = "yuv420p"
    stream.options = {"crf": "24", "preset": "8", "svtav1-params": "keyint=8:lp=1"}
    # The matrix that readers take for granted in an untagged file.
    matrix = Colorspace.ITU709 if stream.height >= pixels.HD_ROWS else Colorspace.ITU601
    for frame in video:
      packed = av.VideoFrame.from_ndarray(frame, format="rgb24")
      packed = packed.reformat(format="yuv420p", dst_colorspace=matrix, interpolation="AREA")
      container.mux(stream.encode(packed))
    container.mux(stream.encode(None))
  return buffer.getvalue()


def webp(video) -> list[bytes]:
  """Each frame as a picture."""
  files = []
  for frame in video:
    file = io.BytesIO()
    Image.fromarray(frame).save(file, "WEBP", quality=90)
    files.append(file.getvalue())
  return files


def webp_decoded(content: list[bytes], first: int, last: int):
  """As `encoded.decode`."""
  for file in content[first:last]:
    yield np.asarray(Image.open(io.BytesIO(file)).convert("RGB"))


if __name__ == "__main__":
  cli.run(main)
