import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from lumiere import weights
from stunet.embeddings import sinusoids
from stunet.image_unet import ImageUNet, ImageUNetConfig
from tests.stunet.networks import CONFIG, image_unet, inputs, levels, run


def test_sinusoids_against_their_definition():
  positions = jnp.array([0.0, 3.0, 999.0])
  frequencies = 10_000.0 ** (-np.arange(4) / 4)
  angles = np.asarray(positions)[:, None] * frequencies
  np.testing.assert_allclose(
    sinusoids(positions, 8), np.concatenate([np.cos(angles), np.sin(angles)], -1), atol=1e-4
  )


def test_padding_tokens_do_not_matter():
  model = image_unet()
  x, timesteps, text, mask = inputs(2, 8, 8)
  expected = run(model, x, timesteps, text, mask)
  changed = jnp.where(mask[..., None], text, 100.0)
  np.testing.assert_allclose(run(model, x, timesteps, changed, mask), expected, atol=1e-5)
  assert float(jnp.abs(run(model, x, timesteps, changed) - expected).max()) > 1e-3


@pytest.mark.parametrize("options", [{}, dict(middle_transformers=2, up_narrows=True)])
def test_text_timestep_and_augmentation_level_each_matter(options):
  model = image_unet(augmentation_embedding=True, **options)
  x, timesteps, text, mask = inputs(2, 8, 8)
  base = run(model, x, timesteps, text, mask, timesteps)
  for changed in (
    (x, timesteps + 50, text, mask, timesteps),
    (
      x,
      timesteps,
      text[..., ::-1],
      mask,
      timesteps,
    ),  # a shift of all features would be normalised away
    (x, timesteps, text, mask, timesteps + 50),
  ):
    assert float(jnp.abs(run(model, *changed) - base).max()) > 1e-4


def test_patches_are_pixels_in_another_order():
  """A network of 2x2 patches is one of four times the channels on the rearranged picture."""
  x, *rest = inputs(2, 16, 16)
  rearranged = jnp.concatenate([x[:, i::2, j::2] for i in (0, 1) for j in (0, 1)], axis=-1)
  expected = run(image_unet(in_channels=12, out_channels=12), rearranged, *rest)
  out = run(image_unet(patch_size=2), x, *rest)
  for index, (i, j) in enumerate(((0, 0), (0, 1), (1, 0), (1, 1))):
    part = expected[..., 3 * index : 3 * index + 3]
    np.testing.assert_allclose(out[:, i::2, j::2], part, atol=1e-5)
  with pytest.raises(ValueError, match="size 6x6: height and width must be multiples of 4"):
    image_unet(patch_size=2)(*inputs(1, 6, 6))


def test_without_self_attention_only_the_text_is_attended_to():
  model = image_unet(self_attention=False)
  attention = model.down[1].stages[0].attention
  assert not hasattr(attention, "key")
  x = jax.random.normal(jax.random.key(0), (1, 4, 4, 16))
  text = jax.random.normal(jax.random.key(1), (1, 5, 12))
  # Each place's output depends on the other places only through the norm: permuting places permutes the output.
  flipped = attention(x[:, ::-1], text)[:, ::-1]
  np.testing.assert_allclose(attention(x, text), flipped, atol=1e-5)


def test_the_middle_may_be_a_transformer_without_convolutions():
  model = image_unet(middle_transformers=3)
  assert len(model.middle.stages) == 3
  kernels = [p for p in jax.tree.leaves(nnx.state(model.middle)) if p.ndim > 1]
  assert {kernel.ndim for kernel in kernels} == {2}
  stage = model.middle.stages[0]
  x = jax.random.normal(jax.random.key(0), (2, 4, 4, 16))
  embedding = jax.random.normal(jax.random.key(1), (2, 32))
  text = jax.random.normal(jax.random.key(2), (2, 5, 12))
  # Attention without positions and dense layers: permuted places are permuted in the same way.
  flipped = stage(x[:, ::-1], embedding, text, None)[:, ::-1]
  np.testing.assert_allclose(stage(x, embedding, text, None), flipped, atol=1e-5)


def test_upsampling_may_narrow_in_its_own_block():
  wide, narrow = image_unet(), image_unet(up_narrows=True)
  last = lambda model: model.up[0].resample.conv2.kernel.shape
  assert (last(wide), last(narrow)) == ((3, 3, 16, 16), (3, 3, 8, 8))
  x, *rest = inputs(2, 8, 8)
  assert run(narrow, x, *rest).shape == run(wide, x, *rest).shape


def test_rematerialisation_changes_no_gradient():
  x, *rest = inputs(2, 8, 8)

  def grads(model):
    rebuild, params, frozen = weights.split(model)
    return jax.jit(jax.grad(lambda p: jnp.mean(rebuild(p, frozen)(x, *rest) ** 2)))(params)

  plain, remat = grads(image_unet()), grads(image_unet(remat_levels=(0, 1)))
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), plain, remat)


def test_bfloat16_computes_in_bfloat16_and_answers_close_in_float32():
  x, *rest = inputs(2, 8, 8)
  expected = run(image_unet(), x, *rest)
  config = ImageUNetConfig(**CONFIG)
  model = nnx.eval_shape(lambda: ImageUNet(config, dtype=jnp.bfloat16, rngs=weights.Seeds(0)))
  nnx.update(model, nnx.state(image_unet()))
  output = run(model, x, *rest)
  assert output.dtype == jnp.float32
  assert {leaf.dtype for leaf in jax.tree.leaves(nnx.state(model))} == {jnp.dtype("float32")}
  difference = float(jnp.abs(output - expected).max() / jnp.abs(expected).max())
  assert 1e-6 < difference < 0.1


def test_the_options_cover_deepfloyd_if_exactly():
  config = ImageUNetConfig(
    channels=(192, 384, 576, 768),
    num_res_blocks=3,
    attention_levels=(1, 2, 3),
    out_channels=6,
    text_dim=4096,
    cross_attention_dim=768,
    text_norm="group",
    text_pool="attention",
    pool_heads=64,
    activation="gelu",
  )
  model = nnx.eval_shape(lambda: ImageUNet(config, rngs=weights.Seeds(0)))
  assert weights.count(weights.split(model)[1]) == 371_605_830  # the published IF-I-M


@pytest.mark.parametrize(
  "fields,message",
  [
    (dict(num_res_blocks=(1, 2, 1)), "num_res_blocks"),
    (dict(attention_levels=(2,)), "attention_levels"),
    (dict(self_attention=False, text_dim=0, text_pool="none"), "self_attention"),
    (dict(norm_groups=3), "norm_groups"),
    (dict(head_dim=5), "head_dim"),
    (dict(head_dim=0), "head_dim=0 must be 1 or more"),
    (dict(channels=(8, 0)), "channels="),
    (dict(pool_heads=5), "pool_heads"),
    (dict(middle_transformers=-1), "middle_transformers=-1"),
    (dict(attention_levels=(), middle_transformers=1, head_dim=5), "head_dim=5"),
  ],
)
def test_impossible_architectures_are_refused(fields, message):
  with pytest.raises(ValueError, match=message):
    ImageUNet(ImageUNetConfig(**CONFIG | fields), rngs=weights.Seeds(0))


def test_a_size_that_does_not_halve_is_refused():
  with pytest.raises(ValueError, match="multiples of 4"):
    image_unet(**levels(3))(*inputs(1, 6, 8))
