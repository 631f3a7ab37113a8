"""How the command lines start and fail: one sentence and exit code 1, unless somebody asks for the traceback."""

import sys

from absl import app, flags, logging

_TRACEBACK = flags.DEFINE_bool("traceback", False, "Show the whole traceback of an error.")


def run(main):
  """Runs `main()` with parsed flags; what the user can mend ends in one line on stderr and exit code 1."""

  def guarded(argv):
    if len(argv) > 1:
      fail(f"{argv[1]!r} is not understood: every argument is a flag, --name=value")
    if not flags.FLAGS["verbosity"].present:
      logging.set_verbosity(logging.WARNING)  # Orbax reports each file it reads
    try:
      main()
    except (ValueError, OSError, RuntimeError) as error:
      if _TRACEBACK.value:
        raise
      fail(f"{error} (--traceback shows where)" if not str(error).strip() else str(error))

  app.run(guarded, flags_parser=_parse)


def _parse(argv):
  try:
    return flags.FLAGS(argv)
  except (AttributeError, KeyError) as error:
    if "--traceback" in argv:
      raise
    fail(f"no such field in the config: {_override_of(error, argv)}")
  except (flags.Error, TypeError, ValueError, OSError) as error:
    if "--traceback" in argv:
      raise
    fail(str(error))


def _override_of(error: Exception, argv) -> str:
  """The --config.path=value that a complaint about a field is about."""
  # Complaints quote the field, some with a hint after it, some quoted once more.
  text = str(error).replace("\\n", "\n").replace("\\'", "'").strip("'\"")
  field, *hint = text.split("\n")
  field = field.strip("'\"")
  given = [arg for arg in argv if arg.startswith("--config.") and field in arg.split("=")[0]]
  return ". ".join([given[0] if given else field, *hint])


def fail(message: str):
  """Prints the message on one line and exits with code 1."""
  lines = [line.strip() for line in message.splitlines() if line.strip()]
  print(f"error: {' '.join(lines)}", file=sys.stderr)
  sys.exit(1)
