"""Costs that the text of a compiled TPU program states."""

import collections
import re

import numpy as np

COLLECTIVES = ("all-gather", "all-reduce", "reduce-scatter", "all-to-all", "collective-permute")
# The compiler writes the largest integer for operations that it cannot estimate.
UNKNOWN = 2**62


def estimated_cycles(text: str, loops: bool = True) -> int:
  """The compiler's estimate over all operations of a program.

  Args:
    text: of the compiled program.
    loops: whether the body of a loop counts as often as it runs; the compiler's own sums (`cost_analysis`) count it once.
  """
  runs, total = _runs(text), 0
  for name, body in _computations(text):
    cycles = map(int, re.findall(r'"estimated_cycles":"(\d+)"', body))
    total += (runs[name] if loops else 1) * sum(n for n in cycles if n < UNKNOWN)
  return total


def collective_bytes(text: str) -> dict[str, float]:
  """Bytes in the results of a program's collectives, by kind."""
  sizes, runs = collections.Counter(), _runs(text)
  pattern = re.compile(rf"= (.*?) ({'|'.join(COLLECTIVES)})(-start)?\(")
  for name, body in _computations(text):
    for line in body.splitlines():
      found = pattern.search(line)
      if not found:
        continue
      arrays = [
        np.prod([int(n) for n in shape.split(",") if n], dtype=float) * _width(dtype)
        for dtype, shape in re.findall(r"\b([a-z]+\d*)\[([\d,]*)\]", found[1])
      ]
      # Asynchronous ones give (operand, result, ...): the largest is what travels.
      sizes[found[2]] += runs[name] * (max(arrays) if found[3] else sum(arrays))
  return dict(sizes)


def temporaries_that_did_not_fit(message: str) -> float | None:
  """Bytes of temporaries of a program that did not fit, from the compiler's error message; None if it does not state them."""
  found = re.search(r"HLO temporaries \(([\d.]+)G\)", message)
  return float(found[1]) * 2**30 if found else None


def _computations(text: str) -> list[tuple[str, str]]:
  """Names and bodies: `%name (arguments) -> result { ... }`, the main one with ENTRY before it."""
  return re.findall(r"^(?:ENTRY )?%(\S+) \([^\n]*\{\n(.*?)^\}", text, re.MULTILINE | re.DOTALL)


def _runs(text: str) -> dict[str, int]:
  """How often each computation runs: the body of a loop as often as the bound of its counter, others once."""
  bodies = dict(_computations(text))
  runs = dict.fromkeys(bodies, 1)
  pattern = re.compile(r" while\(.*?condition=%([^\s,]+), body=%([^\s,]+)")

  def enter(name: str, times: int):
    runs[name] = times
    for condition, inner in pattern.findall(bodies[name]):
      bounds = map(int, re.findall(r"= s32\[\]\S* constant\((\d+)\)", bodies[condition]))
      enter(inner, times * max(bounds, default=1))

  within = {inner for body in bodies.values() for _, inner in pattern.findall(body)}
  for name in bodies.keys() - within:
    enter(name, 1)
  return runs


def _width(dtype: str) -> float:
  found = re.search(r"\d+", dtype)
  return int(found[0]) / 8 if found else 1
