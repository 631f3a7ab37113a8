"""Nested mappings -> dataclasses, and checks of fields, with errors that name the field, its value and what is accepted."""

import dataclasses
import math
import types
import typing
from collections.abc import Mapping
from typing import Any


def from_mapping(cls: type, mapping: Mapping[str, Any], path: str):
  """Builds the dataclass `cls`, and the dataclasses in it, from nested mappings; `path` is for messages."""
  mapping = dict(mapping.items())
  fields = {field.name: field for field in dataclasses.fields(cls)}
  for name in mapping:
    if name not in fields:
      raise ValueError(f"{path}.{name}: no such field; there are {', '.join(fields)}")
  for name, field in fields.items():
    if name not in mapping and field.default is field.default_factory is dataclasses.MISSING:
      raise ValueError(f"{path}.{name}: missing, and it has no default")
  values = {
    name: _value(fields[name].type, value, f"{path}.{name}") for name, value in mapping.items()
  }
  try:
    return cls(**values)
  except ValueError as error:
    raise ValueError(_placed(path, str(error))) from error
  except TypeError as error:
    raise ValueError(f"{path}: {error}") from error


def _number(value) -> bool:
  return isinstance(value, (int, float)) and not isinstance(value, bool)


# Type of a field -> (what it takes, in words, and as a test).
_TAKES = {
  bool: ("True or False", lambda value: isinstance(value, bool)),
  int: ("a whole number", lambda value: _number(value) and isinstance(value, int)),
  float: ("a finite number", lambda value: _number(value) and math.isfinite(value)),
  str: ("text", lambda value: isinstance(value, str)),
  Mapping: ("a section with fields", lambda value: isinstance(value, Mapping)),
  tuple: ("a list", lambda value: isinstance(value, (list, tuple))),
  types.NoneType: ("None", lambda value: value is None),
}


def _value(annotation, value, path: str):
  """A field's value as its dataclass takes it; raises ValueError if it is not of the field's type."""
  wanted = []
  for kind in _alternatives(annotation):
    origin = typing.get_origin(kind) or kind
    if origin is typing.Literal:
      choices = typing.get_args(kind)
      wanted.append(f"one of {', '.join(choices)}")
      if isinstance(value, str) and value in choices:
        return value
      continue
    if dataclasses.is_dataclass(kind):
      if isinstance(value, kind):
        return value
      origin = Mapping
    words, takes = _TAKES[origin]
    wanted.append(words)
    if not takes(value):
      continue
    if dataclasses.is_dataclass(kind):
      return from_mapping(kind, value, path)
    if origin is tuple:  # JSON has no tuples
      item = typing.get_args(kind)[0]
      return tuple(_value(item, each, f"{path}[{index}]") for index, each in enumerate(value))
    return float(value) if origin is float else value
  raise ValueError(f"{path}={value!r} must be {' or '.join(wanted)}")


def _placed(path: str, message: str) -> str:
  """The message with the path of what it is about in front: config.train.num_steps=0 must be ..."""
  root, _, section = path.partition(".")
  if message.startswith(f"{path}.") or message.startswith(f"{path}:"):
    return message
  return f"{root}.{message}" if message.startswith(f"{section}.") else f"{path}: {message}"


def _alternatives(annotation) -> tuple:
  return typing.get_args(annotation) if isinstance(annotation, types.UnionType) else (annotation,)


def named(field: str, make, options: Mapping[str, Any]):
  """`make(name, **rest)` from `options`, with errors that name the config field."""
  options = dict(options)
  if "name" not in options:
    raise ValueError(f"{field}={options}: 'name' is missing")
  try:
    return make(options.pop("name"), **options)
  except TypeError as error:
    raise ValueError(f"{field}: {error}") from error


def at_least(field: str, value, lowest):
  """Raises ValueError unless value >= lowest, and finite."""
  if not lowest <= value < math.inf:
    raise ValueError(f"{field}={value} must be {lowest} or more")


def between(field: str, value, lowest, highest):
  """Raises ValueError unless lowest <= value <= highest."""
  if not lowest <= value <= highest:
    raise ValueError(f"{field}={value} must be between {lowest} and {highest}")


def one_of(field: str, value, accepted):
  """Raises ValueError unless value is one of `accepted`."""
  if value not in accepted:
    raise ValueError(f"{field}={value!r} must be one of {', '.join(accepted)}")
