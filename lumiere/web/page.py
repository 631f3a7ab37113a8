"""The page: its components and what their events do. It loads nothing from other machines and sends nothing there."""

import concurrent.futures
import contextlib
import functools
import html
import logging
import os
import pathlib
import queue
import shutil
import socket
import tempfile
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import Any, TypeVar

# Gradio reads this when it is imported; the argument of Blocks does not cover all of its analytics.
os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"

import gradio as gr  # noqa: E402
import numpy as np  # noqa: E402
from starlette.middleware import Middleware  # noqa: E402

from lumiere.data import frames  # noqa: E402
from lumiere.sampling.generator import SamplingError  # noqa: E402
from lumiere.sizes import as_text  # noqa: E402
from lumiere.web import look, messages  # noqa: E402
from lumiere.web import studio as studios  # noqa: E402
from lumiere.web.hosts import OwnHostsOnly  # noqa: E402
from lumiere.web.messages import failed, said  # noqa: E402
from lumiere.web.studio import Cancelled, Job, Studio  # noqa: E402

TITLE = "Open Lumiere"
EXAMPLES = (
  "a red circle moves to the left quickly on black",
  "a yellow square spins clockwise slowly on navy",
  "a white triangle bounces fast on gray",
)
# Uploads and videos are kept for an hour; every ten minutes older ones are deleted. In seconds.
KEPT, SWEEP = 3600, 600

Result = TypeVar("Result")


def build(studio: Studio, folder: str) -> gr.Blocks:
  """Builds the page for a studio; videos are written to `folder`."""
  cascade, animates = studio.cascade, studio.animates
  size, trained = cascade.resolution, cascade.num_frames
  canvas_size = frames.enlarge(np.zeros((*size, 3), np.uint8), studios.CANVAS).shape[1::-1]
  experiment = cascade.base.experiment
  factor = experiment.temporal.total_factor

  def read(path: str):
    """Reads an upload; returns values of `found`."""
    try:
      picture = studio.read_picture(path)
    except ValueError as error:
      return *forget(), failed(error)
    canvas = {"background": picture, "layers": [], "composite": picture}
    return path, picture, gr.update(visible=True), canvas, ""

  def forget():
    """Removes the image; returns values of `found` but for the message."""
    return None, None, gr.update(visible=False), None

  def run(prompt, picture, canvas, strength, seed, count, steps, request: gr.Request):
    """Runs a job; yields values of `shown`, first for its progress, at the end for its video."""
    layers = (canvas or {}).get("layers", []) if picture is not None else []
    session, begin = request.session_hash, time.monotonic()

    def state(message, made=(gr.skip(),) * 3, working=False):  # noqa: B008
      return *made, message, gr.update(interactive=not working), gr.update(interactive=working)

    def make(show):
      shown = lambda report: show(state(messages.working(about, report), working=True))
      return studio.make(job, session, shown)

    try:
      seed = messages.whole("seed", seed)
      job = Job(prompt, picture, layers, seed, int(count), int(steps), strength)
      about = studio.describe(job)
      video = yield from live(make, lambda: studio.cancel(session))
      path = pathlib.Path(tempfile.mkdtemp(dir=folder)) / "video.mp4"
      frames.write_video(path, video, experiment.data.fps)
    except Cancelled:
      yield state(said("Cancelled."))
    except (ValueError, SamplingError) as error:
      yield state(failed(error))
    except Exception:
      logging.exception("generation failed")
      yield state(failed("generation failed: the server's log says why"))
    else:
      caption = html.escape(f"{job.prompt}: {about}.")
      message = said(f"Done in {time.monotonic() - begin:.1f} s.")
      yield state(message, (str(path), caption, frames.xt_slice(video)))

  def cancel(request: gr.Request):
    studio.cancel(request.session_hash)

  with gr.Blocks(title=TITLE, analytics_enabled=False, delete_cache=(SWEEP, KEPT)) as page:
    pictures = (
      "Upload an image to animate it, and paint over the part that should move."
      if animates
      else "This model generates from text only."
    )
    gr.Markdown(
      f"# {TITLE}\nDescribe the video. {pictures} Videos have {as_text(size)} pixels and are generated one at a time."
    )
    with gr.Row(elem_id="columns"):
      with gr.Column(elem_id="request"):
        prompt = gr.Textbox(label="Prompt", lines=2, value=EXAMPLES[0], autofocus=True)
        with gr.Row():
          make = gr.Button("Generate", variant="primary", scale=2, min_width=160)
          stop = gr.Button("Cancel", variant="stop", interactive=False, min_width=100)
        message = gr.HTML(elem_id="message", elem_classes="line")
      with gr.Column(elem_id="result"):
        video = gr.Video(
          label="Video", elem_id="video", show_label=False, autoplay=True, loop=True, interactive=False,
          height=400, buttons=["download"],
        )  # fmt: skip
        caption = gr.HTML(elem_id="caption", elem_classes="line")
        xt = gr.Image(
          label="X-T slice", elem_id="xt", show_label=False, format="png", interactive=False, height=240,
          buttons=["download", "fullscreen"],
        )  # fmt: skip
        gr.HTML(
          "X-T slice: the middle row of every frame, with time running down.", elem_classes="line"
        )
      with gr.Column(elem_id="settings"):
        gr.Examples([[example] for example in EXAMPLES], prompt, label="Examples")
        upload = gr.File(label="Image to animate", elem_id="upload", height=150, visible=animates)
        picture = gr.State()
        with gr.Column(visible=False) as painting:
          gr.Markdown("Paint over the part that should move. Without paint, all of it may move.")
          canvas = gr.ImageEditor(
            label="Part that should move",
            show_label=False,
            sources=(),
            transforms=(),
            layers=False,
            buttons=[],
            brush=gr.Brush(default_size=48, colors=[("#ff3b30", 0.6)], color_mode="fixed"),
            eraser=gr.Eraser(default_size=48),
            canvas_size=canvas_size,
            height=460,
            elem_id="canvas",
          )
        strength = gr.Slider(
          0, 1, 0.75 if studio.style else 0, step=0.05, visible=studio.style is not None,
          label=f"Style: {studio.style_name}", info="0: no style, 1: full style",
        )  # fmt: skip
        with gr.Row(elem_id="seed"):
          seed = gr.Number(
            0, label="Seed", step=1, info="Each seed gives another video", min_width=140
          )
          dice = gr.Button("Random seed", size="md", min_width=140)
        count = gr.Slider(
          factor, trained * studios.MAX_LENGTH, trained, step=factor, label="Frames",
          info=f"{experiment.data.fps:g} frames per second",
        )  # fmt: skip
        steps = gr.Slider(
          1, max(100, experiment.sampling.num_steps), experiment.sampling.num_steps, step=1,
          label="Steps", info="More steps take longer",
        )  # fmt: skip

    private = dict(api_visibility="private", show_progress="hidden")
    found = [upload, picture, painting, canvas, message]
    upload.upload(read, upload, found, **private)
    gr.on([upload.clear, canvas.clear], forget, None, found[:-1], **private)
    dice.click(None, None, seed, js="() => Math.floor(Math.random() * 2 ** 32)")
    asked = [prompt, picture, canvas, strength, seed, count, steps]
    shown = [video, caption, xt, message, make, stop]
    # Gradio has to see a generator function; the type checker of the tests wraps `run` in a function that is not one.
    making = functools.wraps(run)(lambda *values: (yield from run(*values)))
    # No limit: the studio has its own queue, which tells each job its position.
    made = gr.on(
      [make.click, prompt.submit], making, asked, shown, concurrency_limit=None, **private
    )
    made.failure(None, None, [message, make, stop], js=messages.LOST)
    stop.click(cancel, queue=False, **private)
    page.unload(cancel)
  return page


