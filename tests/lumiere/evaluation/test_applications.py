"""Measurements of applications, on clips whose truth is known, with a cascade that makes what it is told to."""

from types import SimpleNamespace

import numpy as np
import pytest

from lumiere.data import frames
from lumiere.data.moving_shapes import render
from lumiere.data.moving_shapes.mosaic import mosaic
from lumiere.data.moving_shapes.scene import Scene, Thing
from lumiere.evaluation import applications
from lumiere.evaluation.applications import Clips
from lumiere.evaluation.tracking import track
from lumiere.sampling.cascade import Cascade

SIZE = 64


class Making(Cascade):
  """A cascade that knows the clip, but shows it so many frames late where it is not given."""

  def __init__(self, video, late: int):
    object.__setattr__(self, "video", np.roll(video, late, axis=0))

  def complete(self, prompts, given, **options):
    (only,) = given
    return only.put_into(self.video)[None]


@pytest.fixture(scope="module")
def clips():
  """A thing that moves evenly, and one that stays where it is."""
  scenes = [
    Scene((Thing("circle", "red", motion, "slow", (0.7, 0.5), 0.3),), "navy")
    for motion in ("left", "grows")
  ]
  videos = np.stack([frames.to_uint8(render(scene, 16, 8.0, SIZE)) for scene in scenes])
  return Clips(
    videos, ("a red circle moves left slowly on navy", "a red circle grows slowly on navy")
  )


@pytest.mark.parametrize("late", [0, 1])
def test_a_hole_is_judged_by_the_distance_from_the_truth(clips, late):
  """A copy of the nearest frame is 1, 2, .. n/2, n/2, .. 2, 1 frames of motion behind or ahead."""
  video = clips.videos[0]
  centre = track(video).centre
  motion = np.linalg.norm(centre[-1] - centre[0]) / 15
  results = applications.inpainting(Making(video, late), clips)
  for hidden, frames_away in ((8, 2.5), (12, 3.5)):
    figures = results[f"{hidden} of 16 frames hidden"]
    assert figures["clips"] == 1, "of the other clip only what rests is seen"
    assert figures["error at given pixels"] == 0
    assert figures["made"] == pytest.approx(late * motion, rel=0.02)
    assert figures["nearest known frame"] == pytest.approx(frames_away * motion, rel=0.02)


class Styled(Cascade):
  """A cascade that makes given clips, as a mosaic in its style."""

  def __init__(self, videos):
    object.__setattr__(self, "videos", videos)
    experiment = SimpleNamespace(data=SimpleNamespace(fps=8.0))
    object.__setattr__(self, "base", SimpleNamespace(experiment=experiment))

  def generate(self, prompts, **options):
    return self.videos

  def restyle(self, style, strength):
    assert style == "style"
    mixed = (1 - strength) * self.videos + strength * mosaic(self.videos)
    return Styled(mixed.round().astype(np.uint8))


def test_the_judge_sees_through_the_style_that_ships(clips):
  results = applications.styled(Styled(clips.videos), "style", clips)
  assert list(results) == ["true clips", "strength 0.5", "strength 0.75", "strength 1"]
  for shares in results.values():
    assert shares["background"] == shares["colour, shape and motion"] == 1
