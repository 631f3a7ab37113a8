"""The messages that the page shows below its buttons, as HTML."""

import html
import json

from lumiere.web.studio import Progress


def said(text: str) -> str:
  """A plain message."""
  return f'<div role="status">{html.escape(text)}</div>'


def failed(error: Exception | str) -> str:
  """An error message, as one sentence."""
  text = " ".join(str(error).split()).rstrip(".")
  first = text.partition(" ")[0]
  text = text[:1].upper() + text[1:] if first.isalpha() else text  # but not the name of a file
  return f'<div role="alert" class="error">{html.escape(text)}.</div>'


def working(about: str, report: Progress) -> str:
  """The progress of a request, above what it asks for."""
  bar = "<progress></progress>"
  if report.cancelling:
    now = "Cancelling after the current step."
  elif report.ahead:
    now = f"Queued: {report.ahead} video{'s' if report.ahead > 1 else ''} ahead."
  elif not report.total:
    now = "Starting."
  else:
    step = f"{report.title}, step {report.done + 1} of {report.total}"
    now = f"{step[0].upper()}{step[1:]}."
    if report.compiling:
      now += " Compiling, once for each length of video."
    bar = f'<progress value="{report.done}" max="{report.total}"></progress>'
  return f"{said(now)}{bar}<div>{html.escape(about)}.</div>"


def whole(name: str, value: float | int | None) -> int:
  """The value of a number field; raises ValueError unless it is a whole number."""
  if value is None or value != int(value):
    raise ValueError(f"the {name} must be a whole number")
  return int(value)


# JavaScript for the message and both buttons when a request fails before it reaches our code.
LOST = f"""() => [
  {json.dumps(failed("the server rejected the request: reload the page and upload the image again"))},
  {{__type__: "update", interactive: true}},
  {{__type__: "update", interactive: false}},
]"""
