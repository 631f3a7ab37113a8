"""A page about a curation: where files and clips went, with examples that play, and the scores with the rules drawn in."""

import html
import pathlib
import re
from collections.abc import Sequence

import numpy as np
import pandas as pd

from lumiere.data.curation import decide, records
from lumiere.data.frames import write_bytes

# Examples of each reason.
SHOWN = 8
# Of the examples: shorter side and x264's quality.
_PREVIEW = records.RecordSettings(crf=28, side=128)
_SCORES = ("motion", "local_motion", "blur", "brightness", "contrast", "text", "overlay", "side")
_FILES = ("duration", "fps", "height", "width")


def write(
  out: pathlib.Path,
  sources: pd.DataFrame,
  clips: pd.DataFrame,
  folder: pathlib.Path,
  rules: Sequence[str],
  num_frames: int,
  fps: float,
) -> pathlib.Path:
  """Writes OUT/index.html and the examples beside it; returns the page.

  Args:
    out: folder of the page.
    sources: table of files.
    clips: table of clips, with what was decided.
    folder: of the videos.
    rules: that were asked for, whose thresholds are drawn into the histograms.
    num_frames: of a clip.
    fps: of a clip.
  """
  kinds = decide.kinds(clips)
  body = ["<h2>Files</h2>", table(decide.file_counts(sources), len(sources))]
  body += ["<div class=grid>", *(histogram(name, sources[name]) for name in _FILES), "</div>"]
  body += ["<h2>Clips</h2>", table(kinds.value_counts(sort=False).to_dict(), len(clips))]
  body += [
    sees(clips, num_frames, fps),
    "<h2>Scores</h2>",
    "<p>Of all clips; lines are the rules' thresholds.</p>",
  ]
  names = [name for name in _SCORES if name in clips]
  names += [c for c in clips if c not in names and c not in _OWN and clips[c].dtype.kind in "if"]
  body += [
    "<div class=grid>",
    *(histogram(n, clips[n], thresholds(n, rules)) for n in names),
    "</div>",
  ]
  body += ["<h2>Captions</h2>", captions(clips)]
  body.append("<h2>Examples</h2>")
  for number, kind in enumerate(kinds.cat.categories):
    some = clips[kinds == kind]
    if len(some):
      body += [f"<h3>{html.escape(kind)}: {len(some)}</h3>", "<div class=grid>"]
      body += examples(some, out, number, folder, num_frames, fps)
      body.append("</div>")
  page = out / "index.html"
  write_bytes(page, PAGE.format(body="\n".join(body)).encode())
  return page


# Columns that say where a clip is, and no score.
_OWN = ("clip", "start", "duration", "height", "width", "top", "bottom", "left", "right", "group")


def examples(
  some: pd.DataFrame, out: pathlib.Path, number: int, folder, num_frames: int, fps: float
) -> list[str]:
  """A few clips, spread evenly over those that there are."""
  places = np.unique(np.linspace(0, len(some) - 1, SHOWN).round().astype(int))
  figures = []
  for row in some.iloc[places].to_dict("records"):
    name = f"{number}_{len(figures)}.mp4"
    about = f"{row['source']}, {row['start']:.1f} s"
    try:
      ((_, clip),) = records.clips_of(folder / row["source"], [row], num_frames, fps, _PREVIEW)
      write_bytes(out / "clips" / name, clip["video"])
      shown = f'<video src="clips/{name}" autoplay loop muted playsinline></video>'
    except ValueError as error:
      shown = f"<p>{html.escape(str(error))}</p>"
    texts = [row["caption"], row["reason"]]
    lines = "".join(f"<br><small>{html.escape(text)}</small>" for text in texts if text)
    figures.append(f"<figure>{shown}<figcaption>{html.escape(about)}{lines}</figcaption></figure>")
  return figures


def table(counts: dict[str, int], total: int) -> str:
  """Counts with bars."""
  rows = [
    f"<tr><td>{html.escape(name)}<td class=number>{count}<td class=number>{count / max(total, 1):.1%}"
    f'<td><div class=bar style="width: {20 * count / max(total, 1):.2f}rem"></div>'
    for name, count in counts.items()
    if count
  ]
  return "<table>" + "\n".join(rows) + "</table>"


