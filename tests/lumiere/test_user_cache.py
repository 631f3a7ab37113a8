"""Compiled programs are kept and found again; JAX's own settings win; a folder that cannot be written is no error."""

import os
import pathlib
import re
import subprocess
import sys

import pytest

from lumiere import user_cache

CODE = """
import sys
if "jax first" in sys.argv:
  import jax
from lumiere import user_cache
user_cache.keep_compiled()
assert ("jax" in sys.modules) == ("jax first" in sys.argv)
import jax
events = []
jax.monitoring.register_event_listener(lambda name, **_: events.append(name))
print(float(jax.jit(lambda x: (x @ x.T).sum())(jax.numpy.ones((3, 4)))))
print("hits", events.count("/jax/compilation_cache/cache_hits"))
"""


def start(home: pathlib.Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess:
  """A process that compiles, with a cache folder of its own."""
  kept = {name: value for name, value in os.environ.items() if "COMPILATION_CACHE" not in name}
  return subprocess.run(
    [sys.executable, "-c", CODE, *arguments],
    env=kept | {"LUMIERE_CACHE": str(home)} | variables,
    capture_output=True,
    text=True,
    check=True,
  )


def hits(done: subprocess.CompletedProcess) -> int:
  """Programs that were found in the cache."""
  assert done.stdout.startswith("36.0\n")
  return int(re.search(r"hits (\d+)", done.stdout).group(1))


@pytest.mark.parametrize("arguments", [(), ("jax first",)])
def test_a_second_process_compiles_nothing_and_only_the_first_says_where(arguments, tmp_path):
  first, second = start(tmp_path, *arguments), start(tmp_path, *arguments)
  assert hits(first) == 0 and hits(second) > 0
  assert f"compiled programs are kept in {tmp_path}" in first.stderr
  assert "compiled programs" not in second.stderr


def test_jax_variables_win(tmp_path):
  elsewhere = start(tmp_path, JAX_COMPILATION_CACHE_DIR=str(tmp_path / "elsewhere"))
  without = start(tmp_path, JAX_ENABLE_COMPILATION_CACHE="false")
  assert not elsewhere.stderr and not without.stderr
  assert not (tmp_path / "compiled").exists()


@pytest.mark.parametrize("obstacle", ["file", "read-only folder"])
def test_a_folder_that_cannot_be_written_is_no_error(obstacle, tmp_path):
  home = tmp_path / "home"
  if obstacle == "file":
    home.write_text("")
  else:
    home.mkdir(mode=0o500)
    if os.access(home, os.W_OK):
      pytest.skip("this user may write everywhere")
  done = start(home)
  assert hits(done) == 0 and not done.stderr


def test_processors_have_folders_of_their_own(monkeypatch):
  known = {}
  for flags in ("fma avx2", "fma avx2 avx512f", "fma avx2"):
    text = f"processor : 0\nflags\t\t: {flags}\nbogomips : {len(known)}\n"
    monkeypatch.setattr(pathlib.Path, "exists", lambda path: True)
    monkeypatch.setattr(pathlib.Path, "read_text", lambda path, text=text: text)
    known.setdefault(user_cache._processor(), []).append(flags)
  assert sorted(known.values(), key=len) == [["fma avx2 avx512f"], ["fma avx2", "fma avx2"]]
