import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx, traverse_util

from lumiere.text.t5 import T5Config, T5Encoder, relative_buckets

pytestmark = pytest.mark.usefixtures("flax_defaults")
GOLDEN = pathlib.Path(__file__).parent / "golden"
TINY = T5Config(vocab_size=30, d_model=16, d_kv=4, d_ff=24, num_layers=2, num_heads=3)

# Our path in a layer -> transformers' path in a block.
LAYER = {
  "attention_norm/scale": "layer.0.layer_norm.weight",
  "query/kernel": "layer.0.SelfAttention.q.weight",
  "key/kernel": "layer.0.SelfAttention.k.weight",
  "value/kernel": "layer.0.SelfAttention.v.weight",
  "out/kernel": "layer.0.SelfAttention.o.weight",
  "ff_norm/scale": "layer.1.layer_norm.weight",
  "wi_0/kernel": "layer.1.DenseReluDense.wi_0.weight",
  "wi_1/kernel": "layer.1.DenseReluDense.wi_1.weight",
  "wo/kernel": "layer.1.DenseReluDense.wo.weight",
}


def from_transformers(weights: dict[str, np.ndarray], num_layers: int) -> dict:
  tree = {
    ("embed", "embedding"): weights["shared.weight"],
    ("position_bias", "embedding"): weights[
      "encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight"
    ],
    ("norm", "scale"): weights["encoder.final_layer_norm.weight"],
  }
  for i in range(num_layers):
    for ours, theirs in LAYER.items():
      weight = weights[f"encoder.block.{i}.{theirs}"]
      tree["layers", i, *ours.split("/")] = weight.T if ours.endswith("kernel") else weight
  assert len(tree) == len(weights)  # nothing in the golden file is left over
  return traverse_util.unflatten_dict(tree)


def load_golden(name: str):
  parts = {"config": {}, "weights": {}, "arrays": {}}
  with np.load(GOLDEN / f"t5_{name}.npz") as file:
    for path in file.files:
      *part, key = path.split("/")
      parts[part[0] if part else "arrays"][key] = file[path]
  config = T5Config(**{key: int(value) for key, value in parts["config"].items()})
  return config, from_transformers(parts["weights"], config.num_layers), parts["arrays"]


def build(config: T5Config, weights=None, **kwargs):
  model = T5Encoder(config, rngs=nnx.Rngs(0), **kwargs)
  if weights is None:
    return model
  graph, state = nnx.split(model)
  shapes = jax.tree.map(lambda leaf: leaf.shape, nnx.to_pure_dict(state))
  assert shapes == jax.tree.map(np.shape, weights)
  nnx.replace_by_pure_dict(state, jax.tree.map(jnp.asarray, weights))
  return nnx.merge(graph, state)


@pytest.mark.parametrize("name", ["v1_1", "byt5"])
def test_states_equal_transformers(name):
  config, weights, golden = load_golden(name)
  model = build(config, weights)
  states = jax.jit(lambda t, m: model(t, m))(
    jnp.asarray(golden["tokens"]), jnp.asarray(golden["mask"])
  )
  difference = (states - golden["states"])[golden["mask"]]
  assert np.linalg.norm(difference) < 1e-5 * np.linalg.norm(golden["states"][golden["mask"]])
  assert np.abs(difference).max() < 1e-4


def test_buckets_equal_transformers():
  golden = load_golden("v1_1")[2]
  np.testing.assert_array_equal(relative_buckets(golden["offsets"], 32, 128), golden["buckets"])


def test_buckets_in_closed_form():
  # 8 exact distances a direction; then 8 * 16^(k / 8) opens bucket 8 + k; from 128 on all share the last.
  offsets = np.array([0, -1, -7, -8, -15, -16, -31, -32, -64, -127, -128, -10_000])
  np.testing.assert_array_equal(
    relative_buckets(offsets, 32, 128), [0, 1, 7, 8, 9, 10, 11, 12, 14, 15, 15, 15]
  )
  np.testing.assert_array_equal(
    relative_buckets(-offsets[1:], 32, 128), 16 + relative_buckets(offsets[1:], 32, 128)
  )


