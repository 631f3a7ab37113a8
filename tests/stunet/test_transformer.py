"""Networks of the Stable Diffusion kind: transformers at the end of stages, plain resampling, added embeddings."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from lumiere import mesh as meshes
from lumiere import weights
from lumiere.sections import MeshConfig
from stunet.blocks import PlainResample
from stunet.image_unet import ImageUNet, ImageUNetConfig
from stunet.inflation import inflate
from stunet.stunet import TemporalConfig
from stunet.transformer import Transformer
from tests.stunet.networks import CONFIG, built, image_unet, inputs, random_weights, run

OPTIONS = dict(
  transformer_depth=2,
  text_norm="none",
  text_pool="none",
  attends_to_padding=True,
  num_heads=2,
  plain_resampling=True,
  scale_shift=False,
)
KINDS = dict(head_dim=4, groups=4, dtype=jnp.float32)


def transformer(seed: int | None = None) -> Transformer:
  return built(lambda: Transformer(8, 12, 2, rngs=weights.Seeds(0), **KINDS), seed)


def features(*shape: int):
  return jax.random.normal(jax.random.key(0), (*shape, 8))


def test_a_fresh_transformer_adds_nothing_and_all_of_it_can_learn():
  x, (_, _, text, mask) = features(2, 4, 6), inputs(2, 4, 6)
  np.testing.assert_array_equal(run(transformer(), x, text, mask), x)
  rebuild, params, frozen = weights.split(transformer(seed=1))
  loss = lambda params: jnp.mean(jnp.sin(rebuild(params, frozen)(x, text, mask)))
  grads = jax.jit(jax.grad(loss))(params)
  assert all(float(jnp.abs(leaf).max()) > 0 for leaf in jax.tree.leaves(grads))


def test_a_transformer_is_its_definition():
  """Written out for one head after the other, without any part of ours."""
  block = transformer(seed=1)
  x, (_, _, text, _) = features(2, 3, 5), inputs(2, 3, 5)
  p = jax.tree.map(np.float64, weights.split(block)[1])
  dense = lambda x, p: x @ p["kernel"] + p.get("bias", 0.0)

  def normed(x, p, axes, epsilon):
    mean, variance = x.mean(axes, keepdims=True), x.var(axes, keepdims=True)
    return (x - mean) / np.sqrt(variance + epsilon)

  def layer_norm(x, p):
    return normed(x, p, -1, 1e-5) * p["scale"] + p["bias"]

  def attention(x, states, p):
    parts = []
    for head in (slice(0, 4), slice(4, 8)):
      q, k, v = dense(x, p["query"]), dense(states, p["key"]), dense(states, p["value"])
      logits = q[..., head] @ np.swapaxes(k[..., head], 1, 2) / 2
      shares = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
      parts.append(shares @ v[..., head])
    return dense(np.concatenate(parts, -1), p["out"])

  erf = np.vectorize(math.erf)
  wide, states = np.float64(x).reshape(2, 15, 8), np.float64(text)
  groups = normed(wide.reshape(2, 15, 4, 2), None, (1, 3), 1e-6).reshape(2, 15, 8)
  h = dense(groups * p["norm"]["scale"] + p["norm"]["bias"], p["proj_in"])
  for _, each in sorted(p["blocks"].items()):
    own = layer_norm(h, each["norm1"])
    h = h + attention(own, own, each["self_attention"])
    h = h + attention(layer_norm(h, each["norm2"]), states, each["cross_attention"])
    value, gate = np.split(dense(layer_norm(h, each["norm3"]), each["dense"]), 2, -1)
    h = h + dense(value * gate * (1 + erf(gate / np.sqrt(2))) / 2, each["proj"])
  expected = np.float64(x) + dense(h, p["proj_out"]).reshape(x.shape)
  np.testing.assert_allclose(run(block, x, text), expected, rtol=1e-5, atol=1e-5)


def test_padding_is_attended_to_only_where_there_is_no_mask():
  block, x, (_, _, text, mask) = transformer(seed=1), features(2, 4, 4), inputs(2, 4, 4)
  changed = jnp.where(mask[..., None], text, 100.0)
  np.testing.assert_allclose(run(block, x, changed, mask), run(block, x, text, mask), atol=1e-5)
  assert float(jnp.abs(run(block, x, changed) - run(block, x, text)).max()) > 1e-3


def test_frames_of_a_clip_read_its_caption():
  block, x, (_, _, text, mask) = transformer(seed=1), features(6, 4, 4), inputs(2, 4, 4)
  one_by_one = run(block, x, jnp.repeat(text, 3, axis=0), jnp.repeat(mask, 3, axis=0))
  np.testing.assert_allclose(run(block, x, text, mask), one_by_one, atol=1e-5)


@pytest.mark.parametrize("how,size", [("down", (4, 6)), ("down", (2, 2)), ("up", (3, 5))])
def test_plain_resampling_is_a_sum_over_taps_with_zeros_all_around(how, size):
  layer = built(lambda: PlainResample(8, 4, how, dtype=jnp.float32, rngs=weights.Seeds(0)), 1)
  x, step = features(2, *size), 2 if how == "down" else 1
  source = np.asarray(x if how == "down" else x.repeat(2, 1).repeat(2, 2))
  padded = np.pad(source, ((0, 0), (1, 1), (1, 1), (0, 0)))
  height, width = source.shape[1:3]
  expected = np.asarray(layer.conv.bias[...])[None, None, None] + sum(
    padded[:, i : i + height : step, j : j + width : step] @ np.asarray(layer.conv.kernel[i, j])
    for i in range(3)
    for j in range(3)
  )
  np.testing.assert_allclose(run(layer, x), expected, atol=1e-5)


def test_text_timestep_and_picture_each_matter_and_sizes_need_not_be_square():
  model = image_unet(**OPTIONS)
  x, timesteps, text, mask = inputs(2, 4, 8)
  base = run(model, x, timesteps, text, mask)
  assert base.shape == x.shape
  for changed in ((x[..., ::-1], timesteps, text), (x, timesteps + 50, text), (x, timesteps, -text)):  # fmt: skip
    assert float(jnp.abs(run(model, *changed, mask) - base).max()) > 1e-4
  with pytest.raises(ValueError, match="size 5x8: height and width must be multiples of 2"):
    model(*inputs(1, 5, 8))


def test_heads_are_counted_or_have_a_width():
  narrow = image_unet(**OPTIONS)
  assert {stage.attention.blocks[0].self_attention.head_dim for stage in narrow.up[0].stages} == {8}
  config = ImageUNetConfig(**CONFIG | OPTIONS | dict(num_heads=0))
  assert (config.head_width(8), config.head_width(16)) == (8, 8)
  counted = ImageUNetConfig(**CONFIG | OPTIONS | dict(num_heads=4))
  assert (counted.head_width(8), counted.head_width(16)) == (2, 4)
  joint = image_unet(num_heads=4)
  assert joint.down[1].stages[0].attention.head_dim == 4


def test_rematerialisation_changes_no_gradient():
  x, *rest = inputs(2, 8, 8)

  def grads(model):
    rebuild, params, frozen = weights.split(model)
    return jax.jit(jax.grad(lambda p: jnp.mean(rebuild(p, frozen)(x, *rest) ** 2)))(params)

  plain, remat = (grads(image_unet(**OPTIONS, **more)) for more in ({}, dict(remat_levels=(0, 1))))
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), plain, remat)


@pytest.mark.usefixtures("flax_defaults")
def test_every_nth_frame_is_the_image_networks():
  x, *rest = inputs(2, 4, 8, 8)
  expected = jnp.stack(
    [run(image_unet(**OPTIONS), frame, *rest) for frame in jnp.moveaxis(x, 1, 0)], axis=1
  )
  temporal = TemporalConfig((2,), head_dim=8, condition_channels=4, conditioned=True)
  video = inflate(image_unet(**OPTIONS), temporal, rngs=nnx.Rngs(1))
  output = run(video, jnp.concatenate([x, jnp.ones((*x.shape[:-1], 4))], axis=-1), *rest)
  np.testing.assert_allclose(output[:, ::2], expected[:, ::2], atol=5e-5)
  assert float(jnp.abs(output[:, 1] - expected[:, 1]).max()) > 1e-3  # time is compressed
  kinds = {path[0]: type(leaf).__name__ for path, leaf in nnx.to_flat_state(nnx.state(video))}
  assert kinds.pop("image") == "Frozen" and set(kinds.values()) == {"Param"}


@pytest.mark.parametrize("sizes", [dict(fsdp=8), dict(frames=4), dict(fsdp=2, frames=2)], ids=str)
def test_a_sharded_network_is_that_of_one_device(sizes):
  make = lambda: inflate(
    ImageUNet(ImageUNetConfig(**CONFIG | OPTIONS), rngs=weights.Seeds(0)),
    TemporalConfig((2,), head_dim=8),
    rngs=weights.Seeds(1),
  )
  rebuild, params, frozen = weights.split(nnx.eval_shape(make))
  params, frozen = random_weights(params, 1), random_weights(frozen, 2)
  x, *rest = inputs(2, 8, 8, 8)
  loss = lambda params, frozen, x: jnp.mean(jnp.square(rebuild(params, frozen)(x, *rest)))
  found = []
  for config, devices in ((MeshConfig(**sizes), None), (MeshConfig(), jax.devices()[:1])):
    mesh = meshes.make_mesh(config, devices)
    with jax.set_mesh(mesh):
      placed = [jax.device_put(w, meshes.weight_shardings(w, mesh)) for w in (params, frozen)]
      value, grads = jax.jit(jax.value_and_grad(loss))(*placed, x)
      found.append((float(value), jax.tree.map(lambda p, g: p - np.asarray(g), params, grads)))
  (ours, our_params), (theirs, their_params) = found
  assert ours == pytest.approx(theirs, rel=1e-5)
  for a, b in zip(jax.tree.leaves(our_params), jax.tree.leaves(their_params), strict=True):
    assert np.abs(a - b).max() <= 1e-5 * np.abs(b).max()


@pytest.mark.parametrize(
  "fields,message",
  [
    (dict(text_dim=0), "needs another text_dim than 0: the width"),
    (dict(self_attention=False), "needs another self_attention than False: True"),
    (dict(text_norm="layer"), "needs another text_norm than 'layer': 'none'"),
    (dict(middle_transformers=1), "needs another middle_transformers than 1: 0"),
    (dict(transformer_depth=-1), "transformer_depth=-1 must be between 0 and 100"),
    (dict(num_heads=-1), "num_heads=-1 must be 0 or more"),
    (dict(num_heads=3), "num_heads=3 does not divide 16 channels"),
    (dict(num_heads=0, head_dim=5), "head_dim=5 does not divide 16 channels"),
  ],
)
def test_impossible_options_are_refused(fields, message):
  with pytest.raises(ValueError, match=message):
    ImageUNetConfig(**CONFIG | OPTIONS | fields)


def test_half_precision_keeps_large_logits():
  """Logits beyond the range of float16 are those of float32: exponents are taken there."""
  block = transformer(seed=1)
  block.blocks[0].self_attention.query.kernel[...] *= 1e4
  block.blocks[0].self_attention.key.kernel[...] *= 1e4
  half = built(
    lambda: Transformer(8, 12, 2, rngs=weights.Seeds(0), **KINDS | dict(dtype=jnp.float16)), 1
  )
  nnx.update(half, nnx.state(block))
  x, (_, _, text, _) = features(1, 4, 4), inputs(1, 4, 4)
  assert bool(jnp.isfinite(run(half, x.astype(jnp.float16), text)).all())
