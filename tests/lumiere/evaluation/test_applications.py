"""Measurements of applications, on clips whose truth is known, with a cascade that makes what it is told to."""

from types import SimpleNamespace

import numpy as np
import pytest

from lumiere.data import frames
from lumiere.data.moving_shapes import render
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
  """A cascade that makes given clips, before a sky in its style."""

  def __init__(self, videos, sky):
    object.__setattr__(self, "videos", videos)
    object.__setattr__(self, "sky", sky)
    object.__setattr__(
      self, "base", SimpleNamespace(experiment=SimpleNamespace(data=SimpleNamespace(fps=8.0)))
    )

  def generate(self, prompts, **options):
    return self.videos

  def restyle(self, style, strength):
    background = np.array([10, 10, 80.0])
    sky = (1 - strength) * background + strength * self.sky
    plain = self.videos.astype(float)
    way = np.array([230, 30, 30.0]) - background
    alpha = np.clip((plain - background) @ way / (way @ way), 0, 1)[..., None]
    mixed = alpha * np.array([230, 30, 30.0]) + (1 - alpha) * sky
    return Styled(mixed.round().astype(np.uint8), self.sky)


def test_a_style_is_judged_before_its_own_sky(clips):
  share = np.linspace(0, 1, SIZE)[:, None, None]
  sky = (1 - share) * np.array([70, 20, 110]) + share * np.array([255, 130, 40])
  results = applications.styled(Styled(clips.videos, sky), "style", clips)
  assert list(results) == ["true clips", "strength 0.5", "strength 0.75", "strength 1"]
  for shares in results.values():
    assert shares["colour, shape and motion"] == 1
  # The judge that knows plain backgrounds only would be wrong.
  styled = Styled(clips.videos, sky).restyle("style", 1.0).videos
  plain = applications.moving_shapes.judge(list(styled), clips.captions, 8.0)
  assert not all(v.colour and v.shape and v.motion for v in plain)
