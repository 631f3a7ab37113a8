"""The command: what it refuses, and how it ends."""

import functools
import os
import pathlib
import signal
import socket
import subprocess
import sys

import httpx

from tests.command_line import assert_one_line, run

# In seconds; the machine may be busy.
PATIENCE = 900


def test_what_cannot_be_served_is_said(runs, tmp_path, monkeypatch, capsys):
  serve = functools.partial(run, monkeypatch, capsys, "lumiere/web/__main__.py")
  workdir = f"--workdir={runs['stunet']}"
  assert_one_line(serve("--workdir="), "--workdir is empty")
  assert_one_line(serve(f"--workdir={tmp_path / 'none'}"), "none", "does not exist")
  assert_one_line(serve(workdir, f"--style={runs['ssr_image']}"), "'ssr_image'", "'t2i'")
  assert_one_line(serve(workdir, "--port=0"), "--port")
  with socket.create_server(("127.0.0.1", 0)) as taken:
    port = taken.getsockname()[1]
    assert_one_line(serve(workdir, f"--port={port}"), "--host=127.0.0.1", f"--port={port}", "use")


def test_sigterm_deletes_uploads_and_foreign_requests_are_refused(runs, tmp_path):
  with socket.create_server(("127.0.0.1", 0)) as free:
    port = free.getsockname()[1]
  command = [sys.executable, "-m", "lumiere.web", f"--workdir={runs['stunet']}", f"--port={port}"]
  environment = os.environ | {"TMPDIR": str(tmp_path)}
  with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as server:
    try:
      assert server.stdout.readline().startswith(f"http://127.0.0.1:{port}/")
      upload = functools.partial(
        httpx.post, f"http://127.0.0.1:{port}/gradio_api/upload", timeout=PATIENCE
      )
      for foreign in ({"Host": "evil.example"}, {"Origin": "http://evil.example"}):
        assert upload(files={"files": b"theirs"}, headers=foreign).status_code == 403
      (path,) = upload(files={"files": b"ours"}).json()
      assert path.startswith(str(tmp_path)) and pathlib.Path(path).read_bytes() == b"ours"
      (folder,) = tmp_path.glob("lumiere_web_*")
      assert [file.read_bytes() for file in folder.rglob("*") if file.is_file()] == [b"ours"]
      server.send_signal(signal.SIGTERM)
      assert server.wait(PATIENCE) == 128 + signal.SIGTERM
    finally:
      server.kill()
  assert not list(tmp_path.glob("lumiere_web_*")) and not list(tmp_path.glob("gradio"))
