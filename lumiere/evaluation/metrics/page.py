"""A page with the videos that lie nearest to a reference and farthest from it."""

import html
import pathlib
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from lumiere.data import frames
from lumiere.evaluation.metrics.compare import Figure
from lumiere.evaluation.metrics.distances import Moments
from lumiere.evaluation.metrics.features import Features
from lumiere.evaluation.metrics.protocol import Protocol

SHOWN = 8
# Of the animations on the page, frames per second.
FPS = 8.0


def distances_to(
  rows: Float[np.ndarray, "n d"], reference: Float[np.ndarray, "m d"] | Moments
) -> Float[np.ndarray, " n"]:
  """From each vector to the nearest one of the reference, or to its mean if its moments are all that is known."""
  others = reference.mean[None] if isinstance(reference, Moments) else reference
  rows, others = np.asarray(rows, np.float64), np.asarray(others, np.float64)
  squares = np.sum(rows**2, axis=1)[:, None] - 2 * rows @ others.T + np.sum(others**2, axis=1)
  return np.sqrt(np.maximum(squares.min(axis=1), 0))


def write(
  out: pathlib.Path, figures: Sequence[Figure], made: Features, reference, protocol: Protocol
):
  """Writes OUT/index.html and the animations beside it."""
  lengths = distances_to(made.rows, reference)
  order = np.argsort(lengths, kind="stable")
  count = min(SHOWN, len(order) // 2 or 1)
  body = ["<ul>", *(f"<li>{html.escape(str(figure))}</li>" for figure in figures), "</ul>"]
  for heading, chosen in (("Nearest", order[:count]), ("Farthest", order[::-1][:count])):
    body.append(f"<h2>{heading}</h2>\n<div class=grid>")
    for place, index in enumerate(chosen):
      video, path = made.videos[index], out / "videos" / f"{heading.lower()}_{place}.webp"
      frames.write_video(path, video.clip(protocol), FPS)
      body.append(
        f'<figure><img src="videos/{path.name}" alt=""><figcaption>{html.escape(video.name)}'
        f"<br><small>distance {lengths[index]:.3f}</small></figcaption></figure>"
      )
    body.append("</div>")
  if made.skipped:
    body.append(f"<h2>Left out: {len(made.skipped)}</h2>\n<ul>")
    body += [f"<li>{html.escape(why)}</li>" for why in made.skipped.values()]
    body.append("</ul>")
  (out / "index.html").write_text(PAGE.format(body="\n".join(body)), encoding="utf-8")


PAGE = """<!doctype html>
<html lang=en>
<meta charset=utf-8>
<meta name=viewport content="width=device-width, initial-scale=1">
<title>Videos beside their reference</title>
<style>
  body {{ font-family: system-ui, sans-serif; max-width: 72rem; margin: 2rem auto; padding: 0 1rem; }}
  .grid {{ display: grid; grid-template-columns: repeat(auto-fill, minmax(14rem, 1fr)); gap: 1rem; }}
  figure {{ margin: 0; }}
  img {{ width: 100%; background: #ddd; }}
  small {{ color: #555; }}
</style>
<h1>Videos beside their reference</h1>
{body}
</html>
"""
