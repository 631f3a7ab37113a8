"""Fresh random T5 encoders of transformers, converted and compared on padded batches; tokens against other libraries'."""

import gzip
import json

import jax.numpy as jnp
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="make test-parity installs it")
transformers = pytest.importorskip("transformers", reason="make test-parity installs it")

from lumiere.interop import convert  # noqa: E402
from lumiere.pretrained_text import TextEncoder  # noqa: E402
from lumiere.text import glide  # noqa: E402


@pytest.mark.parametrize("seed", range(4))
def test_converted_encoders_give_the_states_of_transformers(seed, tmp_path):
  rng = np.random.default_rng(seed)
  torch.manual_seed(seed)
  config = transformers.T5Config(
    vocab_size=384,
    d_model=8 * int(rng.integers(2, 6)),
    d_kv=int(rng.integers(4, 12)),
    d_ff=int(rng.integers(16, 80)),
    num_layers=int(rng.integers(1, 5)),
    num_heads=int(rng.integers(1, 5)),
    feed_forward_proj="gated-gelu",
    tie_word_embeddings=False,
  )
  model = transformers.T5EncoderModel(config).eval()
  model.save_pretrained(tmp_path / "t5")
  convert.convert(tmp_path / "t5", tmp_path / "ours")
  encoder = TextEncoder.restore(tmp_path / "ours", max_length=40)
  captions = ["a", "two words", "a caption that is longer than forty bytes and is cut", ""]
  batch = encoder.tokenizer(captions)
  with torch.no_grad():
    states = model(
      input_ids=torch.from_numpy(batch["tokens"]).long(),
      attention_mask=torch.from_numpy(batch["mask"]).long(),
    ).last_hidden_state.numpy()
  ours = encoder(captions)
  assert (np.asarray(ours["text_mask"]) == batch["mask"]).all()
  error = np.abs(np.asarray(ours["text"]) - states)[batch["mask"]].max()
  assert error / np.abs(states).max() < 1e-4
  assert ours["text"].dtype == jnp.float32


def test_pieces_are_those_of_transformers(tmp_path):
  from lumiere.text.tokenize import SentencePieceTokenizer
  from tests.lumiere.interop.published import train_pieces

  train_pieces(tmp_path / "spiece.model")
  theirs = transformers.T5Tokenizer.from_pretrained(tmp_path, extra_ids=0)
  captions = ["a red circle moves left", "one  blue square, unseen word", ""]
  batch = theirs(captions, padding="max_length", max_length=12, truncation=True)
  ours = SentencePieceTokenizer(tmp_path / "spiece.model", 12)(captions)
  np.testing.assert_array_equal(ours["tokens"], batch["input_ids"])
  np.testing.assert_array_equal(ours["mask"], np.array(batch["attention_mask"], bool))


def test_a_tokenizer_json_of_transformers_gives_the_ids_of_its_pieces(tmp_path):
  from lumiere.interop.tokenizer import sentencepiece_model
  from lumiere.text.tokenize import SentencePieceTokenizer
  from tests.lumiere.interop.published import tokenizer_json, train_pieces

  train_pieces(tmp_path / "spiece.model")
  transformers.T5Tokenizer.from_pretrained(tmp_path, extra_ids=3).save_pretrained(tmp_path / "json")
  content = json.loads((tmp_path / "json" / "tokenizer.json").read_text())
  captions = ["a red circle moves left", "one  blue square, ＵＮＳＥＥＮ ½ word\t", ""]
  ours, theirs = (
    SentencePieceTokenizer(model, 40)(captions)
    for model in (sentencepiece_model(content), tmp_path / "spiece.model")
  )
  np.testing.assert_array_equal(ours["tokens"], theirs["tokens"])
  like_theirs = tokenizer_json(tmp_path / "spiece.model")
  for part in ("normalizer", "pre_tokenizer", "model"):
    assert content[part] == like_theirs[part]


def test_glides_pieces_follow_its_merges(tmp_path):
  """GPT-2's scheme: lower case, a space belongs to the word after it, merges in the order of the file."""
  pytest.importorskip("tokenizers")
  alphabet = [chr(n) for n in range(ord("a"), ord("z") + 1)]
  vocabulary = {c: i for i, c in enumerate([*alphabet, "Ġ", "ca", "cat", "Ġa", "<|endoftext|>"])}
  merges = "#version: 0.2\nc a\nca t\nĠ a\n"
  for name, content in zip(glide.FILES, (json.dumps(vocabulary), merges), strict=True):
    (tmp_path / name).write_bytes(gzip.compress(content.encode()))
  batch = glide.GlideTokenizer(tmp_path, 6)(["Cat a cab", ""])
  v = vocabulary
  expected = [v["cat"], v["Ġa"], v["Ġ"], v["ca"], v["b"], v["<|endoftext|>"]]
  np.testing.assert_array_equal(batch["tokens"], [expected, [v["<|endoftext|>"]] * 6])
  np.testing.assert_array_equal(batch["mask"].sum(axis=1), [5, 0])
