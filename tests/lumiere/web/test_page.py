"""The page in a real browser: a video from text, an animated picture, a bad upload, a cancelled order."""

import functools
import shutil
import socket

import numpy as np
import pytest

from lumiere import Cascade
from lumiere.data import frames
from lumiere.web import page as pages
from lumiere.web.studio import Studio
from tests.command_line import assert_one_line, run

CHROMIUM = shutil.which("chromium")
FLAGS = (
  "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
  "--disable-component-update --disable-sync"
).split()
# Programs are compiled while the browser waits, and the machine may be busy.
PATIENCE = 180_000


def test_a_base_that_takes_no_pictures_is_not_offered_any(runs, tmp_path):
  page = pages.build(Studio(Cascade.restore(runs["stunet"])), str(tmp_path))
  assert not page.analytics_enabled
  labels = {block.label: block for block in page.blocks.values() if hasattr(block, "label")}
  assert not labels["Picture to animate"].visible and not labels["Style strength"].visible


def test_what_cannot_be_served_is_said(runs, tmp_path, monkeypatch, capsys):
  serve = functools.partial(run, monkeypatch, capsys, "lumiere/web/__main__.py")
  workdir = f"--workdir={runs['stunet']}"
  assert_one_line(serve(), "--workdir is missing")
  assert_one_line(serve(f"--workdir={tmp_path / 'none'}"), "none", "does not exist")
  assert_one_line(serve(workdir, f"--style={runs['ssr_image']}"), "'ssr_image'", "'t2i'")
  assert_one_line(serve(workdir, "--port=0"), "--port")
  with socket.create_server(("127.0.0.1", 0)) as taken:
    port = taken.getsockname()[1]
    assert_one_line(serve(workdir, f"--port={port}"), "--host=127.0.0.1", f"--port={port}", "use")


def test_messages_are_text_not_markup():
  assert "&lt;b&gt;" in pages.failed(ValueError("<b>\nis no picture"))
  with pytest.raises(ValueError, match="the seed must be a whole number"):
    pages.whole("seed", None)


@pytest.fixture(scope="module")
def page(runs, masked_run):
  """The served page in a browser, and the addresses that it asked for."""
  if CHROMIUM is None:
    pytest.skip("no chromium on PATH (apt-get install chromium)")
  from playwright.sync_api import sync_playwright

  studio = Studio(Cascade.restore(masked_run, runs["ssr"]))
  with pages.served(studio, "127.0.0.1", None) as served, sync_playwright() as playwright:
    browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
    page = browser.new_page()
    page.set_default_timeout(PATIENCE)
    page.asked = []
    page.on("request", lambda request: page.asked.append(request.url))
    page.errors = []
    page.on("pageerror", lambda error: page.errors.append(error))
    page.goto(served.local_url)
    yield page
    browser.close()


def message(page, text):
  """Waits until the page says it; what it says."""
  found = page.locator("#message").get_by_text(text)
  found.wait_for()
  return found.inner_text()


def test_in_a_browser(page, tmp_path):
  make = page.get_by_role("button", name="Make the video")
  make.wait_for()

  (tmp_path / "text.png").write_text("not a picture")
  upload = page.locator("input[type=file]").first
  upload.set_input_files(tmp_path / "text.png")
  said = message(page, "text.png")
  assert said.startswith("text.png is no picture") and "Traceback" not in said

  page.get_by_label("Prompt", exact=True).fill("a red circle moves to the left on black")
  make.click()
  message(page, "8 frames of 32x32 pixels, seed 0")
  plays(page)

  image = np.zeros((64, 64, 3), np.uint8)
  image[16:48, 16:48] = (255, 255, 0)
  frames.write_image(tmp_path / "square.png", image)
  upload.set_input_files(tmp_path / "square.png")
  canvas = page.locator("#canvas canvas").first
  canvas.wait_for()
  page.get_by_label("Seed").fill("1")
  make.click()
  message(page, "8 frames of 32x32 pixels, seed 1")
  first = plays(page)
  # The picture is the first frame, but for the compression of the video.
  assert np.abs(first - np.array([255, 255, 0])).max() < 40

  steps = page.get_by_label("number input for Steps")
  steps.fill("100")
  steps.press("Enter")
  make.click()
  page.get_by_text("/100 steps").wait_for()
  page.get_by_role("button", name="Cancel").click()
  message(page, "Cancelled.")
  page.wait_for_timeout(500)
  assert page.locator("#message").inner_text() == "Cancelled."

  assert not page.errors
  here = page.url.split("/")[2]
  outside = {url for url in page.asked if url.split(":")[0] not in ("data", "blob")}
  assert {url.split("/")[2] for url in outside} == {here}
  assert here.startswith("127.0.0.1:")


def plays(page):
  """The colour in the middle of the first frame of the video that is shown."""
  video = page.locator("video")
  video.wait_for()
  colour = video.evaluate(
    """async video => {
      const until = (event, start) => new Promise((done, failed) => {
        video.addEventListener(event, done, {once: true});
        video.addEventListener("error", () => failed(video.error.message), {once: true});
        start();
      });
      if (video.readyState < 2) await until("loadeddata", () => video.load());
      video.pause();
      await until("seeked", () => { video.currentTime = 0; });
      const canvas = new OffscreenCanvas(video.videoWidth, video.videoHeight);
      const context = canvas.getContext("2d");
      context.drawImage(video, 0, 0);
      return [...context.getImageData(canvas.width / 2, canvas.height / 2, 1, 1).data.slice(0, 3)];
    }"""
  )
  xt = page.locator("#xt img")
  xt.wait_for()
  assert xt.evaluate("image => image.naturalWidth") >= 256
  return np.array(colour)
