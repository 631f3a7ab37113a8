"""A page with what a model makes of captions and of given pixels, and what the judge says of it.

python scripts/showcase.py --out=out/showcase
python scripts/showcase.py --workdir=runs/stunet_masked_tiny --ssr_workdir=runs/ssr_tiny --style=runs/t2i_style_tiny

OUT/index.html shows the videos with their captions and figures; sheet.png and applications.png are contact sheets, sampled.webp
shows all videos from captions side by side. The pictures of the documentation are made by this.
"""

import dataclasses
import html
import json
import pathlib
import sys
from collections.abc import Mapping, Sequence

import numpy as np
from absl import flags
from jaxtyping import UInt8

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))

from lumiere import cli  # noqa: E402  (runs from anywhere)
from scripts import applications_sheet  # noqa: E402

PROMPTS = (
  "a red circle bounces on navy",
  "a yellow square spins clockwise slowly on navy",
  "a cyan triangle moves right slowly on gray",
  "a magenta circle gets bigger quickly on black",
  "one green square drifts down slowly on gray",
  "a white triangle orbits counterclockwise fast on navy",
  "a blue circle moves left slowly and a yellow triangle stays still on black",
  "a red square grows slowly on gray",
)


@dataclasses.dataclass(frozen=True)
class Shown:
  """A video of the page.

  Attributes:
    title: what it is.
    video: its frames.
    verdict: what the judge says of it; "" where nothing is judged.
  """

  title: str
  video: UInt8[np.ndarray, "t h w 3"]
  verdict: str = ""


def main():
  """Makes and judges all videos, in one process: its programs are compiled once."""
  from benchmarks import judge
  from lumiere import Cascade, pretrained
  from lumiere.data import frames
  from lumiere.evaluation import held_out

  out, num_judged = pathlib.Path(flags.FLAGS.out), flags.FLAGS.num_judged
  out.mkdir(parents=True, exist_ok=True)
  models = pretrained.cascade_of(flags.FLAGS.workdir, flags.FLAGS.ssr_workdir)
  cascade = Cascade.restore(*models)
  fps = cascade.base.experiment.data.fps
  videos = cascade.generate(PROMPTS)
  prompts = [
    Shown(text, video, verdict(video, text, fps))
    for text, video in zip(PROMPTS, videos, strict=True)
  ]
  frames.write_image(out / "sheet.png", frames.contact_sheet(list(videos), list(PROMPTS)))
  frames.write_video(out / "sampled.webp", tiled(videos), fps)
  styled = cascade.restyle(pretrained.style_of(flags.FLAGS.style), 0.75)
  rows = applications_sheet.make_rows(cascade, styled)
  applications = [Shown(title, made[0]) for title, made in rows.items()]
  sheet = frames.contact_sheet([shown.video for shown in applications], list(rows))
  frames.write_image(out / "applications.png", sheet)
  judged = held_out.HeldOut.load(cascade.base.experiment.data, "test", num_judged)
  made = held_out.sample(cascade.base, judged.captions)
  shares = {
    "true clips": judged.judge(list(judged.videos)),
    "the model": judged.judge(list(made)),
  }
  seams = judge.seams(cascade, 1)
  text = report(shares, seams, num_judged)
  print(text)
  (out / "report.json").write_text(json.dumps({"shares": shares, "seams": seams}, indent=2) + "\n")
  (out / "index.html").write_text(
    page(out, {"From captions": prompts, "With something given": applications}, text, fps)
  )


def tiled(videos: Sequence[UInt8[np.ndarray, "t h w 3"]], columns: int = 4):
  """One video that shows all side by side, row after row, on white."""
  framed = [np.pad(v, [(0, 0), (2, 2), (2, 2), (0, 0)], constant_values=255) for v in videos]
  rows = [
    np.concatenate(framed[first : first + columns], axis=2)
    for first in range(0, len(framed) - len(framed) % columns, columns)
  ]
  return np.concatenate(rows, axis=1)


def verdict(video, caption: str, fps: float) -> str:
  """What the judge misses in a video, in words."""
  from lumiere.data.moving_shapes.captions import parse
  from lumiere.evaluation import moving_shapes, two_things

  if len(parse(caption).things) == 2:
    (found,) = two_things.judge_pairs([video], [caption], fps)
    wrong = [f for f in ("colour", "shape", "motion") if not found.both(f)]
  else:
    (found,) = moving_shapes.judge([video], [caption], fps)
    wrong = [f for f in ("background", "colour", "shape", "motion") if not getattr(found, f)]
    wrong += ["speed"] if found.motion and found.speed is False else []
  return "as its caption says" if not wrong else f"not as its caption says: {', '.join(wrong)}"


def report(shares: Mapping, seams: Mapping[str, float], count: int) -> str:
  """The figures as text."""
  lines = [f"Share of {count} held-out captions that the videos show, at the base's size"]
  for kind, found in shares.items():
    cells = "  ".join(f"{name} {share:6.1%}" for name, share in found.items())
    lines.append(f"  {kind:<12}{cells}")
  lines.append("Seam score of super-resolution, 1 if no seam shows")
  lines += [f"  {kind:<22}{score:.3f}" for kind, score in seams.items()]
  return "\n".join(lines)


def page(out: pathlib.Path, sections: Mapping[str, Sequence[Shown]], text: str, fps: float) -> str:
  """The page; writes its videos into OUT/videos."""
  from lumiere.data import frames
  from lumiere.sampling import outputs

  parts = []
  for heading, shown in sections.items():
    parts.append(f"<h2>{html.escape(heading)}</h2>\n<div class=grid>")
    for index, each in enumerate(shown):
      stem = outputs.file_stem(index, each.title, 0)
      path = out / "videos" / f"{stem}.webp"
      frames.write_video(path, each.video, fps)
      frames.write_video(path.with_suffix(".mp4"), each.video, fps)
      parts.append(
        f'<figure><img src="videos/{path.name}" alt=""><figcaption>{html.escape(each.title)}'
        f"<br><small>{html.escape(each.verdict)}</small></figcaption></figure>"
      )
    parts.append("</div>")
  return PAGE.format(body="\n".join(parts), report=html.escape(text))


PAGE = """<!doctype html>
<html lang=en>
<meta charset=utf-8>
<meta name=viewport content="width=device-width, initial-scale=1">
<title>The open Lumiere: what the model that ships makes</title>
<style>
  body {{ font-family: system-ui, sans-serif; max-width: 72rem; margin: 2rem auto; padding: 0 1rem; }}
  .grid {{ display: grid; grid-template-columns: repeat(auto-fill, minmax(14rem, 1fr)); gap: 1rem; }}
  figure {{ margin: 0; }}
  img {{ width: 100%; image-rendering: pixelated; background: #ddd; }}
  small {{ color: #555; }}
  pre {{ overflow-x: auto; }}
</style>
<h1>What the model that ships makes</h1>
{body}
<h2>Figures</h2>
<pre>{report}</pre>
</html>
"""


if __name__ == "__main__":
  flags.DEFINE_string(
    "workdir", None, "Run or release of a conditional base; default: the model that ships."
  )
  flags.DEFINE_string("ssr_workdir", None, "Run or release of super-resolution.")
  flags.DEFINE_string(
    "style", "mosaic", "Run or release of a style, or the name of one that ships."
  )
  flags.DEFINE_string("out", "out/showcase", "Folder for the page, videos and images.")
  flags.DEFINE_integer("num_judged", 16, "Held-out captions to judge by.", 1)
  cli.run(main)
