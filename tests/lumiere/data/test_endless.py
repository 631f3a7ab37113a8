"""The endless world: clips by their index alone, combinations that training never sees, batches that resume."""

import numpy as np
import pytest

from lumiere.data import frames, loader, sources
from lumiere.data.moving_shapes import captions, render
from lumiere.data.moving_shapes.endless import (
  NUM_CLIPS,
  SPLITS,
  EndlessConfig,
  EndlessShapes,
  shows_all,
)
from lumiere.data.moving_shapes.mosaic import mosaic
from lumiere.data.moving_shapes.scene import COLOURS, MOTIONS, SHAPES, family, is_held_out
from lumiere.sections import DataConfig

COMBINATIONS = [
  (colour, shape, motion)
  for colour in COLOURS
  for shape in SHAPES
  for motion in MOTIONS
  if not (shape == "circle" and family(motion) == "spins")
]


def world(split="train", num_frames=None, **settings):
  config = EndlessConfig(**dict(max_things=2) | settings)
  return EndlessShapes(config, split, fps=8.0, sizes=[(16, 16)], num_frames=num_frames)


def test_a_tenth_of_the_combinations_is_held_out_and_every_pair_is_left():
  left = [each for each in COMBINATIONS if not is_held_out(*each)]
  assert len(COMBINATIONS) - len(left) == 24 and len(COMBINATIONS) == 238
  for one, other in ((0, 1), (0, 2), (1, 2)):
    pairs = lambda combinations, i=one, j=other: {(c[i], c[j]) for c in combinations}
    assert pairs(left) == pairs(COMBINATIONS)


@pytest.mark.parametrize("split", SPLITS)
def test_held_out_combinations_are_in_the_unseen_split_alone(split):
  source, counts = world(split), set()
  for index in range(400):
    scene, caption, _ = source.draw(index)
    assert captions.parse(caption).background == scene.background
    counts.add(len(scene.things))
    for thing in scene.things:
      assert is_held_out(thing.colour, thing.shape, thing.motion) == (split == "unseen")
  assert counts == {1, 2}


def test_a_clip_is_a_function_of_seed_split_and_index():
  first = world()[NUM_CLIPS - 1]
  again = world()[NUM_CLIPS - 1]
  np.testing.assert_array_equal(first["video"], again["video"])
  assert first["caption"] == again["caption"]
  others = [world(seed=1)[NUM_CLIPS - 1], world("test")[NUM_CLIPS - 1], world()[0]]
  assert all(not np.array_equal(first["video"], other["video"]) for other in others)
  with pytest.raises(IndexError, match="index 2147483648"):
    world()[NUM_CLIPS]


def test_fewer_frames_are_a_run_of_the_clips():
  whole, some = world(), world(num_frames=3)
  for index in range(8):
    scene, caption, first = some.draw(index)
    assert whole.draw(index)[:2] == (scene, caption) and 0 <= first <= 13
    np.testing.assert_array_equal(some[index]["video"], whole[index]["video"][first : first + 3])
    np.testing.assert_array_equal(
      whole[index]["video"], frames.to_uint8(render(scene, 16, 8.0, 16))
    )
  assert len({some.draw(index)[2] for index in range(50)}) > 8


def test_two_things_are_apart_half_of_the_time():
  source, times = world(share_of_two=1.0), np.arange(16) / 8.0
  scenes = [source.draw(index)[0] for index in range(100)]
  assert all(len(scene.things) == 2 and shows_all(scene, times) for scene in scenes)


def test_some_clips_are_mosaics_and_the_others_as_they_were():
  plain, mixed = world(num_frames=1), world(num_frames=1, mosaics=0.3)
  count = sum(
    not np.array_equal(plain[index]["video"], mixed[index]["video"]) for index in range(200)
  )
  assert 40 <= count <= 80
  assert all(plain.draw(index) == mixed.draw(index) for index in range(20))


def test_a_mosaic_darkens_lines_of_a_fourth_of_each_tile():
  picture = np.full((2, 64, 32, 3), 200, np.uint8)
  made = mosaic(picture, tiles=4, grout=0.3, place=(0.75, 0.0))
  rows, columns = np.arange(64) % 16 >= 12, np.arange(32) % 8 < 2
  expected = np.where(rows[:, None] | columns, 60, 200)
  np.testing.assert_array_equal(made, np.broadcast_to(expected[..., None], picture.shape))


def batches(**changes):
  data = DataConfig("moving_shapes_endless", 1, 16, moving_shapes_endless=dict(max_things=2))
  source = sources.make_source(data, "train")
  options = (
    dict(batch_size=4, seed=0, shuffle=True, transforms=[loader.ToClip(1, (16, 16))]) | changes
  )
  return iter(loader.make_loader(source, **options))


def test_batches_are_shuffled_without_a_list_of_them_and_resume_exactly():
  whole = batches()
  expected = [next(whole)["image"] for _ in range(4)]
  resumed = batches()
  resumed.set_state({"next_example": 8})
  np.testing.assert_array_equal(next(resumed)["image"], expected[2])
  far = batches()
  far.set_state({"next_example": 4 * 10**9})  # beyond the first pass
  assert next(far)["image"].shape == (4, 16, 16, 3)


@pytest.mark.parametrize(
  ("settings", "message"),
  (
    (dict(max_things=3), "max_things=3 must be 1 or 2"),
    (dict(num_frames=0), "num_frames=0 must be 1 or more"),
    (dict(share_of_two=1.5), "share_of_two=1.5 must be between 0 and 1"),
    (dict(mosaics=-0.1), "mosaics=-0.1 must be between 0 and 1"),
    (dict(seed=-1), "seed=-1 must be 0 or more"),
    (dict(clips=3), "config.data.moving_shapes_endless.clips: no such field"),
  ),
)
def test_settings_that_make_no_world_are_refused(settings, message):
  data = DataConfig("moving_shapes_endless", 1, 16, moving_shapes_endless=settings)
  with pytest.raises(ValueError, match=message):
    sources.make_source(data, "train")


def test_splits_and_lengths_that_are_not_there_are_refused():
  with pytest.raises(
    ValueError, match="split='dev' must be one of train, validation, test, unseen"
  ):
    world("dev")
  with pytest.raises(ValueError, match="num_frames=17 must be between 1 and 16"):
    world(num_frames=17)
  with pytest.raises(ValueError, match="data.embeddings='states' must be empty"):
    DataConfig("moving_shapes_endless", 1, 16, embeddings="states")
