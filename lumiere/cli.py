"""How command lines start, and how they fail: with one line and exit code 1, unless --traceback asks for more."""

import dataclasses
import importlib.util
import inspect
import itertools
import os
import pathlib
import re
import sys
import textwrap
import traceback
from collections.abc import Callable, Mapping, Set

from absl import app, flags, logging

from lumiere import user_cache

# TensorFlow, which only reads and writes files here, announces its processor and oneDNN when it is imported.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "1")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
_TRACEBACK = flags.DEFINE_bool("traceback", False, "Show the whole traceback of an error.")


@dataclasses.dataclass(frozen=True)
class Command:
  """One of the commands of a program.

  Attributes:
    about: what it does.
    example: a command line.
    flags: the flags that not all of the program's commands take.
  """

  about: str
  example: str
  flags: tuple[str, ...]


def run(main: Callable, commands: Mapping[str, Command] | None = None):
  """Runs `main()` with parsed flags. Errors that the user can fix are printed as one line on stderr, with exit code 1.

  With `commands`, the program's first argument may be one of them; by default it is the first. Then `main(command)` runs.
  """

  def guarded(argv):
    chosen = []
    if commands:
      named = len(argv) > 1 and argv[1] in commands
      chosen = [argv.pop(1) if named else next(iter(commands))]
      _check_flags(chosen[0], commands)
    if len(argv) > 1:
      known = f", or a command first: {', '.join(commands)}" if commands else ""
      fail(f"unexpected argument {argv[1]!r}: every argument is a flag, --name=value{known}")
    user_cache.keep_compiled()
    if not flags.FLAGS["verbosity"].present:
      logging.set_verbosity(logging.WARNING)  # Orbax reports each file it reads
    try:
      main(*chosen)
    except (ValueError, OSError, RuntimeError) as error:
      if _TRACEBACK.value:
        raise
      fail(f"{error} (--traceback shows where)" if not str(error).strip() else str(error))

  app.run(guarded, flags_parser=lambda argv: _parse(argv, commands))


def _check_flags(command: str, commands: Mapping[str, Command]):
  """Fails if a flag was given that only other commands take."""
  others = {name for each in commands.values() for name in each.flags} - set(
    commands[command].flags
  )
  for name in sorted(others):
    if flags.FLAGS[name].present:
      takers = ", ".join(other for other, each in commands.items() if name in each.flags)
      fail(f"--{name} is not a flag of {command!r}, only of {takers}")


def _parse(argv, commands=None):
  if {"--help", "-help", "-h"} & set(argv):
    print(help_text(next((word for word in argv[1:] if word in (commands or ())), None), commands))
    sys.exit(0)
  for arg, following in itertools.pairwise([*argv[1:], ""]):
    name, separator, value = arg.partition("=")
    if name in ("--config", "-config") and "config" in flags.FLAGS:
      check_config_file(value if separator else following)
  try:
    return flags.FLAGS(argv)
  except (AttributeError, KeyError) as error:
    if "--traceback" in argv:
      raise
    fail(f"no such field in the config: {_override_of(error, argv)}")
  except (flags.Error, TypeError, ValueError, OSError) as error:
    if "--traceback" in argv:
      raise
    message = re.sub(r"invalid literal for int\(\) .*", "a whole number is needed", str(error))
    fail(re.sub(r"could not convert string to float: .*", "a number is needed", message))


def check_config_file(value: str):
  """Fails, naming the file and its line, unless `--config=FILE[:VARIANT]` gives a config.

  ml_collections reads it once more; its own errors are tracebacks, or appear at the first access to a field.
  """
  name, separator, variant = value.partition(":")
  path = pathlib.Path(name)
  if not path.is_file():
    what = "is a folder" if path.is_dir() else "does not exist"
    fail(f"--config={name} {what}: give an experiment, such as --config=configs/t2i_tiny.py")
  try:
    spec = importlib.util.spec_from_file_location("config", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    if not callable(getattr(module, "get_config", None)):
      fail(f"--config={name} has no function get_config()")
    if separator and not inspect.signature(module.get_config).parameters:
      fail(f"--config={value}: {name} has no variants, {variant!r} cannot be chosen")
    config = module.get_config(*([variant] if separator else []))
  except Exception as error:
    if "--traceback" in sys.argv:
      raise
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]  # fmt: skip
    line = error.lineno if isinstance(error, SyntaxError) else lines[-1] if lines else None
    where = f"--config={value}" if line is None else f"--config={value}, line {line}"
    reason = error.msg if isinstance(error, SyntaxError) else str(error)
    kind = "" if isinstance(error, ValueError) else f"{type(error).__name__}: "
    fail(f"{where}: {kind}{reason}")
  if not hasattr(config, "copy_and_resolve_references"):
    fail(f"--config={name}: get_config() must return a ConfigDict, not {type(config).__name__}")


def help_text(command: str | None, commands: Mapping[str, Command] | None = None) -> str:
  """What `--help` prints: of one command, or of the program."""
  about = (sys.modules["__main__"].__doc__ or "").strip()
  ours = {flag.name for flag in flags.FLAGS.get_key_flags_for_module(sys.argv[0])}
  if commands is None:
    return "\n".join([about, *_flag_lines("Flags", ours)])
  shared = ours - {name for each in commands.values() for name in each.flags}
  if command is None:
    lines = [about, "", "Commands (COMMAND --help shows the flags of one):"]
    for name, each in commands.items():
      lines += ["", f"  {name}: {each.about}", f"    {each.example}"]
    return "\n".join([*lines, *_flag_lines("Flags of all commands", shared)])
  each = commands[command]
  lines = [each.about, "", f"  {each.example}"]
  lines += _flag_lines("Its own flags", set(each.flags))
  return "\n".join([*lines, *_flag_lines("Flags of all commands", shared)])


def _flag_lines(title: str, names: Set[str]) -> list[str]:
  """A paragraph that explains flags."""
  lines = ["", f"{title}:"]
  for name in sorted(names):
    flag = flags.FLAGS[name]
    default = "" if flag.default in (None, []) else f" (default: {flag.default})"
    text = textwrap.fill(flag.help.split(";\n")[0] + default, 78, subsequent_indent=" " * 22)
    lines.append(f"  {f'--{name}':<18}  {text}")
  return lines


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
