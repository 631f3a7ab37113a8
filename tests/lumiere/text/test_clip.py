"""CLIP without the files of others: what its parts compute. Its agreement with transformers is in tests/parity."""

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from lumiere.text.clip import ClipConfig, ClipEncoder

TINY = dict(
  vocab_size=20,
  d_model=8,
  d_ff=12,
  num_layers=2,
  num_heads=2,
  length=6,
  projection_dim=5,
  image_d_model=8,
  image_d_ff=12,
  image_num_layers=1,
  image_num_heads=2,
  image_size=8,
  patch_size=4,
)


def test_texts_do_not_see_what_follows_and_vectors_end_at_the_end_token():
  encoder = ClipEncoder(ClipConfig(**TINY), rngs=nnx.Rngs(0))
  tokens = jnp.array([[18, 3, 4, 19, 19, 19], [18, 3, 4, 19, 7, 2]])
  mask = jnp.repeat(jnp.arange(6)[None] < 4, 2, axis=0)
  states = encoder(tokens, mask)
  np.testing.assert_allclose(states[0, :4], states[1, :4], atol=1e-6)
  assert jnp.abs(states[0, 4:] - states[1, 4:]).max() > 1e-3
  vectors = encoder.text_vectors(tokens, mask)
  np.testing.assert_allclose(vectors[0], vectors[1], atol=1e-6)
  np.testing.assert_allclose(jnp.linalg.norm(vectors, axis=-1), 1, rtol=1e-5)


def test_pictures_are_seen_patch_by_patch():
  encoder = ClipEncoder(ClipConfig(**TINY), rngs=nnx.Rngs(0))
  assert encoder.image.position.shape == (5, 8)
  picture = jnp.zeros((1, 8, 8, 3)).at[0, 5, 6].set(1.0)
  vectors = encoder.image_vectors(jnp.concatenate([picture, jnp.zeros_like(picture)]))
  assert vectors.shape == (2, 5) and jnp.abs(vectors[0] - vectors[1]).max() > 1e-4


def test_a_text_transformer_alone_has_the_vectors_that_it_was_published_with():
  without = ClipConfig(**TINY | dict(image_d_model=0, projects=False))
  assert not hasattr(ClipEncoder(without, rngs=nnx.Rngs(0)), "projection")
  encoder = ClipEncoder(ClipConfig(**TINY | dict(image_d_model=0)), rngs=nnx.Rngs(0))
  assert not hasattr(encoder, "image")
  assert encoder.text_vectors(jnp.array([[18, 3, 19]]), jnp.ones((1, 3), bool)).shape == (1, 5)


def test_what_karlos_decoder_reads_is_two_embeddings_and_the_states():
  encoder = ClipEncoder(ClipConfig(**TINY | dict(projection_dim=8)), rngs=nnx.Rngs(0))
  tokens, mask = jnp.array([[18, 3, 19, 19]]), jnp.array([[True, True, True, False]])
  text, seen = encoder.context(tokens, mask)
  assert seen.tolist() == [[False, True, True, True, True, False]] and not text[:, 0].any()
  vector = encoder.text_vectors(tokens, mask)
  np.testing.assert_allclose(text[:, 1] / jnp.linalg.norm(text[:, 1]), vector, atol=1e-6)
  np.testing.assert_allclose(text[:, 2:], encoder(tokens, mask), atol=1e-6)


@pytest.mark.parametrize(
  "change,message",
  [
    (dict(activation="relu"), "activation='relu' must be one of gelu, quick_gelu"),
    (dict(num_heads=3), "num_heads=3 must be 1 or more and divide d_model=8"),
    (dict(patch_size=3), "patch_size=3 must divide image_size=8"),
  ],
)
def test_impossible_sizes_are_refused(change, message):
  with pytest.raises(ValueError, match=message):
    ClipConfig(**TINY | change)
