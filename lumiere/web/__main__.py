"""A web page that generates videos from text and images, one at a time.

python -m lumiere.web
python -m lumiere.web --workdir=runs/stunet_masked_tiny --ssr_workdir=runs/ssr_tiny

Images are animated if the base is conditional (configs/stunet_masked_tiny.py). Needs Gradio: pip install -e '.[web]'
"""

import contextlib
import signal
import sys
from collections.abc import Iterator

from absl import flags

from lumiere import cli

_WORKDIR = flags.DEFINE_string(
  "workdir", None, "Workdir of a stunet training run, or a release; default: the model that ships."
)
_SSR_WORKDIR = flags.DEFINE_string(
  "ssr_workdir",
  None,
  "The same of super-resolution. Without it, or empty, videos keep the base resolution; default: that of the model that ships.",
)
_STYLE = flags.DEFINE_string(
  "style",
  None,
  "Workdir of a t2i run fine-tuned to a style, or its release, or the name of one that ships; adds a slider for its strength.",
)
_TEXT_ENCODER = flags.DEFINE_string(
  "text_encoder", None, "Folder of a converted text encoder, for models without one of their own."
)
_SIZE = flags.DEFINE_string(
  "size", None, "HEIGHTxWIDTH of the videos in pixels, or a side; default: as trained."
)
_HOST = flags.DEFINE_string(
  "host", "127.0.0.1", "Address to listen on; the default serves this machine only."
)
_PORT = flags.DEFINE_integer("port", 7860, "Port to listen on.", lower_bound=1, upper_bound=65535)
_ALLOWED_HOSTS = flags.DEFINE_list(
  "allowed_hosts",
  [],
  "Further host names that requests may use, such as that of a reverse proxy; IP addresses, localhost, this machine's "
  "name and --host are always allowed.",
)


def main():
  """Restores the models and serves the page until Ctrl-C or another signal ends it."""
  try:
    from lumiere.web import page
  except ModuleNotFoundError as error:
    raise RuntimeError(f"the web page needs {error.name}: pip install -e '.[web]'") from error
  from lumiere import Cascade, pretrained, sizes
  from lumiere.web.studio import Studio

  models = pretrained.cascade_of(_WORKDIR.value, _SSR_WORKDIR.value)
  cascade = Cascade.restore(*models, text_encoder=_TEXT_ENCODER.value)
  if _SIZE.value is not None:
    cascade = cascade.of_size(sizes.read(_SIZE.value, "--size"))
  studio = Studio(cascade, pretrained.style_of(_STYLE.value))
  serving = page.served(studio, _HOST.value, _PORT.value, _ALLOWED_HOSTS.value)
  with exit_on_signals(), serving as blocks:
    print(f"{blocks.local_url} (Ctrl-C ends it)", flush=True)
    blocks.block_thread()


@contextlib.contextmanager
def exit_on_signals() -> Iterator[None]:
  """Turns SIGINT, SIGTERM and SIGHUP into SystemExit, so that context managers clean up."""

  def end(number, _):
    signal.signal(number, signal.SIG_DFL)  # a second signal ends the process at once
    sys.exit(128 + number)

  names = ("SIGINT", "SIGTERM", "SIGHUP")  # Windows lacks SIGHUP
  numbers = [getattr(signal, name) for name in names if hasattr(signal, name)]
  before = {number: signal.getsignal(number) for number in numbers}
  for number, handler in before.items():
    if handler in (signal.SIG_DFL, signal.default_int_handler):  # nohup ignores SIGHUP
      signal.signal(number, end)
  try:
    yield
  finally:
    for number, handler in before.items():
      signal.signal(number, handler)


if __name__ == "__main__":
  cli.run(main)
