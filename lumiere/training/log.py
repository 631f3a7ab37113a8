"""Where the lines go that a training writes: few to the terminal, all of them to WORKDIR/train.log."""

import logging as python_logging
from logging import handlers

import jax
from absl import flags, logging
from etils import epath

from lumiere import processes

# Of these the terminal shows nothing: what fails in them is raised, and ends in one line.
LIBRARIES = ("/orbax/checkpoint/", "/tensorflow_datasets/", "/clu/", "/asyncio/")


def say(line: str):
  """A line for the terminal of the first process, and for the log."""
  logging.info(line)
  if processes.is_first():
    print(line, flush=True)


def quiet_terminal():
  """From now on the terminal shows what --verbosity asks for: by default warnings, and none of libraries."""
  terminal, verbosity = logging.get_absl_handler(), flags.FLAGS["verbosity"]
  if verbosity.present:
    terminal.removeFilter(_is_shown)
  else:
    terminal.addFilter(_is_shown)
  level = verbosity.value if verbosity.present else logging.WARNING
  terminal.setLevel(logging.converter.absl_to_standard(level))
  logging.set_verbosity(max(level, logging.INFO))  # for the log


def _is_shown(record) -> bool:
  return not any(name in record.pathname for name in LIBRARIES)


class RunLog(handlers.MemoryHandler):
  """Within the block, lines of level INFO and above go to a file.

  They wait in memory until `write_to` has said where the workdir is and the run has made it: a run that cannot be leaves no
  file. On a bucket they are written a hundred at a time.
  """

  def __init__(self):
    super().__init__(capacity=0, flushLevel=python_logging.WARNING)
    self.setFormatter(python_logging.Formatter("%(asctime)s %(levelname)s %(name)s %(message)s"))
    self.setLevel(python_logging.INFO)
    self._path = None

  def __enter__(self):
    python_logging.getLogger().addHandler(self)
    return self

  def __exit__(self, _, error, __):
    if error is not None:
      logging.info("Ended by an error", exc_info=error)
    python_logging.getLogger().removeHandler(self)
    self.close()

  def write_to(self, workdir: epath.PathLike):
    """Says where the workdir is; to be called by all processes, once JAX knows how many there are."""
    index = jax.process_index()
    self._path = epath.Path(workdir) / (f"train.{index}.log" if index else "train.log")
    self._many = 100 if "://" in str(workdir) else 1

  def shouldFlush(self, record) -> bool:  # noqa: N802  (the standard library's name)
    """See `logging.handlers.MemoryHandler`."""
    if self.target is None and self._path and self._path.parent.is_dir():
      try:
        self.setTarget(_Quiet(self._path.open("a")))
        self.target.setFormatter(self.formatter)
      except OSError:
        self._path = None
    return self.target is not None and (
      len(self.buffer) >= self._many or record.levelno >= self.flushLevel
    )

  def close(self):
    """Writes what is left, and closes the file."""
    target = self.target
    super().close()
    if target:
      target.close()


class _Quiet(python_logging.StreamHandler):
  """On a disk that is full the training has something to say, not its log."""

  def handleError(self, record):  # noqa: N802  (the standard library's name)
    """See `logging.Handler`."""

  def close(self):
    """Closes the file, too."""
    try:
      self.stream.close()
    except OSError:
      pass
    super().close()
