"""The world of moving shapes: closed forms of motion and area, captions that read back, a dataset that repeats."""

import numpy as np
import pytest

from lumiere.data import frames
from lumiere.data.moving_shapes import builder, captions, render
from lumiere.data.moving_shapes.builder import load_or_prepare
from lumiere.data.moving_shapes.scene import (
  BACKGROUNDS,
  COLOURS,
  MOTIONS,
  ORBIT,
  REACH,
  SHAPES,
  Scene,
  Thing,
  random_scene,
)

# Of size 1: a circle of diameter 1, a square of side 0.9, the triangle around a circle of radius 0.34.
AREAS = {"circle": np.pi / 4, "square": 0.81, "triangle": 3 * np.sqrt(3) * 0.34**2}


def scene_of(shape="circle", motion="still", speed=None, centre=(0.5, 0.5), size=0.4, phase=0.0):
  return Scene((Thing(shape, "white", motion, speed, centre, size, phase),), "black")


def coverage(scene, resolution=64, num_frames=1):
  """Share of each pixel that a white thing covers on black."""
  low, high = -1, frames.to_float(np.uint8(COLOURS["white"][:1]))[0]
  return (render(scene, num_frames, 8.0, resolution)[..., 0] - low) / (high - low)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("resolution", (16, 48, 64))
def test_pixels_add_up_to_the_area(shape, resolution):
  for phase in (0.0, 0.7):
    scene = scene_of(shape, "spins clockwise", "slow", (0.47, 0.53), 0.4, phase)
    area = coverage(scene, resolution).mean()
    assert area == pytest.approx(AREAS[shape] * 0.4**2, rel=5e-3)


@pytest.mark.parametrize("shape", SHAPES)
def test_centre_of_mass_is_the_centre(shape):
  share = coverage(scene_of(shape, centre=(0.37, 0.61), size=0.3))[0]
  middle = (np.arange(64) + 0.5) / 64
  x, y = share.sum(0) @ middle / share.sum(), share.sum(1) @ middle / share.sum()
  assert x == pytest.approx(0.37, abs=2e-3) and y == pytest.approx(0.61, abs=2e-3)


def test_a_smaller_picture_is_the_mean_of_the_larger():
  scene = scene_of("triangle", "spins clockwise", "fast", phase=0.3)
  large, small = render(scene, 3, 8.0, 64), render(scene, 3, 8.0, 16)
  np.testing.assert_allclose(small, frames.area_resize(large, 16), atol=2e-6)


def test_another_frame_rate_shows_the_same_times():
  scene = scene_of("square", "circles clockwise", "fast")
  np.testing.assert_array_equal(render(scene, 9, 16.0, 32)[::2], render(scene, 5, 8.0, 32))


def test_motions_follow_their_formulas():
  t = np.linspace(0, 2, 17)
  state = lambda motion, speed, phase=0.0: (
    scene_of(motion=motion, speed=speed, phase=phase).things[0].state(t)
  )
  assert np.allclose(state("left", "fast").centre, np.stack([0.5 - 0.2 * t, 0.5 + 0 * t], 1))
  assert np.allclose(state("down", "slow").centre[:, 1], 0.5 + 0.1 * t)
  around = state("circles clockwise", "slow", 0.4).centre - 0.5
  assert np.allclose(np.hypot(*around.T), ORBIT)
  # y runs down, so a growing angle turns clockwise for the eye.
  assert np.allclose(np.unwrap(np.arctan2(around[:, 1], around[:, 0])), 0.4 + 2 * np.pi * 0.25 * t)
  assert np.allclose(state("grows", "slow").size, 0.4 + 0.07 * t)
  assert np.allclose(state("spins counterclockwise", "slow").angle, -2 * np.pi * 0.12 * t)
  bounce = state("bounces", "fast").centre[:, 1]
  assert bounce.max() == pytest.approx(0.5) and bounce.min() == pytest.approx(0.5 - 0.34)
  assert np.ptp(state("still", None).centre) == 0


