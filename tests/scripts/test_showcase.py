"""The page that shows what a model makes."""

import re

import numpy as np
import pytest
from PIL import Image

from lumiere.data import frames
from lumiere.data.moving_shapes import Scene, Thing, render
from scripts import showcase

LEFT = Thing("circle", "red", "left", "slow", (0.7, 0.3), 0.3)
RESTS = Thing("square", "white", "still", None, (0.3, 0.75), 0.3)


def clip(*things) -> np.ndarray:
  return frames.to_uint8(render(Scene(things, "navy"), 16, 8.0, 64))


@pytest.mark.parametrize(
  ("caption", "things", "said"),
  [
    ("a red circle moves left slowly on navy", (LEFT,), "as its caption says"),
    ("a red circle moves left fast on navy", (LEFT,), "not as its caption says: speed"),
    ("a blue circle rests on navy", (LEFT,), "not as its caption says: colour, motion"),
    (
      "a red circle moves left slowly and a white square rests on navy",
      (LEFT, RESTS),
      "as its caption says",
    ),
    (
      "a red square moves left slowly and a white square rests on navy",
      (LEFT, RESTS),
      "not as its caption says: shape",
    ),
  ],
)
def test_what_is_wrong_in_a_video_is_named(caption, things, said):
  assert showcase.verdict(clip(*things), caption, 8.0) == said


def test_the_page_plays_every_video_beside_its_caption(tmp_path):
  caption = "a <red> circle moves left slowly on navy"
  shown = {"From captions": [showcase.Shown(caption, clip(LEFT), "fine")]}
  text = showcase.page(tmp_path, shown, "shape 100 %", 8.0)
  (source,) = re.findall(r'<img src="(.*?)"', text)
  with Image.open(tmp_path / source) as video:
    assert video.n_frames == 16
  assert "a &lt;red&gt; circle" in text and "fine" in text and "shape 100 %" in text


def test_videos_lie_side_by_side():
  videos = [np.full((2, 4, 6, 3), value, np.uint8) for value in range(4)]
  both = showcase.tiled(videos, columns=2)
  assert both.shape == (2, 2 * 8, 2 * 10, 3)
  assert [int(both[0, y, x, 0]) for y in (4, 12) for x in (5, 15)] == [0, 1, 2, 3]


def test_figures_are_a_line_each():
  text = showcase.report({"the model": {"shape": 0.5}}, {"MultiDiffusion": 1.01}, 4)
  assert "Share of 4 held-out captions" in text
  assert re.search(r"the model +shape +50.0%", text) and re.search(r"MultiDiffusion +1.010", text)
