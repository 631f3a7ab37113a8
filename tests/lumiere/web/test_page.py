"""The page in a browser, loaded once: layout, refusals, videos, the queue and cancelling."""

import shutil
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from playwright.sync_api import expect, sync_playwright

from lumiere import Cascade
from lumiere.data import frames
from lumiere.web import page as pages
from lumiere.web import studio as studios
from lumiere.web.studio import Job, Studio

CHROMIUM = shutil.which("chromium")
FLAGS = (
  "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
  "--disable-component-update --disable-sync"
).split()
# Seconds. Programs are compiled while the browser waits, and the machine may be busy.
PATIENCE = 900
PROMPT = "a red circle moves to the left on black"


def test_a_base_that_takes_no_pictures_is_not_offered_any(runs, tmp_path):
  page = pages.build(Studio(Cascade.restore(runs["stunet"])), str(tmp_path))
  assert not page.analytics_enabled
  labels = {block.label: block for block in page.blocks.values() if hasattr(block, "label")}
  assert not labels["Image to animate"].visible and not labels["Style: "].visible


@pytest.fixture(scope="module")
def studio(runs, masked_run, style_run):
  return Studio(Cascade.restore(masked_run, runs["ssr"]), style_run)


@pytest.fixture(scope="module")
def page(studio):
  """The served page in a browser; at the end it must have had no errors and no requests to other machines."""
  if CHROMIUM is None:
    pytest.skip("no chromium on PATH (apt-get install chromium)")
  with pages.served(studio, "127.0.0.1", None) as served, sync_playwright() as playwright:
    browser = playwright.chromium.launch(
      executable_path=CHROMIUM, args=FLAGS, timeout=1000 * PATIENCE
    )
    page = browser.new_page()
    page.set_default_timeout(1000 * PATIENCE)
    asked, errors = [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: errors.append(error))
    page.goto(served.local_url)
    button(page, "Generate").wait_for()
    yield page
    browser.close()
  assert not errors
  outside = {url for url in asked if url.split(":")[0] not in ("data", "blob")}
  assert {url.split("/")[2] for url in outside} == {served.local_url.split("/")[2]}


def button(page, name):
  return page.get_by_role("button", name=name, exact=True)


def says(page, text) -> str:
  """Waits until the message has a text; returns the whole message."""
  message = page.locator("#message")
  message.get_by_text(text).wait_for()
  return message.inner_text()


def wait_until_ready(page):
  """Waits until the buttons are ready for a job."""
  expect(button(page, "Generate")).to_be_enabled(timeout=1000 * PATIENCE)
  expect(button(page, "Cancel")).to_be_disabled(timeout=1000 * PATIENCE)


def test_buttons_and_messages_are_seen_without_scrolling(page):
  for width, height in ((390, 844), (1280, 800)):
    page.set_viewport_size(dict(width=width, height=height))
    message = page.locator("#message")
    for seen in (button(page, "Generate"), button(page, "Cancel"), message):
      box = seen.bounding_box()
      assert box["y"] + box["height"] <= height and box["x"] + box["width"] <= width
    # The label does not cover the control.
    label, inside = page.locator("#upload label").first, page.locator("#upload button svg").first
    box = label.bounding_box()
    assert box["y"] + box["height"] <= inside.bounding_box()["y"]


def test_what_is_refused_is_said_and_the_page_is_ready_again(page, tmp_path):
  (tmp_path / "text.png").write_text("not a picture")
  page.locator("input[type=file]").first.set_input_files(tmp_path / "text.png")
  said = says(page, "text.png")
  assert (
    said.startswith("text.png cannot be read as a picture: no picture in it")
    and "Traceback" not in said
  )

  seed = page.get_by_label("Seed", exact=True)
  for value, words in (("-1", "The seed -1 must be between"), ("0.5", "The seed must be a whole")):
    seed.fill(value)
    button(page, "Generate").click()
    says(page, words)
    wait_until_ready(page)
  button(page, "Random seed").click()
  page.wait_for_function("field => Number(field.value) > 1", arg=seed.element_handle())
  assert int(seed.input_value()) < 2**32

  # A request that fails before it reaches our code.
  page.route("**/queue/join*", lambda route: route.fulfill(status=503, json={"detail": "full"}))
  button(page, "Generate").click()
  says(page, "The server rejected the request")
  page.unroute("**/queue/join*")
  wait_until_ready(page)
  assert not page.locator("video").is_visible()


def test_text_becomes_a_video_and_a_picture_does(page, tmp_path):
  page.get_by_label("Prompt", exact=True).fill(PROMPT)
  page.get_by_label("Seed", exact=True).fill("0")
  button(page, "Generate").click()
  says(page, "Done in")
  text = f"{PROMPT}: 8 frames of 32x32 pixels, seed {{}}, style style at 0.75."
  page.locator("#caption").get_by_text(text.format(0)).wait_for()
  plays(page)
  earlier = page.locator("video").evaluate("video => video.src")

  image = np.zeros((64, 64, 3), np.uint8)
  image[16:48, 16:48] = (255, 255, 0)
  frames.write_image(tmp_path / "square.png", image)
  upload = page.locator("#upload")
  upload.locator("input[type=file]").set_input_files(tmp_path / "square.png")
  page.locator("#canvas canvas").first.wait_for()
  page.get_by_label("Seed", exact=True).fill("1")
  button(page, "Generate").click()
  page.locator("#caption").get_by_text(text.format(1)).wait_for()
  page.wait_for_function("src => document.querySelector('video').src !== src", arg=earlier)
  wait_until_ready(page)
  first = plays(page)
  # The picture is the first frame, but for the compression of the video.
  assert np.abs(first - np.array([255, 255, 0])).max() < 40
  page.get_by_label("Clear").first.click()
  page.locator("#canvas").wait_for(state="hidden")


def test_who_waits_is_told_so_and_may_cancel(page, studio, monkeypatch):
  go = threading.Semaphore(0)

  def extend(cascade, prompts, num_frames, *, progress, **options):
    """Sampling in which each step waits to be released."""
    for _ in progress(range(3), desc="base video"):
      assert go.acquire(timeout=PATIENCE)
    return np.zeros((1, num_frames, 32, 32, 3), np.uint8)

  monkeypatch.setattr(Cascade, "extend", extend)
  caption, begun = page.locator("#caption").inner_text(), threading.Event()
  make, cancel = button(page, "Generate"), button(page, "Cancel")
  with ThreadPoolExecutor(1) as pool:
    other = pool.submit(studio.make, Job(PROMPT), "other", lambda report: begun.set())
    assert begun.wait(PATIENCE)
    with monkeypatch.context() as full:
      full.setattr(studios, "MAX_WAITING", 0)
      make.click()
      says(page, "The queue is full, 0 videos are waiting")
      wait_until_ready(page)
    make.click()
    says(page, "Queued: 1 video ahead.")
    go.release(3)
    assert other.result(PATIENCE).shape == (8, 32, 32, 3)
    says(page, "Base video, step 1 of 3.")
    expect(make).to_be_disabled(timeout=1000 * PATIENCE)
    go.release()
    says(page, "Base video, step 2 of 3.")
    cancel.click()
    says(page, "Cancelling after the current step.")
    go.release()
    assert says(page, "Cancelled.") == "Cancelled."
  # The previous video is still there.
  wait_until_ready(page)
  assert page.locator("#caption").inner_text() == caption
  assert page.locator("video").is_visible()


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
