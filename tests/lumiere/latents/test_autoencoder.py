"""The autoencoder without the files of others. Its agreement with diffusers is in tests/parity."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from lumiere import mesh as meshes
from lumiere import weights
from lumiere.latents import autoencoder as latents
from lumiere.latents.autoencoder import Autoencoder, AutoencoderConfig
from lumiere.sections import MeshConfig
from tests.stunet.networks import built

TINY = dict(channels=(4, 8), num_res_blocks=1, latent_channels=2, norm_groups=2)


@functools.cache
def network(dtype=jnp.float32, **changes) -> Autoencoder:
  config = AutoencoderConfig(**TINY | changes)
  return built(lambda: Autoencoder(config, dtype=dtype, rngs=weights.Seeds(0)), seed=1)


def video(shape=(2, 3, 6, 10, 3)):
  return jax.random.uniform(jax.random.key(0), shape, minval=-1.0)


def test_sizes_are_divided_and_multiplied_by_the_factor():
  model = network(channels=(4, 8, 4))
  assert model.config.factor == 4
  z = jax.jit(model.encode)(video((2, 12, 20, 3)))
  assert z.shape == (2, 3, 5, 2)
  assert jax.eval_shape(model.decode, z).shape == (2, 12, 20, 3)
  grey = network(channels=(4,), in_channels=1)
  assert grey.config.factor == 1
  there_and_back = lambda images: grey.decode(grey.encode(images))
  assert jax.eval_shape(there_and_back, video((1, 3, 5, 1))).shape == (1, 3, 5, 1)


def test_the_encoder_pads_below_and_to_the_right_only():
  level = latents.Down([], 1, True, dtype=jnp.float32, rngs=nnx.Rngs(0))
  level.resize.kernel[...] = jnp.ones((3, 3, 1, 1))
  np.testing.assert_allclose(level(jnp.ones((1, 4, 4, 1)))[0, :, :, 0], [[9, 6], [6, 4]])


def test_norms_have_the_epsilon_of_autoencoders():
  norms = [m for _, m in nnx.iter_modules(network()) if isinstance(m, nnx.GroupNorm)]
  # Two a block, one an attention and one at the end: encoder 2 + 2 blocks, decoder 4 + 2.
  assert [norm.epsilon for norm in norms] == [1e-6] * (2 * 10 + 2 + 2)


def test_latents_are_scaled_and_unscaled_once():
  model, images = network(scaling_factor=0.5), video((2, 6, 10, 3))
  same = network(scaling_factor=1.0)
  mean, _ = jax.jit(model.moments)(images)
  np.testing.assert_allclose(jax.jit(model.encode)(images), 0.5 * mean, rtol=1e-6)
  np.testing.assert_allclose(jax.jit(same.encode)(images), mean, rtol=1e-6)
  decoded = (jax.jit(each.decode)(s * mean) for each, s in ((model, 0.5), (same, 1.0)))
  np.testing.assert_allclose(*decoded, rtol=1e-5, atol=1e-6)


def test_samples_have_the_mean_and_the_variance_of_their_moments():
  model = network()
  mean, log_variance = jnp.full((1, 1, 1, 2), 3.0), jnp.log(jnp.array([4.0, 0.25]))[None, None, None]  # fmt: skip
  keys = jax.random.split(jax.random.key(0), 4000)
  samples = jax.vmap(lambda key: model.latents(mean, log_variance, key))(keys)
  samples = samples[:, 0, 0, 0] / model.config.scaling_factor
  np.testing.assert_allclose(samples.mean(axis=0), [3.0, 3.0], atol=0.15)
  np.testing.assert_allclose(samples.std(axis=0), [2.0, 0.5], rtol=0.05)


@pytest.mark.parametrize("bias,limit", [(1000.0, 20.0), (-1000.0, -30.0)])
def test_log_variances_are_clamped_and_means_are_not(bias, limit):
  rebuild, params, frozen = weights.split(network())
  dense = {**params["dense_moments"], "bias": jnp.full(4, bias)}
  model = rebuild({**params, "dense_moments": dense}, frozen)
  mean, log_variance = jax.jit(model.moments)(video((1, 4, 4, 3)))
  assert (log_variance == limit).all()
  assert (jnp.abs(mean) > 900).all()


@pytest.mark.parametrize("frames_at_a_time", (1, 4, 6, 100))
def test_frames_in_parts_are_frames_at_once(frames_at_a_time):
  model, clips, key = network(), video(), jax.random.key(1)
  frames = clips.reshape(6, 6, 10, 3)
  encode = jax.jit(lambda x, key: latents.encode_frames(model, x, key, frames_at_a_time))
  for chosen in (None, key):
    z = encode(clips, chosen)
    at_once = jax.jit(model.encode)(frames, chosen)
    assert z.shape == (2, 3, 3, 5, 2)
    np.testing.assert_allclose(z.reshape(at_once.shape), at_once, atol=1e-6)
  back = jax.jit(lambda z: latents.decode_frames(model, z, frames_at_a_time))(z)
  assert back.shape == clips.shape
  at_once = jax.jit(model.decode)(at_once)
  np.testing.assert_allclose(back.reshape(frames.shape), at_once, atol=1e-5)


def test_memory_does_not_grow_with_the_number_of_frames():
  model = network()

  def temporary(frames: int) -> int:
    shape = jax.ShapeDtypeStruct((1, frames, 16, 16, 3), jnp.float32)
    encode = jax.jit(lambda x: latents.encode_frames(model, x, frames_at_a_time=2))
    return encode.lower(shape).compile().memory_analysis().temp_size_in_bytes

  # What is allowed to grow: a copy of the clip and of its moments.
  assert temporary(16) - temporary(4) < 3 * 12 * 16 * 16 * 3 * 4


def test_a_place_sees_no_other_frame():
  model, clips = network(), video((1, 3, 4, 4, 3))
  changed = clips.at[0, 1].set(0.0)
  encode = jax.jit(lambda x: latents.encode_frames(model, x))
  one, other = encode(clips), encode(changed)
  moved = jnp.abs(one - other).max(axis=(0, 2, 3, 4)) > 1e-4
  assert moved.tolist() == [False, True, False]


def test_gradients_are_finite_and_reach_every_weight():
  rebuild, params, frozen = weights.split(network())
  images = video((1, 8, 8, 3))

  def loss(params):
    model = rebuild(params, frozen)
    mean, log_variance = model.moments(images)
    z = model.latents(mean, log_variance, jax.random.key(0))
    divergence = jnp.mean(mean**2 + jnp.exp(log_variance) - 1 - log_variance) / 2
    return jnp.mean(jnp.abs(model.decode(z) - images)) + 1e-3 * divergence

  grads = jax.jit(jax.grad(loss))(params)
  for path, leaf in jax.tree_util.tree_leaves_with_path(grads):
    name = jax.tree_util.keystr(path)
    assert jnp.isfinite(leaf).all(), name
    # Softmax takes no notice of what is added to all logits of a row.
    assert "'key']['bias" in name or jnp.abs(leaf).max() > 0, name


def test_half_precision_is_near_full_and_returns_float32():
  images = video((1, 8, 8, 3))
  half, full = network(jnp.bfloat16), network()
  params = jax.tree.leaves(weights.split(half)[1])
  assert {leaf.dtype for leaf in params} == {jnp.dtype(jnp.float32)}
  z = jax.jit(half.encode)(images)
  assert z.dtype == jax.eval_shape(half.decode, z).dtype == jnp.float32
  np.testing.assert_allclose(z, jax.jit(full.encode)(images), atol=0.05 * jnp.abs(z).max())


@pytest.mark.parametrize("config", [MeshConfig(), MeshConfig(frames=4)], ids=["clips", "frames"])
def test_devices_share_clips_and_their_frames(config):
  model, clips = network(), video((8, 4, 8, 8, 3))
  expected = latents.encode_frames(model, clips)
  mesh = meshes.make_mesh(config)
  with jax.set_mesh(mesh):
    shared = jax.device_put(clips, meshes.batch_sharding("video", mesh))
    program = jax.jit(lambda x: latents.encode_frames(model, x)).lower(shared).compile()
    np.testing.assert_allclose(program(shared), expected, atol=1e-5)
  assert "all-gather" not in program.as_text()


def test_sizes_that_are_no_multiples_are_refused():
  model = network(channels=(4, 8, 4))
  message = "images=12x18: height and width must be multiples of 4; the nearest are 12x16 and 12x20"
  with pytest.raises(ValueError, match=message):
    model.encode(video((1, 12, 18, 3)))
  with pytest.raises(ValueError, match=message):
    latents.encode_frames(model, video((1, 2, 12, 18, 3)))
  with pytest.raises(ValueError, match="frames_at_a_time=0 must be 1 or more"):
    latents.decode_frames(model, jnp.zeros((1, 1, 2, 2, 2)), frames_at_a_time=0)


@pytest.mark.parametrize(
  "change,message",
  [
    (dict(channels=()), r"channels=\(\) must give a width, 1 or more, for each level"),
    (dict(channels=(4, 0)), r"channels=\(4, 0\) must give a width"),
    (dict(channels=(4, 5)), "norm_groups=2 does not divide 5 channels"),
    (dict(norm_groups=0), "norm_groups=0 must be 1 or more"),
    (dict(latent_channels=0), "latent_channels=0 must be 1 or more"),
    (dict(in_channels=-1), "in_channels=-1 must be 1 or more"),
    (dict(num_res_blocks=0), "num_res_blocks=0 must be between 1 and 100"),
    (dict(num_res_blocks=101), "num_res_blocks=101 must be between 1 and 100"),
    (dict(scaling_factor=0.0), "scaling_factor=0.0 must be above 0 and finite"),
    (dict(scaling_factor=float("nan")), "scaling_factor=nan must be above 0 and finite"),
  ],
)
def test_impossible_configs_are_refused(change, message):
  with pytest.raises(ValueError, match=message):
    AutoencoderConfig(**TINY | change)


def test_the_defaults_have_as_many_weights_as_stable_diffusions():
  abstract = nnx.eval_shape(lambda: Autoencoder(AutoencoderConfig(), rngs=weights.Seeds(0)))
  assert weights.count(weights.split(abstract)[1]) == 83_653_863