def test_padding_reaches_no_other_position():
  model = build(TINY)
  tokens = jax.random.randint(jax.random.key(0), (2, 9), 0, TINY.vocab_size)
  mask = jnp.arange(9)[None] < jnp.array([[9], [5]])
  states = model(tokens, mask)
  other = model(jnp.where(mask, tokens, (tokens + 11) % TINY.vocab_size), mask)
  np.testing.assert_array_equal(states[mask], other[mask])
  alone = model(tokens[1:, :5], jnp.ones((1, 5), bool))
  np.testing.assert_allclose(states[1, :5], alone[0], atol=1e-5)
  assert np.abs(states[1, 5:] - other[1, 5:]).max() > 0.1  # the change was one that could be seen


def test_order_matters():
  model = build(TINY)
  states = model(jnp.array([[3, 4, 5], [5, 4, 3]]), jnp.ones((2, 3), bool))
  assert np.abs(states[0] - states[1, ::-1]).max() > 1e-3


def test_a_text_without_tokens_gives_finite_states():
  assert np.isfinite(build(TINY)(jnp.zeros((1, 4), int), jnp.zeros((1, 4), bool))).all()


def test_bfloat16_computes_near_float32_with_float32_weights():
  config, weights, golden = load_golden("byt5")
  model = build(config, weights, dtype=jnp.bfloat16)
  states = model(jnp.asarray(golden["tokens"]), jnp.asarray(golden["mask"]))
  assert states.dtype == jnp.bfloat16
  assert {leaf.dtype.name for leaf in jax.tree.leaves(nnx.state(model))} == {"float32"}
  difference = (states.astype(np.float32) - golden["states"])[golden["mask"]]
  assert np.linalg.norm(difference) < 0.03 * np.linalg.norm(golden["states"][golden["mask"]])


def test_initial_spread_of_every_weight():
  config = T5Config(vocab_size=384, d_model=64, d_kv=24, d_ff=160, num_layers=1, num_heads=4)
  state = traverse_util.flatten_dict(nnx.to_pure_dict(nnx.state(build(config))))
  found = {"/".join(map(str, path)): np.sqrt(np.mean(leaf**2)) for path, leaf in state.items()}
  expected = {
    "embed/embedding": 1.0,
    "layers/0/query/kernel": (64 * 24) ** -0.5,
    "layers/0/key/kernel": 64**-0.5,
    "layers/0/value/kernel": 64**-0.5,
    "layers/0/out/kernel": (4 * 24) ** -0.5,
    "layers/0/wi_0/kernel": 64**-0.5,
    "layers/0/wi_1/kernel": 64**-0.5,
    "layers/0/wo/kernel": 160**-0.5,
    "norm/scale": 1.0,
    "layers/0/attention_norm/scale": 1.0,
    "layers/0/ff_norm/scale": 1.0,
  }
  assert found.keys() == {*expected, "position_bias/embedding"}
  for path, value in expected.items():
    assert found[path] == pytest.approx(value, rel=0.05), path


def test_heads_of_a_new_encoder_look_at_a_few_neighbours():
  config = T5Config(vocab_size=384, d_model=64, d_kv=8, d_ff=64, num_layers=1, num_heads=8)
  weights = jax.nn.softmax(build(config).bias(65)[0, :, 32], axis=-1)  # where byte 32 looks
  near = weights[:, 32 - 8 : 32 + 9].sum(axis=-1)
  assert float(near.mean()) > 0.85
  entropy = -(weights * jnp.log(weights)).sum(axis=-1)
  assert float(jnp.exp(entropy).mean()) < 65 / 8  # of 65 bytes


@pytest.mark.parametrize(
  ("field", "value"),
  [
    ("num_layers", 0),
    ("relative_attention_num_buckets", 30),
    ("relative_attention_max_distance", 8),
  ],
)
def test_sizes_that_cannot_be_are_named(field, value):
  sizes = dict(vocab_size=30, d_model=16, d_kv=4, d_ff=24, num_layers=2, num_heads=3)
  with pytest.raises(ValueError, match=f"{field}={value}"):
    T5Config(**{**sizes, field: value})
