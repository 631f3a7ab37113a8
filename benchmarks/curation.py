"""Curation of generated videos with planted faults: what it finds, how fast, beside ffmpeg doing the same work.

python benchmarks/curation.py --num_videos=1000
.venv-beam/bin/python benchmarks/curation.py --num_videos=1000                  (in the environment of make test-beam: Beam too)

Of the videos 5 % are damaged, 10 % copies of another one (smaller, in another codec), 10 % still, 5 % dark and 5 % letterboxed;
a third has a cut. Codecs, frame rates and rotations vary. The command fails if anything but the planted faults is found. ffmpeg, if
there is one, decodes each file, reduces its frames to the two sizes that curation looks at, and encodes the clips that were kept.
"""

import collections
import csv
import functools
import importlib.util
import json
import os
import pathlib
import resource
import shutil
import subprocess
import sys
import tempfile
import time

import numpy as np
from absl import flags

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))  # for tests/

from lumiere import cli  # noqa: E402

HEIGHT, WIDTH, SECONDS = 180, 320, 3
CODECS = {
  ".mp4": ("libx264", "yuv420p", {"crf": "18", "preset": "veryfast"}),
  ".webm": ("libvpx", "yuv420p", {"crf": "10", "b": "2M", "cpu-used": "8"}),
  ".mkv": ("mpeg4", "yuv420p", {"qscale": "2"}),
  ".avi": ("mpeg4", "yuv420p", {"qscale": "2"}),
}
RATES = (24, 25, 30, 12.5)


def main():
  """Generates, curates in one process, in two and by Beam if it is there, compares, and prints."""
  from lumiere.data.curation import records, run
  from lumiere.data.curation.look import ClipSettings
  from lumiere.data.curation.rules import DEFAULT_RULES
  from lumiere.data.curation.runners import Beam, Processes

  values = flags.FLAGS
  out = pathlib.Path(values.out or tempfile.mkdtemp())
  if not (out / "planted.json").exists():
    planted = generate(out / "videos", values.num_videos)
    (out / "planted.json").write_text(json.dumps(planted))
  planted = json.loads((out / "planted.json").read_text())
  runners, spent = {"1 process": Processes(1), "2 processes": Processes(2)}, {}
  if importlib.util.find_spec("apache_beam"):
    options = ("direct_num_workers=2", "direct_running_mode=multi_processing")
    runners["Beam's direct runner, 2 workers"] = Beam("DirectRunner", options)
  for name, runner in runners.items():
    folder = out / "curated"
    shutil.rmtree(folder, ignore_errors=True)
    job = run.Job.make(out / "videos", folder, ClipSettings(16, 8.0), files_per_shard=16)
    begun, before = time.perf_counter(), cpu()
    job.look(runner)
    text = job.decide(DEFAULT_RULES, radius=6, held_out=0.05)
    looked = time.perf_counter() - begun
    stored = job.write(records.RecordSettings(), runner)
    spent[name] = cpu() - before
    clips = len(job.clips())
    print(
      f"{name}: {clips} clips looked at in {looked:.0f} s, {clips / looked:.1f} a second; with writing"
      f" {time.perf_counter() - begun:.0f} s, {spent[name]:.0f} s of CPU; at most {peak():.0f} MiB a process",
      flush=True,
    )
  print(text, stored, sep="\n")
  wrong = differences(planted, job)
  print(
    f"planted: {dict(collections.Counter(planted.values()))}; wrongly judged: {wrong or 'none'}"
  )
  if shutil.which("ffmpeg"):
    others = ffmpeg(out, job)
    print(
      f"ffmpeg, the same work: {others:.0f} s of CPU; curation takes {spent['1 process'] / others:.2f} times that"
    )
  if wrong:
    sys.exit(1)


