"""The page: where things stand, and which button does what. Nothing on it comes from, or goes to, another machine."""

import contextlib
import html
import os
import pathlib
import socket
import tempfile
import time
from collections.abc import Iterator

from absl import logging

# Some of Gradio's reports ask the environment only, and when it is imported.
os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"

import gradio as gr  # noqa: E402

from lumiere.data import frames  # noqa: E402
from lumiere.web import studio as studios  # noqa: E402
from lumiere.web.studio import Cancelled, Order, Studio  # noqa: E402

TITLE = "Open Lumiere"
EXAMPLES = (
  "a red circle moves to the left quickly on black",
  "a yellow square spins clockwise slowly on navy",
  "a white triangle bounces fast on gray",
)
FAMILY = ("system-ui", "sans-serif")
CSS = """
.message { min-height: 1.5em; padding: 0 .25em }
.message .error { color: var(--error-text-color, #b91c1c); font-weight: 600 }
"""


def build(studio: Studio, folder: str) -> gr.Blocks:
  """The page around a studio, which writes its videos to a folder."""
  cascade, animates = studio.cascade, studio.animates
  side, trained = cascade.resolution, cascade.num_frames
  experiment = cascade.base.experiment
  factor = experiment.temporal.total_factor

  def read(path: str):
    """An upload -> (the file if it is good, the picture, where to paint, a message)."""
    try:
      picture = studio.read_picture(path)
    except ValueError as error:
      return *forget(), failed(error)
    canvas = {"background": picture, "layers": [], "composite": picture}
    return path, picture, gr.update(value=canvas, visible=True), ""

  def forget():
    return None, None, gr.update(value=None, visible=False)

  def start():
    text = "Working. The first video of its kind waits for a program to be compiled."
    return None, None, said(text)

  def run(
    prompt,
    picture,
    canvas,
    strength,
    seed,
    count,
    steps,
    request: gr.Request,
    bar=gr.Progress(),  # noqa: B008 (how Gradio is told to give one)
  ):
    """An order -> (video, X-T slice, a message)."""
    layers = (canvas or {}).get("layers", []) if picture is not None else []
    begin = time.monotonic()
    try:
      order = Order(prompt, picture, layers, whole("seed", seed), int(count), int(steps), strength)
      video = studio.make(order, request.session_hash, bar)
    except Cancelled:
      return None, None, said("Cancelled.")
    except ValueError as error:
      return None, None, failed(error)
    except Exception:
      logging.exception("making a video failed")
      return None, None, failed("this failed for a reason of the server's; its log says more")
    about = f"{len(video)} frames of {video.shape[2]}x{video.shape[1]} pixels, seed {order.seed}"
    path = pathlib.Path(tempfile.mkdtemp(dir=folder)) / "video.mp4"
    frames.write_video(path, video, experiment.data.fps)
    message = said(f"{about}, in {time.monotonic() - begin:.0f} s.")
    return str(path), frames.xt_slice(video), message

  def cancel(request: gr.Request):
    studio.cancel(request.session_hash)
    return None, None, said("Cancelled.")

  def leave(request: gr.Request):
    studio.cancel(request.session_hash)

  # What was uploaded or made an hour ago is deleted.
  with gr.Blocks(title=TITLE, analytics_enabled=False, delete_cache=(600, 3600)) as page:
    pictures = (
      "Give a picture to begin with, and paint on it to make only a part of it move."
      if animates
      else "This model works from text only: it was not trained to be given pictures."
    )
    gr.Markdown(
      f"# {TITLE}\nWrite what the video is to show. {pictures} Videos have {side}x{side} pixels; one is made at a time."
    )
    with gr.Row(equal_height=False):
      with gr.Column():
        prompt = gr.Textbox(
          label="Prompt", lines=2, value=EXAMPLES[0], max_length=studios.MAX_PROMPT, autofocus=True
        )
        gr.Examples([[example] for example in EXAMPLES], prompt, label="Prompts to try")
        upload = gr.File(label="Picture to animate", type="filepath", height=120, visible=animates)
        picture = gr.State()
        canvas = gr.ImageEditor(
          label="Paint what is to move",
          sources=(),
          transforms=(),
          layers=False,
          buttons=[],
          brush=gr.Brush(default_size=48, colors=[("#ff3b30", 0.6)], color_mode="fixed"),
          eraser=gr.Eraser(default_size=48),
          canvas_size=(studios.CANVAS, studios.CANVAS),
          height=460,
          visible=False,
          elem_id="canvas",
        )
        strength = gr.Slider(
          0, 1, 0.75 if studio.style else 0, step=0.05, label="Style strength",
          info="0: the model's own look, 1: the style's", visible=studio.style is not None,
        )  # fmt: skip
        with gr.Row():
          seed = gr.Number(
            0,
            label="Seed",
            precision=0,
            minimum=0,
            info="Another, another video",
            min_width=120,
          )
          count = gr.Slider(
            factor,
            trained * studios.MAX_LENGTH,
            trained,
            step=factor,
            label="Frames",
            info=f"{experiment.data.fps:g} a second",
            min_width=120,
          )
          steps = gr.Slider(
            1, max(100, experiment.sampling.num_steps), experiment.sampling.num_steps, step=1,
            label="Steps", info="More take longer", min_width=120,
          )  # fmt: skip
        with gr.Row():
          make = gr.Button("Make the video", variant="primary")
          stop = gr.Button("Cancel", variant="stop")
        message = gr.HTML(elem_classes="message", elem_id="message")
      with gr.Column():
        video = gr.Video(
          label="Video",
          autoplay=True,
          loop=True,
          interactive=False,
          height=440,
          buttons=["download"],
        )
        xt = gr.Image(
          elem_id="xt", label="X-T slice: the middle row of every frame, time running down",
          format="png", interactive=False, height=300, buttons=["download", "fullscreen"],
        )  # fmt: skip

    private = dict(api_visibility="private", show_progress="hidden")
    found = [upload, picture, canvas, message]
    upload.upload(read, upload, found, **private)
    gr.on([upload.clear, canvas.clear], forget, None, found[:-1], **private)
    shown = [video, xt, message]
    asked = [prompt, picture, canvas, strength, seed, count, steps]
    begun = gr.on([make.click, prompt.submit], start, None, shown, queue=False, **private)
    made = begun.then(
      run, asked, shown, api_visibility="private", concurrency_limit=1, show_progress_on=video
    )
    # Two listeners: the first stops what is being made, the second takes out of the queue what waits there.
    stop.click(cancel, None, shown, queue=False, **private)
    stop.click(None, cancels=[made])
    page.unload(leave)  # who closes the page waits for nothing
  return page


