"""The page: what is on it, and which button does what. Nothing on it comes from, or goes to, another machine."""

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

# Some of Gradio's reports ask the environment only, and when it is imported.
os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"

import gradio as gr  # noqa: E402
from starlette.middleware import Middleware  # noqa: E402

from lumiere.data import frames  # noqa: E402
from lumiere.web import look, messages  # noqa: E402
from lumiere.web import studio as studios  # noqa: E402
from lumiere.web.hosts import OwnHostsOnly  # noqa: E402
from lumiere.web.messages import failed, said  # noqa: E402
from lumiere.web.studio import Cancelled, Order, Studio  # noqa: E402

TITLE = "Open Lumiere"
EXAMPLES = (
  "a red circle moves to the left quickly on black",
  "a yellow square spins clockwise slowly on navy",
  "a white triangle bounces fast on gray",
)
# Uploads and videos are deleted after so many seconds.
KEPT, SWEEP = 3600, 600

Result = TypeVar("Result")


def build(studio: Studio, folder: str) -> gr.Blocks:
  """The page around a studio, which writes its videos to a folder."""
  cascade, animates = studio.cascade, studio.animates
  side, trained = cascade.resolution, cascade.num_frames
  experiment = cascade.base.experiment
  factor = experiment.temporal.total_factor

  def read(path: str):
    """An upload -> (the file if it is good, the picture, the painting's two, a message)."""
    try:
      picture = studio.read_picture(path)
    except ValueError as error:
      return *forget(), failed(error)
    canvas = {"background": picture, "layers": [], "composite": picture}
    return path, picture, gr.update(visible=True), canvas, ""

  def forget():
    return None, None, gr.update(visible=False), None

  def run(prompt, picture, canvas, strength, seed, count, steps, request: gr.Request):
    """An order -> how far it is, again and again, then the video, as values of (video, caption, X-T slice, message, make, stop)."""
    layers = (canvas or {}).get("layers", []) if picture is not None else []
    session, begin = request.session_hash, time.monotonic()

    def state(message, made=(gr.skip(),) * 3, working=False):  # noqa: B008
      return *made, message, gr.update(interactive=not working), gr.update(interactive=working)

    def make(show):
      shown = lambda report: show(state(messages.working(about, report), working=True))
      return studio.make(order, session, shown)

    try:
      seed = messages.whole("seed", seed)
      order = Order(prompt, picture, layers, seed, int(count), int(steps), strength)
      about = studio.describe(order)
      video = yield from live(make, lambda: studio.cancel(session))
      path = pathlib.Path(tempfile.mkdtemp(dir=folder)) / "video.mp4"
      frames.write_video(path, video, experiment.data.fps)
    except Cancelled:
      yield state(said("Cancelled."))
    except ValueError as error:
      yield state(failed(error))
    except Exception:
      logging.exception("making a video failed")
      yield state(failed("this failed for a reason of the server's; its log says more"))
    else:
      caption = html.escape(f"{order.prompt}: {about}.")
      message = said(f"Done in {time.monotonic() - begin:.1f} s.")
      yield state(message, (str(path), caption, frames.xt_slice(video)))

  def cancel(request: gr.Request):
    studio.cancel(request.session_hash)

  with gr.Blocks(title=TITLE, analytics_enabled=False, delete_cache=(SWEEP, KEPT)) as page:
    pictures = (
      "Give a picture to begin with, and paint on it to make only a part of it move."
      if animates
      else "This model works from text only: it was not trained to be given pictures."
    )
    gr.Markdown(
      f"# {TITLE}\nWrite what the video is to show. {pictures} Videos have {side}x{side} pixels; one is made at a time."
    )
    with gr.Row(elem_id="columns"):
      with gr.Column(elem_id="order"):
        prompt = gr.Textbox(label="Prompt", lines=2, value=EXAMPLES[0], autofocus=True)
        with gr.Row():
          make = gr.Button("Make the video", variant="primary", scale=2, min_width=160)
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
        gr.HTML("X-T slice: the middle row of every frame, time running down.", elem_classes="line")
      with gr.Column(elem_id="settings"):
        gr.Examples([[example] for example in EXAMPLES], prompt, label="Prompts to try")
        upload = gr.File(label="Picture to animate", elem_id="upload", height=150, visible=animates)
        picture = gr.State()
        with gr.Column(visible=False) as painting:
          gr.Markdown("Paint what is to move; if nothing is painted, all of it moves.")
          canvas = gr.ImageEditor(
            label="What is to move",
            show_label=False,
            sources=(),
            transforms=(),
            layers=False,
            buttons=[],
            brush=gr.Brush(default_size=48, colors=[("#ff3b30", 0.6)], color_mode="fixed"),
            eraser=gr.Eraser(default_size=48),
            canvas_size=(studios.CANVAS, studios.CANVAS),
            height=460,
            elem_id="canvas",
          )
        strength = gr.Slider(
          0, 1, 0.75 if studio.style else 0, step=0.05, visible=studio.style is not None,
          label=f"Style: {studio.style_name}", info="0: the model's own look, 1: the style's",
        )  # fmt: skip
        with gr.Row(elem_id="seed"):
          seed = gr.Number(
            0, label="Seed", step=1, info="Another seed, another video", min_width=140
          )
          dice = gr.Button("Random seed", size="md", min_width=140)
        count = gr.Slider(
          factor, trained * studios.MAX_LENGTH, trained, step=factor, label="Frames",
          info=f"{experiment.data.fps:g} a second",
        )  # fmt: skip
        steps = gr.Slider(
          1, max(100, experiment.sampling.num_steps), experiment.sampling.num_steps, step=1,
          label="Steps", info="More take longer",
        )  # fmt: skip

    private = dict(api_visibility="private", show_progress="hidden")
    found = [upload, picture, painting, canvas, message]
    upload.upload(read, upload, found, **private)
    gr.on([upload.clear, canvas.clear], forget, None, found[:-1], **private)
    dice.click(None, None, seed, js="() => Math.floor(Math.random() * 2 ** 32)")
    asked = [prompt, picture, canvas, strength, seed, count, steps]
    shown = [video, caption, xt, message, make, stop]
    # The studio has a queue of its own, which says how long it is.
    # Gradio looks for generator functions; the type checks of tests wrap `run` in a function that is none.
    making = functools.wraps(run)(lambda *order: (yield from run(*order)))
    asks = [make.click, prompt.submit]
    made = gr.on(asks, making, asked, shown, concurrency_limit=None, **private)
    made.failure(None, None, [message, make, stop], js=messages.LOST)
    stop.click(cancel, queue=False, **private)
    page.unload(cancel)  # who closes the page waits for nothing
  return page