def generate(folder: pathlib.Path, count: int) -> dict[str, str]:
  """Writes the videos, in two processes; returns what is planted in each: "", "damaged", "copy", "still" or "dark"."""
  from lumiere.data.curation.runners import Processes

  folder.mkdir(parents=True)
  rng, planted, plain, tasks, rows = np.random.default_rng(0), {}, [], [], []
  kinds = ["damaged"] * 5 + ["copy"] * 10 + ["still"] * 10 + ["dark"] * 5 + ["bars"] * 5
  for index in range(count):
    kind = kinds[index % 100 - 65] if index % 100 >= 65 else ""
    seed = int(rng.choice(plain)) if kind == "copy" else index
    suffix, fps = list(CODECS)[index % 4], RATES[seed * 7 % 11 % 4]
    second = count + index if index % 3 == 0 and kind == "" else None  # of a second shot
    rotated = suffix == ".mp4" and index % 8 == 4 and kind != "copy"
    if kind == "" and second is None and not rotated:
      plain.append(index)
    name = f"{index:05d}{suffix}"
    tasks.append(functools.partial(make, folder / name, kind, seed, fps, second, rotated))
    planted[name] = "" if kind == "bars" else kind
    rows.append((name, f"texture {seed}"))
  with (folder / "captions.csv").open("w", newline="") as file:
    csv.writer(file).writerows([("file", "caption"), *rows])
  Processes(2)(tasks, "Making the videos")
  return planted


def make(path: pathlib.Path, kind: str, seed: int, fps: float, second: int | None, rotated: bool):
  """Writes one video."""
  from tests.lumiere.data import media
  from tests.lumiere.data.curation.footage import pan

  length, size = round(SECONDS * fps), dict(height=HEIGHT, width=WIDTH)
  video = pan(seed, length, 0 if kind == "still" else 2, **size)
  if second is not None:
    video = np.concatenate([video, pan(second, length, 3, **size)])
  if kind == "copy":
    video = video[:, ::2, ::2]
  if kind == "dark":
    video = video // 25
  if kind == "bars":
    video = np.pad(video, [(0, 0), (30, 30), (0, 0), (0, 0)])
  media.write(path, video, fps, codec=CODECS[path.suffix], rotation=(90.0,) if rotated else None)
  if kind == "damaged":
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def differences(planted: dict[str, str], job) -> dict[str, str]:
  """Files that were not judged as planted, with what was found."""
  clips, wrong = job.clips(), {}
  problems = dict(zip(*(job.sources()[c] for c in ("source", "problem")), strict=True))
  reasons = clips.groupby("source")["reason"].agg(lambda found: set(found)).to_dict()
  for name, kind in planted.items():
    found = reasons.get(name, set())
    good = {
      "": found == {""} and not problems[name],
      "damaged": bool(problems[name]),
      "copy": any("near duplicate" in reason for reason in found) and "" not in found,
      "still": any("motion" in reason for reason in found) and "" not in found,
      "dark": any("brightness" in reason for reason in found) and "" not in found,
    }[kind]
    if not good:
      wrong[name] = f"{kind or 'fine'}, found {problems[name] or found}"
  return wrong


def ffmpeg(out: pathlib.Path, job) -> float:
  """Seconds of CPU that ffmpeg takes for decoding, reducing to two sizes, and encoding what was kept."""
  before, kept = cpu(), collections.Counter(job.clips().query("reason == ''")["source"])
  for path in sorted((out / "videos").iterdir()):
    if path.suffix == ".csv":
      continue
    small = "[0:v]split[a][b];[a]scale=-2:48:flags=area[c];[b]fps=4,scale=-2:256:flags=area[d]"
    sinks = ["-map", "[c]", "-f", "null", "-", "-map", "[d]", "-f", "null", "-"]
    if kept[path.name]:
      encoder = [
        "-map",
        "0:v",
        "-r",
        "8",
        "-frames:v",
        str(16 * kept[path.name]),
        "-c:v",
        "libx264",
      ]
      sinks += [
        *encoder,
        "-crf",
        "18",
        "-g",
        "8",
        "-bf",
        "0",
        "-threads",
        "1",
        "-f",
        "mp4",
        "-y",
        os.devnull,
      ]
    command = [
      "ffmpeg",
      "-v",
      "quiet",
      "-threads",
      "1",
      "-i",
      str(path),
      "-filter_complex",
      small,
      *sinks,
    ]
    subprocess.run(command, check=False)
  return cpu() - before


def cpu() -> float:
  """Seconds of this process and of those that it has waited for."""
  times = os.times()
  return times.user + times.system + times.children_user + times.children_system


def peak() -> float:
  """Of a process, in MiB."""
  kinds = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
  return max(resource.getrusage(kind).ru_maxrss for kind in kinds) / 1024


if __name__ == "__main__":
  flags.DEFINE_integer("num_videos", 1000, "Videos to generate.", 100)
  flags.DEFINE_string("out", None, "Folder for videos and tables; default: a temporary one.")
  cli.run(main)
