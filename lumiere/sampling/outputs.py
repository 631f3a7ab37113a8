"""The files of a video: the video, a contact sheet, an X-T slice, and a JSON file with everything that it depends on."""

import dataclasses
import functools
import importlib.metadata
import json
import os
import pathlib
import re
import subprocess
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from jaxtyping import UInt8

from lumiere.data import frames
from lumiere.sampling.cascade import Cascade
from lumiere.sampling.generator import Generator
from lumiere.sampling.prompts import Prompt, in_one_line


def writable_folder(path: str) -> pathlib.Path:
  """Creates the folder before anything is computed; raises OSError if it cannot be written to."""
  folder = pathlib.Path(path)
  try:
    folder.mkdir(parents=True, exist_ok=True)
  except OSError as error:
    raise OSError(f"--out={path} cannot be created as a folder: {error.strerror}") from error
  if not os.access(folder, os.W_OK):
    raise OSError(f"--out={path} cannot be written to")
  return folder


def file_stem(index: int, prompt: Prompt, seed: int) -> str:
  """A file name of a prompt's number and first words and of the seed, without a suffix."""
  words = re.sub(r"[^a-z0-9]+", "-", in_one_line(prompt).lower()).strip("-")[:48]
  return f"{index:03d}_{words or 'prompt'}_seed{seed}"


def write(
  out: pathlib.Path,
  stem: str,
  video: UInt8[np.ndarray, "t h w 3"],
  prompt: Prompt,
  fps: float | int,
  about: Mapping[str, Any],
  format: str = "mp4",
) -> pathlib.Path:
  """Writes OUT/STEM.FORMAT, STEM_sheet.png, STEM_xt.png and STEM.json, which holds `about`; returns the video's path."""
  path = out / f"{stem}.{format}"
  frames.write_video(path, video, fps)
  frames.write_image(
    out / f"{stem}_sheet.png", frames.contact_sheet([video], [in_one_line(prompt)])
  )
  frames.write_image(out / f"{stem}_xt.png", frames.xt_slice(video))
  (out / f"{stem}.json").write_text(json.dumps(about, indent=2) + "\n")
  return path


def describe(cascade: Cascade, sampling, ssr_sampling) -> dict[str, Any]:
  """The part of `about` that all videos of a cascade share: models, sampling settings, versions, device."""

  def model(generator: Generator, settings) -> dict[str, Any]:
    return {"step": generator.step, "sampling": dataclasses.asdict(settings)}

  about = {"base": model(cascade.base, sampling)}
  if cascade.ssr:
    about["ssr"] = model(cascade.ssr, ssr_sampling)
  return about | {
    "version": code_version(),
    "jax": jax.__version__,
    "device": jax.devices()[0].device_kind,
  }


@functools.cache
def code_version() -> str:
  """The installed version, and the commit where the code is a git checkout: "0.1.0+1a2b3c4"."""
  try:
    version = importlib.metadata.version("open-lumiere")
  except importlib.metadata.PackageNotFoundError:
    version = "not installed"
  root = pathlib.Path(__file__).parents[2]
  if not (root / ".git").exists():
    return version
  try:
    command = ["git", "-C", root, "describe", "--always", "--dirty", "--abbrev=12"]
    commit = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
  except (OSError, subprocess.CalledProcessError):  # no git here, or not our checkout's owner
    return version
  return f"{version}+{commit}"
