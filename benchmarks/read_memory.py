"""Memory that reading a video takes, against how long it is.

python benchmarks/read_memory.py [--seconds=5 --seconds=30] [--size=64] [--keep]

Makes 1080p videos and masks of each length, reads each in a process of its own at 8 frames per second, fitted to SIZE, and
prints the peak of that process's memory over that of one that only imports. With --keep frames are kept at their own size,
as they are without a `fit`.
"""

import functools
import json
import pathlib
import resource
import subprocess
import sys
import tempfile

import numpy as np
from absl import flags

from lumiere import cli

_SECONDS = flags.DEFINE_multi_float("seconds", [5, 10, 30], "Lengths of the videos.")
_SIZE = flags.DEFINE_integer("size", 64, "Side of the fitted frames.")
_KEEP = flags.DEFINE_bool("keep", False, "Keep frames at their own size.")
_READ = flags.DEFINE_list("read", None, "KIND,FILE: reads it and prints a line of JSON.")

FPS = 8
MIB = 2**20


def main():
  """Reads one file, or makes files of each length and prints the table."""
  if _READ.value is not None:
    print(json.dumps(measure(*_READ.value)))
    return
  baseline = run("nothing", "")["peak"]
  print("source               at full size   result      peak, video   peak, mask")
  with tempfile.TemporaryDirectory() as name:
    for seconds in _SECONDS.value:
      path = pathlib.Path(name) / "video.mp4"
      write(path, seconds)
      video, mask = run("video", path), run("mask", path)
      full = round(seconds * FPS) * 1080 * 1920 * 3
      print(
        f"{seconds:4g} s of 1920x1080  {full / MIB:8.0f} MiB   {video['result'] / MIB:6.1f} MiB"
        f"   {(video['peak'] - baseline) / MIB:7.0f} MiB   {(mask['peak'] - baseline) / MIB:7.0f} MiB"
      )


def run(kind: str, path: pathlib.Path | str) -> dict:
  """`measure` in a process of its own."""
  command = [sys.executable, __file__, f"--read={kind},{path}", f"--size={_SIZE.value}"]
  command += ["--keep"] if _KEEP.value else []
  output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
  return json.loads(output.strip().splitlines()[-1])


def measure(kind: str, path: str) -> dict:
  """Reads a file; the peak of this process's memory and the size of the result, in bytes."""
  from lumiere.data import frames

  result = np.zeros(0)
  if kind == "video":
    fit = functools.partial(frames.fit, height=_SIZE.value)
    result = frames.read_video(path, FPS, None if _KEEP.value else fit)
  elif kind == "mask":
    pixels = lambda mask: np.uint8([255] * 3) * mask[..., None]
    fit = lambda mask: frames.fit(pixels(mask), _SIZE.value)[..., 0] == 255
    result = frames.read_mask(path, FPS, None if _KEEP.value else fit)
  return {
    "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    "result": result.nbytes,
  }


def write(path: pathlib.Path, seconds: float):
  """A bright square that moves over a blurred background, 24 frames per second."""
  import av
  from PIL import Image

  noise = np.random.default_rng(0).integers(0, 160, (27, 48, 3), dtype=np.uint8)
  background = np.asarray(Image.fromarray(noise).resize((1920, 1080), Image.Resampling.BICUBIC))
  with av.open(str(path), "w") as container:
    stream = container.add_stream("libx264", rate=24, options={"preset": "ultrafast"})
    stream.height, stream.width, stream.pix_fmt = 1080, 1920, "yuv420p"
    for index in range(round(seconds * 24)):
      frame, left = background.copy(), 2 * index % 1620
      frame[400:700, left : left + 300] = 255
      container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
    container.mux(stream.encode())


if __name__ == "__main__":
  cli.run(main)
