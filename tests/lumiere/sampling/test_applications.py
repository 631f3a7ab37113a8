"""Every application on networks of a few channels: what is given comes back exactly, and what cannot be is said.

The networks were trained on squares; here they make videos that are wider than high.
"""

import copy
import dataclasses

import jax
import numpy as np
import pytest

from lumiere import Cascade, checkpoints

PROMPTS = ["a red circle rests on black", "a white square spins clockwise fast on navy"]
RNG = np.random.default_rng(0)
VIDEO = RNG.integers(0, 256, (8, 32, 48, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def cascade(runs, masked_run):
  return Cascade.restore(masked_run, runs["ssr"]).of_size((32, 48))


def test_a_conditional_run_starts_from_an_unconditional_one(runs, masked_run):
  """The frozen weights are the same; all others were taken over, and two steps did not throw them away."""
  before = checkpoints.load_trained(runs["stunet"], ("stunet",))
  after = checkpoints.load_trained(masked_run, ("stunet",))
  jax.tree.map(np.testing.assert_array_equal, before.frozen, after.frozen)
  assert set(after.params["network"]) - set(before.params["network"]) == {"condition_in"}
  close = jax.tree.map(
    lambda a, b: np.abs(a - b).max() < 0.05,
    before.params["network"]["down"],
    after.params["network"]["down"],
  )
  assert all(jax.tree.leaves(close))


def test_given_frames_come_back_exactly(cascade):
  made = cascade.animate(PROMPTS, [VIDEO[0], VIDEO[7]], at=(0, -1), seed=1)
  assert made.shape == (2, 8, 32, 48, 3)
  np.testing.assert_array_equal(made[:, 0], [VIDEO[0]] * 2)
  np.testing.assert_array_equal(made[:, -1], [VIDEO[7]] * 2)
  assert (made[:, 1:-1] != VIDEO[1:-1]).any() and (made[0] != made[1]).any()
  small = cascade.without_ssr().animate(PROMPTS, [VIDEO[0, :8, :12]])
  np.testing.assert_array_equal(small[0, 0], VIDEO[0, :8, :12])


def test_a_picture_of_another_shape_is_cropped_or_shown_whole(cascade):
  base = cascade.without_ssr()
  square = VIDEO[0, :8, :8]
  made = base.animate(PROMPTS, [square], fit="pad")[0]
  np.testing.assert_array_equal(made[0, :, 2:10], square)
  cropped = base.animate(PROMPTS, [np.pad(VIDEO[0, :8, :12], [(3, 3), (0, 0), (0, 0)])])[0]
  np.testing.assert_array_equal(cropped[0], VIDEO[0, :8, :12])


def test_a_cinemagraph_rests_where_it_is_to(cascade):
  moving = np.zeros((32, 48), bool)
  moving[8:20, 4:24] = True
  for made in cascade.animate(PROMPTS, [VIDEO[0]], moving=moving):
    np.testing.assert_array_equal(made[:, ~moving], np.repeat(VIDEO[:1], 8, axis=0)[:, ~moving])
    np.testing.assert_array_equal(made[0], VIDEO[0])
    assert (made[1:, moving] != VIDEO[0][moving]).any()


@pytest.mark.parametrize("soft_edge", (0, 2))
def test_filling_keeps_what_is_not_new(cascade, soft_edge):
  new = np.zeros((8, 32, 48), bool)
  new[2:6, 8:24, 8:24] = True
  made, _ = cascade.fill(PROMPTS, VIDEO, new, soft_edge=soft_edge)
  kept = ~new
  kept[2:6, 8 - soft_edge : 24 + soft_edge, 8 - soft_edge : 24 + soft_edge] = False
  np.testing.assert_array_equal(made[kept], VIDEO[kept])
  assert (made[new] != VIDEO[new]).any()


def test_editing_goes_from_the_video_to_the_prompt(cascade):
  base = cascade.without_ssr()
  low = np.ascontiguousarray(VIDEO[:, ::4, ::4])
  np.testing.assert_array_equal(base.edit(PROMPTS, low, strength=0.0)[0], low)
  half, whole = (base.edit(PROMPTS, low, strength=s)[0] for s in (0.5, 1.0))
  apart = lambda x: np.abs(x.astype(int) - low).mean()
  assert 0 < apart(half) < apart(whole)
  with pytest.raises(ValueError, match="strength=1.5 must be between 0 and 1"):
    base.edit(PROMPTS, low, strength=1.5)


def test_clips_of_any_length(cascade):
  base = cascade.without_ssr()
  assert base.extend(PROMPTS, 21).shape == (2, 21, 8, 12, 3)
  made, _ = base.extend(PROMPTS, 13, video=VIDEO[:5, ::4, ::4])
  np.testing.assert_array_equal(made[:5], VIDEO[:5, ::4, ::4])
  assert len(made) == 13
  with pytest.raises(ValueError, match="num_frames=8 must be more than the 8 frames"):
    base.extend(PROMPTS, 8, video=VIDEO)


def test_prompts_along_time(cascade):
  """The first windows see the first prompt only, the last ones the second."""
  base = cascade.without_ssr()
  a, b = PROMPTS
  both, other = (base.extend([{0: a, 12: p}], 24) for p in (b, a))
  assert (both != other).any()
  np.testing.assert_array_equal(both, base.generate([{0: a, 12: b}], num_frames=24))
  with pytest.raises(ValueError, match="beyond the clip"):
    base.generate([{0: a, 24: b}], num_frames=24)


def test_style_strength_0_is_the_base_and_1_the_styles_weights(cascade, style_run):
  base = cascade.without_ssr()
  own = base.generate(PROMPTS)
  np.testing.assert_array_equal(base.restyle(style_run, 0.0).generate(PROMPTS), own)
  style = checkpoints.load_trained(style_run, ("t2i",)).params
  params, frozen = base.restyle(style_run, 1.0).base._weights
  jax.tree.map(np.testing.assert_array_equal, frozen["network"]["image"], style["network"])
  jax.tree.map(np.testing.assert_array_equal, params, base.base._weights[0])
  half = base.restyle(style_run, 0.5).base._weights[1]["network"]["image"]["conv_in"]["kernel"]
  mean = (base.base._weights[1]["network"]["image"]["conv_in"]["kernel"] + style["network"]["conv_in"]["kernel"]) / 2  # fmt: skip
  np.testing.assert_allclose(half, mean, atol=1e-6)


def test_progress_is_shown_and_may_end_it(cascade):
  seen = []

  def progress(steps, desc):
    for step in steps:
      seen.append((desc, step))
      if desc == "super-resolution":
        raise KeyboardInterrupt
      yield step

  with pytest.raises(KeyboardInterrupt):
    cascade.generate(PROMPTS, progress=progress)
  assert seen == [("base video", 0), ("base video", 1), ("super-resolution", 0)]


def test_what_cannot_be_is_said(runs, cascade, masked_run, style_run, tmp_path):
  with pytest.raises(ValueError, match="takes no known pixels: fine-tune it with config.masks"):
    Cascade.restore(runs["stunet"]).animate(PROMPTS, [VIDEO[0]])
  with pytest.raises(ValueError, match="style_strength=2 must be between 0 and 1"):
    cascade.restyle(style_run, 2)
  with pytest.raises(checkpoints.CheckpointError, match="'stunet' checkpoint; 't2i' is needed"):
    cascade.restyle(masked_run, 0.5)
  other = copy.copy(cascade.base)
  other.experiment = dataclasses.replace(
    other.experiment, model=dataclasses.replace(other.experiment.model, norm_groups=2)
  )
  with pytest.raises(ValueError, match="its model is not that of the base: .*norm_groups=4"):
    Cascade(other).restyle(style_run, 0.5)
  with pytest.raises(
    ValueError, match="size=30x48: .* multiples of 8; the nearest are 32x48 and 24x48"
  ):
    cascade.of_size((30, 48))
  with pytest.raises(ValueError, match="keyframe 9 is outside the clip"):
    cascade.animate(PROMPTS, [VIDEO[0]], at=(9,))
  with pytest.raises(ValueError, match="needs one image"):
    cascade.animate(PROMPTS, list(VIDEO[:2]), at=(0, 1), moving=np.ones((32, 48), bool))
