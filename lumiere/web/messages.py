"""What the page says beside its buttons, as HTML."""

import html
import json

from lumiere.web.studio import Report


def said(text: str) -> str:
  """A message for the page."""
  return f'<div role="status">{html.escape(text)}</div>'


def failed(error: Exception | str) -> str:
  """The one sentence of what is wrong."""
  text = " ".join(str(error).split()).rstrip(".")
  first = text.partition(" ")[0]
  text = text[:1].upper() + text[1:] if first.isalpha() else text  # names of files stay as they are
  return f'<div role="alert" class="error">{html.escape(text)}.</div>'


def working(about: str, report: Report) -> str:
  """How far an order has come, under what it asks for."""
  bar = "<progress></progress>"
  if report.stops:
    now = "Cancelled: it ends with the step that is being made."
  elif report.before:
    videos = "one video is" if report.before == 1 else f"{report.before} videos are"
    now = f"In the queue: {videos} made first."
  elif not report.total:
    now = "Starting."
  else:
    step = f"{report.title}, step {report.done + 1} of {report.total}"
    now = f"{step[0].upper()}{step[1:]}."
    if report.compiles:
      now += " It waits for its program to be compiled, once for videos of this length."
    bar = f'<progress value="{report.done}" max="{report.total}"></progress>'
  return f"{said(now)}{bar}<div>{html.escape(about)}.</div>"


def whole(name: str, value: float | int | None) -> int:
  """What a number field holds; raises ValueError if that is no whole number."""
  if value is None or value != int(value):
    raise ValueError(f"the {name} must be a whole number")
  return int(value)


# A script for the browser: the message, and both buttons, where the server answers with an error before our code is reached.
LOST = f"""() => [
  {json.dumps(failed("the server did not take this: reload the page, and give the picture again if there is one"))},
  {{__type__: "update", interactive: true}},
  {{__type__: "update", interactive: false}},
]"""
