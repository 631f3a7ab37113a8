"""Which input frames reach which output frames, read from gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lumiere import weights
from stunet.temporal import (
  ConvInflation,
  OffsetBias,
  TemporalAttention,
  TemporalDown,
  TemporalUp,
  clip_positions,
)
from tests.stunet.networks import built, inputs, run, video_unet


def influence(model, x, *rest) -> np.ndarray:
  """[output frames, input frames]: whether one reaches the other. x: [1 t h w c]."""
  rebuild, params, frozen = weights.split(model)

  def reach(params, frozen, x):
    output, pull = jax.vjp(lambda x: rebuild(params, frozen)(x, *rest), x)
    frames = jnp.eye(output.shape[1])[:, None, :, None, None, None]
    return jax.lax.map(lambda frame: pull(frame * output)[0], frames)

  grads = np.asarray(jax.jit(reach)(params, frozen, x))
  return np.abs(grads).max(axis=(1, 3, 4, 5)) > 0


def band(num_frames: int, reach: int) -> np.ndarray:
  """Frames at most `reach` apart."""
  i = np.arange(num_frames)
  return np.abs(i[:, None] - i) <= reach


KINDS = dict(dtype=jnp.float32)


def attention(over: str, groups: int = 4) -> TemporalAttention:
  make = lambda: TemporalAttention(
    8, 0, 0, over=over, reach=(7, 3), head_dim=4, groups=groups, rngs=weights.Seeds(0), **KINDS
  )
  return built(make, seed=1)


def features(*shape: int):
  return jax.random.normal(jax.random.key(0), (1, *shape, 8))


def test_convolution_inflation_reaches_one_frame_each_way():
  block = built(
    lambda: ConvInflation(8, 0, groups=4, activation="silu", rngs=weights.Seeds(0), **KINDS), seed=1
  )
  np.testing.assert_array_equal(influence(block, features(6, 4, 4)), band(6, 1))


def test_attention_reaches_every_frame_of_its_place():
  block = attention("place", groups=8)
  x = features(6, 4, 4)
  assert influence(block, x).all()
  # Other places matter through a frame's norm alone, and not at all to a frame that is only attended to elsewhere:
  # what is added to one place of a frame and taken from another leaves far places' attention as it was, to first order.
  rolled = run(block, jnp.roll(x, 1, axis=2))
  np.testing.assert_allclose(rolled, jnp.roll(run(block, x), 1, axis=2), atol=1e-5)


def test_attention_tells_frames_apart_by_position():
  block = attention("place")
  x = features(6, 4, 4)
  assert float(jnp.abs(run(block, x[:, ::-1])[:, ::-1] - run(block, x)).max()) > 1e-3


def test_attention_over_the_clip_reaches_every_place_of_every_frame():
  """A change that leaves mean and variance of its frame as they are, to first order, is seen at other places."""
  x = features(4, 3, 3)
  changed = jnp.cross(
    jnp.ones(3), x[0, 0, 0, :, 2]
  )  # orthogonal to a constant and to the values themselves
  change = jnp.zeros_like(x).at[0, 0, 0, :, 2].set(changed)
  for over, reached in (("clip", True), ("place", False)):
    block = attention(over, groups=8)
    rebuild, params, frozen = weights.split(block)
    jvp = jax.jit(lambda p, f, r=rebuild: jax.jvp(lambda x: r(p, f)(x), (x,), (change,))[1])
    moved = jnp.abs(jvp(params, frozen))[0, 3, 1, 1]
    assert bool((moved > 1e-6).all()) == reached


def test_attention_over_the_clip_tells_frames_rows_and_columns_apart():
  block, x = attention("clip"), features(4, 4, 4)
  for axis in (1, 2, 3):
    flipped = jnp.flip(run(block, jnp.flip(x, axis)), axis)
    assert float(jnp.abs(flipped - run(block, x)).max()) > 1e-3
  positions = clip_positions(2, 3, 4, 14)
  assert positions.shape == (2, 3, 4, 14) and not positions[..., 12:].any()
  np.testing.assert_array_equal(positions[0, :, :, :4], positions[:1, :1, :1, :4].repeat(3, 1).repeat(4, 2)[0])  # fmt: skip


def test_the_bias_over_a_clip_depends_on_offsets_alone_and_ends_at_its_reach():
  bias = OffsetBias(2, frames=2, places=1)
  bias.table[...] = jax.random.normal(jax.random.key(0), bias.table.shape)
  found = bias(5, 2, 4).reshape(2, 5, 2, 4, 5, 2, 4)
  for query, key in (((0, 0, 0), (1, 1, 1)), ((3, 1, 2), (0, 0, 2)), ((4, 0, 3), (4, 1, 0))):
    t, y, x = (
      np.clip(k - q, -reach, reach) + reach
      for q, k, reach in zip(query, key, (2, 1, 1), strict=True)
    )
    np.testing.assert_array_equal(found[:, *query, *key], bias.table[...][:, t, y, x])


def test_heads_begin_with_their_own_place_their_own_frame_and_what_is_near():
  bias = np.asarray(OffsetBias(4, frames=3, places=3)(4, 4, 4)).reshape(4, 4, 4, 4, 4, 4, 4)
  from_corner = bias[:, 0, 0, 0]
  assert (from_corner <= 0).all() and (from_corner[:, 0, 0, 0] == 0).all()
  place, frame = from_corner[0], from_corner[1]
  assert (place[:, 0, 0] == 0).all() and (place[:, 1:] <= -3).all()
  assert (frame[0] == 0).all() and (frame[1:] <= -3).all()


def test_down_centres_on_even_frames_and_up_on_their_pairs():
  x = features(6, 2, 2)
  down = built(lambda: TemporalDown(8, rngs=weights.Seeds(0), **KINDS), seed=1)
  np.testing.assert_array_equal(influence(down, x), band(6, 1)[::2])
  up = built(lambda: TemporalUp(8, rngs=weights.Seeds(0), **KINDS), seed=1)
  doubled = band(12, 1).reshape(12, 6, 2).any(-1)  # a doubled frame is seen through either copy
  np.testing.assert_array_equal(influence(up, x), doubled)


def test_resizing_is_nearest_neighbour_at_the_start():
  x = features(6, 2, 2)
  np.testing.assert_array_equal(TemporalDown(8, rngs=weights.Seeds(0), **KINDS)(x), x[:, ::2])
  np.testing.assert_array_equal(
    TemporalUp(8, rngs=weights.Seeds(0), **KINDS)(x), jnp.repeat(x, 2, axis=1)
  )


def test_at_the_start_an_output_frame_sees_only_the_frames_it_is_drawn_from():
  seen = influence(video_unet(2, 2), *inputs(1, 8, 8, 8))
  # Frame f sees itself, and through coarser levels the frames that striding kept of it: f to even and to four.
  expected = np.zeros((8, 8), bool)
  for f in range(8):
    expected[f, [f, f - f % 2, f - f % 4]] = True
  np.testing.assert_array_equal(seen, expected)


@pytest.mark.parametrize("depth,everything", [(1, True), (0, False)])
def test_trained_attention_sees_the_whole_clip_and_convolutions_do_not(depth, everything):
  video = video_unet(1, attention_depth=depth, seed=5)
  seen = influence(video, *inputs(1, 32, 4, 4))
  assert seen[0].all() == everything