def test_everything_stays_in_view():
  rng, duration = np.random.default_rng(0), 2.0
  for _ in range(300):
    for thing in random_scene(rng, duration, max_things=2).things:
      state = thing.state(np.linspace(0, duration, 33))
      reach = REACH[thing.shape] * state.size[:, None]
      assert (state.centre - reach > -1e-6).all() and (state.centre + reach < 1 + 1e-6).all(), thing


@pytest.mark.parametrize("max_things", (1, 2))
def test_captions_say_what_the_scene_is(max_things):
  rng = np.random.default_rng(1)
  for _ in range(300):
    scene = random_scene(rng, 2.0, max_things)
    caption = captions.write_caption(scene, rng)
    meaning = captions.parse(caption)
    assert meaning.background == scene.background and caption.isascii()
    assert meaning.things == tuple(
      captions.Implied(t.shape, t.colour, t.motion, t.speed) for t in scene.things
    )


def test_a_caption_may_leave_the_speed_unsaid():
  rng, said = np.random.default_rng(2), []
  for _ in range(400):
    scene = random_scene(rng, 2.0)
    (asked,) = captions.parse(captions.write_caption(scene, rng, unsaid=0.25)).things
    (thing,) = scene.things
    assert asked.motion == thing.motion and asked.speed in (thing.speed, None)
    if thing.speed:
      said.append(asked.speed is not None)
  assert 0.7 < np.mean(said) < 0.8


@pytest.mark.parametrize(
  ("caption", "message"),
  (
    ("a red circle", "names no background"),
    ("a red cube moves left slowly on black", "'a red cube moves left slowly' cannot be read"),
    ("a red circle rests slowly on black", "cannot be read"),
  ),
)
def test_captions_that_cannot_be_read_are_named(caption, message):
  with pytest.raises(ValueError, match=message):
    captions.parse(caption)


SMALL = dict(num_train=12, num_held_out=4, resolution=16, num_frames=4)


def test_dataset_holds_the_truth(tmp_path):
  made = load_or_prepare(tmp_path, fps=8.0, max_things=2, seed=3, **SMALL)
  config = made.builder_config
  for split, count in (("train", 12), ("validation", 4), ("test", 4)):
    source = made.as_data_source(split)
    assert len(source) == count
    by_caption = {}
    for index in range(count):
      scene, caption = builder.draw(config, split, index)
      by_caption[caption] = scene
    for element in source:
      scene = by_caption[element["caption"].decode()]
      video = frames.to_uint8(render(scene, 4, 8.0, 16))
      np.testing.assert_array_equal(element["video"], video)
      assert element["background"].decode() == scene.background in BACKGROUNDS
      things = element["things"]
      for place, thing in enumerate(scene.things):
        state = thing.state(np.arange(4) / 8.0)
        assert things["motion"][place].decode() == thing.motion in MOTIONS
        np.testing.assert_allclose(things["centre"][place], state.centre, rtol=1e-6)
        np.testing.assert_allclose(things["size"][place], state.size, rtol=1e-6)


def test_dataset_is_a_function_of_its_seed(tmp_path):
  def content(folder, seed):
    source = load_or_prepare(tmp_path / folder, fps=8.0, seed=seed, **SMALL).as_data_source("train")
    return [(element["caption"], element["video"].tobytes()) for element in source]

  first = content("one", 0)
  assert first == content("two", 0) and first == content("one", 0)
  assert set(first).isdisjoint(content("one", 1))


def test_splits_share_no_clip(tmp_path):
  made = load_or_prepare(tmp_path, fps=8.0, **SMALL)
  clips = [
    {element["video"].tobytes() for element in made.as_data_source(split)}
    for split in ("train", "validation", "test")
  ]
  assert not (clips[0] & clips[1] or clips[0] & clips[2] or clips[1] & clips[2])


@pytest.mark.parametrize(
  ("settings", "message"),
  (
    (dict(max_things=3), "max_things=3"),
    (dict(num_train=0), "num_train=0"),
    (dict(seed=-1), "seed=-1"),
    (dict(colour="red"), "no setting 'colour'"),
  ),
)
def test_settings_that_make_no_dataset_are_refused(tmp_path, settings, message):
  with pytest.raises(ValueError, match=message):
    load_or_prepare(tmp_path, **settings)
