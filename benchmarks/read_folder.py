"""Preparing a folder of videos as raw clips of 64 pixels, beside ffmpeg decoding, reducing and cropping the same files.

python -m lumiere.fetch --what=footage
python benchmarks/read_folder.py
"""

import os
import pathlib
import shutil
import subprocess
import tempfile
import time

from absl import flags

from lumiere import cli

SIZE, FPS = 64, 8
FILES = ("footage/bigbuckbunny.mp4", "footage/bikes.mp4", "trailer/trailer.mp4")


def main():
  """Prepares, runs ffmpeg, and prints both."""
  from lumiere import user_cache
  from lumiere.data.video_folder import builder

  with tempfile.TemporaryDirectory() as place:
    folder = pathlib.Path(place, "videos")
    folder.mkdir()
    for name in FILES:
      path = user_cache.folder() / name
      if not path.exists():
        raise ValueError(f"{path} is missing: python -m lumiere.fetch --what=footage")
      shutil.copy(path, folder)
      (folder / path.with_suffix(".txt").name).write_text("a caption")
    for run in range(flags.FLAGS.runs):
      options = dict(num_frames=16, fps=FPS, resolution=SIZE)
      make = lambda run=run, options=options: builder.load_or_prepare(
        folder, f"{place}/{run}", **options
      )
      measured("the builder", make)
    for _ in range(flags.FLAGS.runs):
      measured("ffmpeg", lambda: [ffmpeg(path) for path in sorted(folder.glob("*.mp4"))])


def ffmpeg(path: pathlib.Path):
  """Decodes, reduces and crops one file, and keeps nothing."""
  filters = f"fps={FPS},crop=ih:ih,scale={SIZE}:{SIZE}:flags=area"
  command = ["ffmpeg", "-v", "quiet", "-threads", "1", "-i", path, "-vf", filters]
  subprocess.run([*command, "-pix_fmt", "rgb24", "-f", "rawvideo", "-y", os.devnull], check=True)


def measured(name: str, function):
  """Calls it, and prints what it took."""
  before, begun = cpu(), time.perf_counter()
  function()
  print(f"{name}: {cpu() - before:.2f} s of CPU, {time.perf_counter() - begun:.2f} s", flush=True)


def cpu() -> float:
  """Seconds of this process and of those that it has waited for."""
  times = os.times()
  return times.user + times.system + times.children_user + times.children_system


if __name__ == "__main__":
  flags.DEFINE_integer("runs", 2, "How often.", 1)
  cli.run(main)