@contextlib.contextmanager
def served(studio: Studio, host: str, port: int | None) -> Iterator[gr.Blocks]:
  """The page on the air (without a port: on one that is free), with a folder for uploads and results that goes when it does.

  Raises:
    OSError: if the address cannot be listened on.
  """
  with tempfile.TemporaryDirectory(prefix="lumiere_web_") as folder:
    os.environ["GRADIO_TEMP_DIR"] = folder
    page = build(studio, folder).queue(max_size=16, api_open=False)
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
        theme=gr.themes.Soft(font=FAMILY, font_mono=("ui-monospace", "monospace")),
        css=CSS,
      )
    except OSError as error:
      raise OSError(f"--host={host} --port={port} cannot be listened on: is it in use?") from error
    try:
      yield page
    finally:
      page.close(verbose=False)


def said(text: str) -> str:
  """A message for the page."""
  return f'<div role="status">{html.escape(text)}</div>'


def failed(error: Exception | str) -> str:
  """The one sentence of what is wrong."""
  text = " ".join(str(error).split())
  return f'<div role="alert" class="error">{html.escape(text)}.</div>'


def whole(name: str, value) -> int:
  """What a number field holds; raises ValueError if that is no whole number."""
  if value is None or value != int(value):
    raise ValueError(f"the {name} must be a whole number")
  return int(value)