def live(
  work: Callable[[Callable[[Any], None]], Result], stop: Callable[[], Any]
) -> Generator[Any, None, Result]:
  """Runs `work(show)` in a thread; yields what is shown, skipping all but the newest, and returns the result.

  Args:
    work: the function to run.
    stop: called when the generator ends, early or not; must make `work` return soon.
  """
  news = queue.SimpleQueue()
  with concurrent.futures.ThreadPoolExecutor(1) as pool:
    job = pool.submit(work, news.put)
    job.add_done_callback(lambda _: news.put(None))
    try:
      while True:
        update = news.get()
        while not news.empty():
          update = news.get()
        if update is None:  # always the last one
          break
        yield update
    finally:
      stop()
  return job.result()


@contextlib.contextmanager
def served(
  studio: Studio, host: str, port: int | None, allowed_hosts: Sequence[str] = ()
) -> Iterator[gr.Blocks]:
  """Serves the page, with a folder for uploads and videos that is deleted at the end.

  Args:
    studio: generates the videos; its jobs are cancelled at the end.
    host: address to listen on.
    port: port to listen on; None for a free one.
    allowed_hosts: host names that requests may use, besides `host`, IP addresses, localhost and this machine's name.

  Raises:
    OSError: if the address is not available.
  """
  folder = tempfile.mkdtemp(prefix="lumiere_web_")
  delete = functools.partial(shutil.rmtree, folder, ignore_errors=True)
  with contextlib.ExitStack() as at_end:  # callbacks run in reverse order
    at_end.callback(delete)
    os.environ["GRADIO_TEMP_DIR"] = folder
    gr.routes.DEFAULT_TEMP_DIR = folder  # the default, /tmp/gradio, may belong to another user
    page = build(studio, folder).queue(api_open=False)
    launch(page, host, port, allowed_hosts)
    # The folder is deleted at once, as the process may soon be killed, and again when no request can write to it any more.
    at_end.callback(page.server.thread.join)
    at_end.callback(page.close, verbose=False)
    # The server neither waits for open connections nor logs an error for each of them.
    page.server.force_exit = True
    at_end.callback(logging.getLogger("uvicorn.error").setLevel, "CRITICAL")
    at_end.callback(delete)
    at_end.callback(studio.close)
    yield page


def launch(page: gr.Blocks, host: str, port: int | None, allowed_hosts: Sequence[str]):
  """Starts the server; raises OSError if the address is not available."""
  try:
    if port is not None:  # Gradio would leave its own socket open
      socket.create_server((host, port)).close()
    page.launch(
      server_name=host,
      server_port=port,
      share=False,
      inbrowser=False,
      prevent_thread_lock=True,
      quiet=True,
      show_error=True,
      max_file_size=studios.MAX_UPLOAD,
      state_session_capacity=64,
      footer_links=[],
      run_history=False,
      enable_monitoring=False,
      ssr_mode=False,
      mcp_server=False,
      pwa=False,
      theme=look.THEME,
      css=look.CSS,
      app_kwargs={"middleware": [Middleware(OwnHostsOnly, [host, *allowed_hosts])]},
    )
  except OSError as error:
    raise OSError(f"--host={host} --port={port} cannot be listened on: is it in use?") from error
