"""A tokenizer.json of T5 gives the ids of the SentencePiece model that it was made of."""

import json
import random

import numpy as np
import pytest

from lumiere.interop import tokenizer
from lumiere.text.t5 import T5Config
from lumiere.text.tokenize import SentencePieceTokenizer
from tests.lumiere.interop.published import tokenizer_json, train_pieces
from tests.lumiere.test_files import POINTER

T5 = T5Config(vocab_size=60, d_model=8, d_kv=4, d_ff=8, num_layers=1, num_heads=2)
# Upper case, wide and composed letters, ligatures, spaces of all kinds, unknown letters, names of special pieces.
TEXTS = [
  "a red circle moves left", "", " ", "  two   spaces ", "ＡＢＣ １２３ ﬁve ½ ㌀", "cafe\u0301 café",
  "tab\tnew\nline\u00a0no\u3000wide\u200bzero", "圆形向左移动 🟥", "<extra_id_0> a </s> <pad> <unk>", "▁a ▁▁b",
]  # fmt: skip


def precompiled_and_metaspace(content: dict) -> dict:
  """The older layout, in which the normalizer joins spaces."""
  steps = [
    content["normalizer"],
    {"type": "Strip", "strip_left": False, "strip_right": True},
    {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": "▁"},
  ]
  return content | {
    "normalizer": {"type": "Sequence", "normalizers": steps},
    "pre_tokenizer": {"type": "Metaspace", "replacement": "▁", "add_prefix_space": True},
  }


@pytest.fixture(scope="module")
def pieces(tmp_path_factory):
  path = tmp_path_factory.mktemp("pieces") / "spiece.model"
  train_pieces(path)
  return path


@pytest.mark.parametrize("layout", [lambda content: content, precompiled_and_metaspace])
def test_ids_are_those_of_the_sentencepiece_model(layout, pieces):
  model = tokenizer.sentencepiece_model(layout(tokenizer_json(pieces)))
  rng = random.Random(0)
  letters = "".join(TEXTS) + "abcdefg"
  texts = TEXTS + ["".join(rng.choices(letters, k=rng.randrange(30))) for _ in range(500)]
  ours, theirs = (SentencePieceTokenizer(x, 40) for x in (model, pieces))
  assert ours.vocab_size == theirs.vocab_size + 3
  for name, ids in theirs(texts).items():
    np.testing.assert_array_equal(ours(texts)[name], ids, err_msg=name)


def test_bytes_stand_for_unknown_letters_where_there_are_pieces_for_them(tmp_path):
  train_pieces(tmp_path / "spiece.model", 280, byte_fallback=True)
  content = tokenizer_json(tmp_path / "spiece.model")
  del content["model"]["byte_fallback"]  # older files do not say it
  ours, theirs = (
    SentencePieceTokenizer(model, 40)(TEXTS)
    for model in (tokenizer.sentencepiece_model(content), tmp_path / "spiece.model")
  )
  np.testing.assert_array_equal(ours["tokens"], theirs["tokens"])
  assert (ours["tokens"] != 2).all()


def change(*path_and_value):
  """A function that sets a place in a tokenizer.json."""
  *path, last, value = path_and_value

  def apply(content):
    for key in path:
      content = content[key]
    content[last] = value

  return apply


@pytest.mark.parametrize(
  ("apply", "message"),
  [
    (change("normalizer", None), "normalizer is null"),
    (change("normalizer", {"type": "Lowercase"}), "no precompiled_charsmap"),
    (change("normalizer", "precompiled_charsmap", "AAA*"), "precompiled_charsmap is damaged"),
    (change("normalizer", "precompiled_charsmap", "AAAA"), "damaged: .* rule is broken"),
    (change("normalizer", "precompiled_charsmap", ""), "no precompiled_charsmap"),
    (change("normalizer", "precompiled_charsmap", 3), "precompiled_charsmap is damaged"),
    (change("pre_tokenizer", None), "pre_tokenizer is null"),
    (change("pre_tokenizer", "pretokenizers", 3), "pre_tokenizer.pretokenizers must be a list"),
    (change("pre_tokenizer", "pretokenizers", [{"type": "ByteLevel"}]), "pre_tokenizer is .*ByteLevel"),
    (change("pre_tokenizer", "pretokenizers", 1, "prepend_scheme", "first"), "pre_tokenizer is"),
    (change("pre_tokenizer", "pretokenizers", 1, "replacement", "_"), "pre_tokenizer is"),
    (change("model", []), r"model is \[\]"),
    (change("model", "type", "BPE"), "model.type='BPE' is not supported"),
    (change("model", "vocab", {"a": 1}), "model.vocab must be a list of pieces"),
    (change("model", "vocab", 5, ["a"]), "model.vocab must be a list of pieces"),
    (change("model", "vocab", 5, ["a", "b"]), "model.vocab must be a list of pieces"),
    (change("model", "vocab", 5, ["", -1.0]), "piece must not be empty"),
    (change("model", "vocab", 6, ["▁", -1.0]), "already defined"),
    (change("model", "unk_id", None), "model.unk_id=None must be"),
    (change("model", "unk_id", 999), "model.unk_id=999 must be"),
    (change("model", "byte_fallback", True), "byte_fallback needs the pieces"),
    (change("added_tokens", [{"id": 0}]), "added_tokens must be a list of objects"),
    (change("model", "vocab", [["<pad>", 0.0], ["</s>", 0.0], ["<unk>", 0.0], *([f"p{n}", -1.0] for n in range(99))]),
     "102 pieces, the encoder's table 60 rows"),
  ],
)  # fmt: skip
def test_what_sentencepiece_could_not_do_is_refused(apply, message, pieces, tmp_path):
  content = tokenizer_json(pieces)
  apply(content)
  (tmp_path / "tokenizer.json").write_text(json.dumps(content))
  with pytest.raises(ValueError, match=message) as error:
    tokenizer.read_pieces(tmp_path, T5)
  assert str(error.value).startswith(f"{tmp_path / 'tokenizer.json'}: ")


def test_the_tokenizer_is_found_beside_the_encoder_and_in_a_pipeline(pieces, tmp_path):
  folder = tmp_path / "text_encoder_2"
  for place in (folder, tmp_path / "tokenizer", tmp_path / "tokenizer_2"):
    place.mkdir()
  with pytest.raises(ValueError, match=r"spiece.model is missing, and so is tokenizer.json"):
    tokenizer.read_pieces(folder, T5)
  (tmp_path / "tokenizer" / "spiece.model").write_bytes(b"of another encoder")
  with pytest.raises(ValueError, match="tokenizer/spiece.model: .* no SentencePiece model"):
    tokenizer.read_pieces(folder, T5)
  (tmp_path / "tokenizer_2" / "spiece.model").write_bytes(pieces.read_bytes())
  (folder / "tokenizer.json").write_text("{}")
  assert tokenizer.read_pieces(folder, T5) == pieces.read_bytes()
  (folder / "spiece.model").write_text(POINTER)
  with pytest.raises(ValueError, match=r"text_encoder_2/spiece.model is a Git LFS pointer"):
    tokenizer.read_pieces(folder, T5)
  bytes_of_byt5 = T5Config(vocab_size=384, d_model=8, d_kv=4, d_ff=8, num_layers=1, num_heads=2)
  assert tokenizer.read_pieces(folder, bytes_of_byt5) is None
