"""A finding: what was looked at, what was measured, and what to do if that is wrong."""

import dataclasses
import textwrap
from collections.abc import Mapping, Sequence
from typing import Literal

# "wrong": it will not learn what it should. "look": it may be meant. "skipped": it could not be looked at; the text says why.
Verdict = Literal["fine", "look", "wrong", "skipped"]
Line = Sequence[tuple[float | int, float | int]]


@dataclasses.dataclass(frozen=True)
class Plot:
  """Lines for the page.

  Attributes:
    lines: points (x, y) by name.
    x: title of the x axis.
    y: title of the y axis.
  """

  lines: Mapping[str, Line]
  x: str
  y: str


@dataclasses.dataclass(frozen=True)
class Finding:
  """What was found of one thing.

  Attributes:
    name: of what was looked at, such as "order of frames".
    verdict: see `Verdict`.
    measured: what was found, with its figures.
    advice: what to do; empty if all is fine.
    plot: for the page.
  """

  name: str
  verdict: Verdict
  measured: str
  advice: str = ""
  plot: Plot | None = None

  def __str__(self) -> str:
    first = textwrap.fill(
      f"{self.verdict:8}{self.name}: {self.measured}", 120, subsequent_indent=" " * 8
    )
    if not self.advice:
      return first
    return f"{first}\n" + textwrap.fill(f"{'':8}-> {self.advice}", 120, subsequent_indent=" " * 11)


def judged(
  name: str, verdict: Verdict, measured: str, advice: str, plot: Plot | None = None
) -> Finding:
  """A finding with its advice only where something is to be done."""
  return Finding(name, verdict, measured, advice if verdict in ("look", "wrong") else "", plot)
