"""Where the lines go that a training writes: few to the terminal, all of them to WORKDIR/train.log."""

import logging as python_logging
from logging import handlers

import jax
from absl import flags, logging
from etils import epath

from lumiere import processes

# Of these the terminal shows errors only.
LIBRARIES = ("/orbax/checkpoint/", "/tensorflow_datasets/", "/clu/")


def say(line: str):
  """A line for the terminal of the first process, and for the log."""
  logging.info(line)
  if processes.is_first():
    print(line, flush=True)


class RunLog(handlers.MemoryHandler):
  """Within the block, lines of level INFO and above go to a file; the terminal shows what --verbosity asks for.

  By default that is warnings, of the libraries errors. Lines wait in memory until `write_to` has said where the workdir is
  and the run has made it: a run that cannot be leaves no file. On a bucket they are written a hundred at a time.
  """

  def __init__(self):
    super().__init__(capacity=0, flushLevel=python_logging.WARNING)
    self.setFormatter(python_logging.Formatter("%(asctime)s %(levelname)s %(name)s %(message)s"))
    self._path = None

  def __enter__(self):
    self._terminal, self._before = logging.get_absl_handler(), logging.get_verbosity()
    verbosity = flags.FLAGS["verbosity"]
    self._asked = verbosity.present
    level = verbosity.value if verbosity.present else logging.WARNING
    self._terminal.setLevel(logging.converter.absl_to_standard(level))
    self._terminal.addFilter(self._is_shown)
    logging.set_verbosity(max(level, logging.INFO))
    python_logging.getLogger().addHandler(self)
    return self

  def __exit__(self, _, error, __):
    if error is not None:
      logging.info("Ended by an error", exc_info=error)
    python_logging.getLogger().removeHandler(self)
    self._terminal.removeFilter(self._is_shown)
    self._terminal.setLevel(python_logging.NOTSET)
    logging.set_verbosity(self._before)
    self.close()

  def _is_shown(self, record) -> bool:
    library = any(name in record.pathname for name in LIBRARIES)
    return self._asked or not library or record.levelno >= python_logging.ERROR

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
