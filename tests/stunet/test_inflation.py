import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from lumiere import weights
from stunet.inflation import Frozen, inflate
from stunet.stunet import TemporalConfig
from tests.stunet.networks import image_unet, inputs, levels, run, video_unet


def image_by_image(count: int, x, *rest):
  """The image network of so many levels, on every frame."""
  network = compiled_image_network(count)
  return jnp.stack([network(frame, *rest) for frame in jnp.moveaxis(x, 1, 0)], axis=1)


@functools.cache
def compiled_image_network(count: int):
  rebuild, params, frozen = weights.split(image_unet(**levels(count)))
  return jax.jit(lambda *args: rebuild(params, frozen)(*args))


def unchanged(moved) -> list[str]:
  """Names of the leaves that are False, but for keys' biases: softmax hides those up to rounding."""
  names = [
    "/".join(str(key.key) for key in path)
    for path, leaf in jax.tree_util.tree_leaves_with_path(moved)
    if not leaf
  ]
  return [name for name in names if not name.endswith("key/bias")]


@pytest.mark.parametrize(
  "factors,temporal,flax_defaults",
  [
    ((2, 2), dict(attention_depth=2, conditioned=True), "today"),
    ((2,), dict(attention_over="clip", feed_forward=2), "announced"),
    ((1,), dict(attention_depth=0), "today"),
  ],
  indirect=["flax_defaults"],
)
def test_every_nth_frame_is_the_image_networks(factors, temporal, flax_defaults):
  x, *rest = inputs(2, 8, 8, 8)
  video = video_unet(*factors, **temporal)
  output, expected = run(video, x, *rest), image_by_image(len(factors) + 1, x, *rest)
  n = video.temporal.total_factor
  np.testing.assert_allclose(output[:, ::n], expected[:, ::n], atol=5e-5)
  if n > 1:  # and the others are not: time really is compressed
    assert float(jnp.abs(output[:, 1] - expected[:, 1]).max()) > 1e-2


def test_a_conditional_network_starts_as_the_unconditional_one_and_learns_to_look():
  """Whatever is put in the further channels; the first thing to move are their weights."""
  x, *rest = inputs(1, 4, 8, 8)
  shown = jax.random.normal(jax.random.key(3), (*x.shape[:-1], 4))
  plain = run(video_unet(2), x, *rest)
  model = video_unet(2, condition_channels=4)
  both = jnp.concatenate([x, shown], axis=-1)
  np.testing.assert_array_equal(run(model, both, *rest), plain)
  rebuild, params, frozen = weights.split(model)
  assert sorted(params["condition_in"]) == ["bias", "kernel"]
  loss = lambda params: jnp.mean(jnp.square(rebuild(params, frozen)(both, *rest)))
  grads = jax.jit(jax.grad(loss))(params)
  assert float(jnp.abs(grads["condition_in"]["kernel"]).max()) > 0
  with pytest.raises(ValueError, match="3 channels given, in_channels=3 and 4 more expected"):
    model(x, *rest)


def test_a_network_of_patches_around_a_transformer_is_inflated_with_them():
  options = dict(patch_size=2, middle_transformers=3, up_narrows=True)
  image = image_unet(**options)
  x, *rest = inputs(2, 4, 8, 8)
  expected = jnp.stack([run(image, frame, *rest) for frame in jnp.moveaxis(x, 1, 0)], axis=1)
  temporal = TemporalConfig((2,), head_dim=8, condition_channels=4)
  video = inflate(image_unet(**options), temporal, rngs=nnx.Rngs(1))
  assert video.condition_in.kernel.shape == (3, 3, 16, 8)
  assert len(video.middle.inflations) == 3
  output = run(video, jnp.concatenate([x, jnp.ones((*x.shape[:-1], 4))], axis=-1), *rest)
  np.testing.assert_allclose(output[:, ::2], expected[:, ::2], atol=5e-5)


def test_repeated_frames_stay_repeated_at_the_start():
  x, *rest = inputs(2, 1, 8, 8)
  still = jnp.repeat(x, 8, axis=1)
  # The first and last frames of an identity convolution see zeros beside them, which must not matter.
  np.testing.assert_allclose(
    run(video_unet(2), still, *rest), image_by_image(2, still, *rest), atol=5e-5
  )


@pytest.mark.usefixtures("flax_defaults")
def test_only_temporal_leaves_are_parameters_and_all_of_them_get_gradients():
  video = video_unet(2, conditioned=True, attention_over="clip", feed_forward=2, seed=3)
  kinds = {path[0]: type(leaf) for path, leaf in nnx.to_flat_state(nnx.state(video))}
  assert kinds.pop("image") is Frozen
  assert set(kinds.values()) == {nnx.Param}
  rebuild, params, frozen = weights.split(video)
  x, *rest = inputs(2, 8, 8, 8)
  grads = jax.jit(jax.grad(lambda p, f: jnp.mean(rebuild(p, f)(x, *rest) ** 2)))(params, frozen)
  assert unchanged(jax.tree.map(lambda leaf: bool(jnp.abs(leaf).max() > 0), grads)) == []


@pytest.mark.usefixtures("flax_defaults")
def test_frozen_leaves_are_bit_identical_after_training():
  rebuild, params, frozen = weights.split(video_unet(2))
  before = jax.tree.map(np.array, (params, frozen))
  optimizer = optax.adamw(1e-2, weight_decay=0.1)
  opt_state = optimizer.init(params)
  x, *rest = inputs(1, 8, 8, 8)

  @jax.jit
  def step(params, frozen, opt_state):
    grads = jax.grad(lambda p: jnp.mean((rebuild(p, frozen)(x, *rest) - x) ** 2))(params)
    updates, opt_state = optimizer.update(grads, opt_state, params)
    return optax.apply_updates(params, updates), frozen, opt_state

  for _ in range(3):
    params, frozen, opt_state = step(params, frozen, opt_state)
  jax.tree.map(np.testing.assert_array_equal, before[1], jax.tree.map(np.array, frozen))
  moved = jax.tree.map(lambda a, b: bool(np.any(a != b)), before[0], jax.tree.map(np.array, params))
  assert unchanged(moved) == []


def test_optimizer_memory_follows_the_trainable_weights_only():
  _, params, frozen = weights.split(video_unet(2))
  moments = sum(leaf.size for leaf in jax.tree.leaves(optax.adam(1e-3).init(params)))
  assert moments == 2 * weights.count(params) + 1  # the count of steps
  assert weights.count(frozen) > 0


def test_wrong_number_of_frames_names_the_numbers_that_work():
  with pytest.raises(ValueError, match="num_frames=6 must be a multiple of 4.*4 or 8 would do"):
    video_unet(2, 2)(*inputs(1, 6, 8, 8))


@pytest.mark.parametrize(
  "fields,message",
  [
    (dict(factors=(3,)), "factors"),
    (dict(factors=(2,), attention_depth=-1), "attention_depth"),
    (dict(factors=(2,), head_dim=0), "head_dim"),
    (dict(factors=(2,), attention_over="frame"), "attention_over"),
    (dict(factors=(2,), attention_reach=(7, -1)), "attention_reach"),
    (dict(factors=(2,), feed_forward=-1), "feed_forward"),
    (dict(factors=(2, 2)), "factors"),
  ],
)
def test_impossible_inflations_are_refused(fields, message):
  with pytest.raises(ValueError, match=message):
    inflate(image_unet(), TemporalConfig(**fields), rngs=nnx.Rngs(1))
