"""The user's cache folder, for what can be fetched or made again: files out of packages, and programs that JAX compiled."""

import hashlib
import os
import pathlib
import platform
import re
import sys

from etils import epath

MAX_COMPILED = 2 * 1024**3  # bytes


def folder() -> epath.Path:
  """`LUMIERE_CACHE`, or ~/.cache/lumiere."""
  return epath.Path(os.environ.get("LUMIERE_CACHE", "~/.cache/lumiere")).expanduser()


def keep_compiled():
  """From now on JAX keeps compiled programs in the cache folder: the second start of a command compiles nothing.

  Says so when the folder is new. Where `JAX_COMPILATION_CACHE_DIR` or `JAX_ENABLE_COMPILATION_CACHE` is set, JAX does what they
  say. A folder that cannot be written is no error: programs are compiled as they were.
  """
  if {"JAX_COMPILATION_CACHE_DIR", "JAX_ENABLE_COMPILATION_CACHE"} & set(os.environ):
    return
  # Programs for a CPU are its machine code. A home may be shared by machines whose processors differ.
  compiled = folder() / "compiled" / _processor()
  is_new = not compiled.exists()
  try:
    compiled.mkdir(parents=True, exist_ok=True)
  except OSError:
    return
  if not os.access(compiled, os.W_OK):
    return
  settings = dict(
    jax_compilation_cache_dir=str(compiled),
    jax_compilation_cache_max_size=MAX_COMPILED,  # what was not used for longest goes first
    jax_persistent_cache_min_compile_time_secs=0.0,
  )
  for name, value in settings.items():
    if name.upper() not in os.environ:
      # JAX reads its variables when it is imported. Here it is not, so that a command line checks its flags first.
      os.environ[name.upper()] = str(value)
      if "jax" in sys.modules:
        sys.modules["jax"].config.update(name, value)
  if is_new:
    print(
      f"compiled programs are kept in {compiled}, at most {MAX_COMPILED / 1024**3:.0f} GiB "
      "(JAX_COMPILATION_CACHE_DIR: another folder; JAX_ENABLE_COMPILATION_CACHE=false: none)",
      file=sys.stderr,
    )


def _processor() -> str:
  """A short name for the instructions that this machine's processor knows."""
  cpuinfo = pathlib.Path("/proc/cpuinfo")
  known = cpuinfo.read_text() if cpuinfo.exists() else platform.processor()
  features = re.search(r"^(flags|Features)\s*:.*$", known, re.MULTILINE)
  digest = hashlib.sha256((features.group() if features else known).encode()).hexdigest()
  return f"{platform.machine()}-{digest[:8]}"