def sees(clips: pd.DataFrame, num_frames: int, fps: float) -> str:
  """What training will see."""
  kept = clips[clips["reason"] == ""]
  parts = [f"{len(rows)} clips of {split}" for split, rows in kept.groupby("split", sort=True)]
  hours = kept["duration"].sum() / 3600
  if not len(kept):
    return "<p>Training would see nothing.</p>"
  square = np.mean(kept["side"] ** 2 / (kept["height"] * kept["width"]))
  return (
    f"<p>Training sees {' and '.join(parts)}, each {num_frames} frames at {fps:g} fps, {hours:.2f} hours. The square in the middle is"
    f" {square:.0%} of their pixels.</p>"
  )


def captions(clips: pd.DataFrame) -> str:
  """Lengths, and the captions that occur most often."""
  texts = clips["caption"][clips["caption"] != ""].drop_duplicates()
  if not len(texts):
    return "<p>There are none.</p>"
  words = texts.str.split().str.len()
  sizes = texts.str.encode("utf-8").str.len()
  by_source = clips[clips["caption"] != ""].groupby("caption")["source"].nunique()
  repeated = by_source[by_source > 1].sort_values(ascending=False, kind="stable")
  lines = [f"<p>{len(texts)} captions; {len(repeated)} of them belong to several files.</p>"]
  if len(repeated):
    lines.append("<ul>")
    lines += [
      f"<li>{count} files: {html.escape(text)}</li>" for text, count in repeated[:5].items()
    ]
    lines.append("</ul>")
  figures = (histogram("words", words), histogram("bytes", sizes))
  return "\n".join([*lines, "<div class=grid>", *figures, "</div>"])


def thresholds(column: str, rules: Sequence[str]) -> list[float]:
  """The numbers that a column is compared with."""
  number = r"([-+]?\d+\.?\d*(?:[eE][-+]?\d+)?)"
  pattern = rf"(?<!\w){re.escape(column)}\s*[<>]=?\s*{number}"
  return [float(found) for rule in rules for found in re.findall(pattern, rule)]


def histogram(name: str, values: pd.Series, lines: Sequence[float] = ()) -> str:
  """An SVG of 40 bins, from the least to the 99.5th percentile, where the rest is added to the last one."""
  values = values.astype(float).replace([np.inf, -np.inf], np.nan).dropna().to_numpy()
  if not len(values):
    return f"<figure><figcaption>{html.escape(name)}: no values</figcaption></figure>"
  low, high = float(values.min()), float(np.quantile(values, 0.995, method="higher"))
  low, high = min([low, *lines]), max([high, *lines])
  high = high if high > low else low + 1.0
  counts, _ = np.histogram(np.clip(values, low, high), bins=40, range=(low, high))
  bars = [
    f'<rect x="{5 * i}" y="{80 - 80 * count / counts.max():.1f}" width="4" height="{80 * count / counts.max():.1f}"/>'
    for i, count in enumerate(counts)
    if count
  ]
  at = lambda value: 200 * (value - low) / (high - low)
  marks = [f'<line x1="{at(x):.1f}" x2="{at(x):.1f}" y1="0" y2="80"/>' for x in lines]
  return (
    f'<figure><svg viewBox="0 0 200 80">{"".join(bars + marks)}</svg><figcaption>{html.escape(name)}'
    f"<small>, {low:.3g} to {high:.3g}, median {np.median(values):.3g}</small></figcaption></figure>"
  )


PAGE = """<!doctype html>
<html lang=en>
<meta charset=utf-8>
<meta name=viewport content="width=device-width, initial-scale=1">
<title>Curation</title>
<style>
  body {{ font-family: system-ui, sans-serif; max-width: 72rem; margin: 2rem auto; padding: 0 1rem; }}
  .grid {{ display: grid; grid-template-columns: repeat(auto-fill, minmax(14rem, 1fr)); gap: 1rem; }}
  figure {{ margin: 0; }}
  video, svg {{ width: 100%; background: #eee; }}
  rect {{ fill: #38c; }}
  line {{ stroke: #c33; }}
  small {{ color: #555; }}
  td {{ padding: 0.1rem 0.8rem 0.1rem 0; }}
  .number {{ text-align: right; }}
  .bar {{ background: #38c; height: 0.8rem; }}
</style>
<h1>Curation</h1>
{body}
</html>
"""
