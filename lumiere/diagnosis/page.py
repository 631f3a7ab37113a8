"""The findings as a page, with plots. It loads nothing from anywhere."""

import html
from collections.abc import Sequence

from etils import epath

from lumiere.diagnosis.findings import Finding, Plot

WIDTH, HEIGHT, MARGIN = 360, 200, 44
INKS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7")


def write(path: epath.PathLike, title: str, findings: Sequence[Finding]):
  """Writes the page."""
  rows = "".join(map(_row, findings))
  text = PAGE.format(title=html.escape(title), rows=rows)
  path = epath.Path(path)
  path.parent.mkdir(parents=True, exist_ok=True)
  path.write_text(text)


def _row(finding: Finding) -> str:
  advice = f"<p class=advice>{html.escape(finding.advice)}</p>" if finding.advice else ""
  plot = _svg(finding.plot) if finding.plot else ""
  return (
    f"<section class={finding.verdict}><h2><span>{finding.verdict}</span> {html.escape(finding.name)}</h2>"
    f"<p>{html.escape(finding.measured)}</p>{advice}{plot}</section>\n"
  )


def _svg(plot: Plot) -> str:
  """Lines with their names, and the ends of both axes."""
  points = [point for line in plot.lines.values() for point in line]
  (left, right), (low, high) = ((min(axis), max(axis)) for axis in zip(*points, strict=True))
  low = min(low, 0.0)
  right, high = right if right > left else left + 1, high if high > low else low + 1
  x = lambda value: MARGIN + (WIDTH - MARGIN - 8) * (value - left) / (right - left)
  y = lambda value: 8 + (HEIGHT - MARGIN) * (1 - (value - low) / (high - low))
  parts = [
    f'<text x="{MARGIN - 4}" y="{y(value) + 4:.0f}" text-anchor="end">{value:.3g}</text>'
    for value in (low, high)
  ]
  parts += [
    f'<text x="{x(value):.0f}" y="{HEIGHT - 20}" text-anchor="{anchor}">{value:.3g}</text>'
    for value, anchor in ((left, "start"), (right, "end"))
  ]
  parts.append(
    f'<text x="{WIDTH / 2}" y="{HEIGHT - 4}" text-anchor="middle">{html.escape(plot.x)}</text>'
  )
  for ink, (name, line) in zip(INKS, plot.lines.items(), strict=False):
    path = " ".join(f"{x(a):.1f},{y(b):.1f}" for a, b in line)
    parts.append(
      f'<polyline points="{path}" stroke="{ink}"><title>{html.escape(name)}</title></polyline>'
    )
  names = ", ".join(
    f'<b style="color: {ink}">{html.escape(name)}</b>'
    for ink, name in zip(INKS, plot.lines, strict=False)
  )
  return (
    f'<figure><svg viewBox="0 0 {WIDTH} {HEIGHT}">{"".join(parts)}</svg>'
    f"<figcaption>{html.escape(plot.y)}: {names}</figcaption></figure>"
  )


PAGE = """<!doctype html>
<html lang=en>
<meta charset=utf-8>
<meta name=viewport content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
  body {{ font-family: system-ui, sans-serif; max-width: 44rem; margin: 2rem auto; padding: 0 1rem; }}
  section {{ border-left: 0.4rem solid #999; margin: 1rem 0; padding: 0.1rem 1rem; }}
  section.fine {{ border-color: #009e73; }}
  section.look {{ border-color: #e69f00; }}
  section.wrong {{ border-color: #c00; }}
  h2 {{ font-size: 1rem; margin: 0.3rem 0; }}
  h2 span {{ color: #555; font-weight: normal; }}
  p {{ margin: 0.3rem 0; }}
  .advice {{ font-weight: 600; }}
  figure {{ margin: 0.5rem 0; max-width: 26rem; }}
  svg {{ width: 100%; background: #f6f6f6; }}
  svg text {{ font-size: 11px; fill: #333; }}
  polyline {{ fill: none; stroke-width: 2; }}
</style>
<h1>{title}</h1>
{rows}
</html>
"""