def live(
  work: Callable[[Callable[[Any], None]], Result], stop: Callable[[], Any]
) -> Generator[Any, None, Result]:
  """Runs `work(show)` in a thread; gives what it shows, the newest only, and returns what it returns.

  `stop()` is called at the end, also if nobody waits for it: it is to end the work.
  """
  news = queue.SimpleQueue()
  with concurrent.futures.ThreadPoolExecutor(1) as pool:
    job = pool.submit(work, news.put)
    job.add_done_callback(lambda _: news.put(None))
    try:
      while (update := news.get()) is not None:
        while update is not None and not news.empty():
          update = news.get()
        if update is None:
          break
        yield update
    finally:
      stop()
  return job.result()


@contextlib.contextmanager
def served(
  studio: Studio, host: str, port: int | None, allowed_hosts: Sequence[str] = ()
) -> Iterator[gr.Blocks]:
  """The page on the air, with a folder for uploads and results that goes when it does.

  Args:
    studio: what makes the videos; its orders are cancelled at the end.
    host: address to listen on.
    port: port to listen on; None for one that is free.
    allowed_hosts: names that the page is asked for by, beside `host`, `localhost`, this machine's name and IP addresses.

  Raises:
    OSError: if the address cannot be listened on.
  """
  folder = tempfile.mkdtemp(prefix="lumiere_web_")
  delete = functools.partial(shutil.rmtree, folder, ignore_errors=True)
  with contextlib.ExitStack() as at_end:  # what is named last is done first
    at_end.callback(delete)
    os.environ["GRADIO_TEMP_DIR"] = folder
    gr.routes.DEFAULT_TEMP_DIR = folder  # else /tmp/gradio, which may be somebody else's
    page = build(studio, folder).queue(api_open=False)
    launch(page, host, port, allowed_hosts)
    # Requests that still run may write to the folder. But who ended the program may not wait for them: it is deleted twice.
    at_end.callback(page.server.thread.join)
    at_end.callback(page.close, verbose=False)
    # Browsers that hold a connection open are not waited for, nor is each of them reported.
    page.server.force_exit = True
    at_end.callback(logging.getLogger("uvicorn.error").setLevel, "CRITICAL")
    at_end.callback(delete)
    at_end.callback(studio.close)
    yield page


def launch(page: gr.Blocks, host: str, port: int | None, allowed_hosts: Sequence[str]):
  """Puts a page on the air; raises OSError if the address cannot be listened on."""
  try:
    if port is not None:  # Gradio would leave its own attempt open
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
