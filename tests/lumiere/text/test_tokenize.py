import numpy as np
import pytest

from configs import t2i_release
from lumiere.data.moving_shapes.endless import EndlessConfig, EndlessShapes
from lumiere.experiment import Experiment
from lumiere.text.tokenize import (
  END,
  PAD,
  VOCAB_SIZE,
  ByteTokenizer,
  SentencePieceTokenizer,
  cut_off,
)
from tests.lumiere.interop.published import train_pieces


def test_numbering_is_byt5s():
  out = ByteTokenizer(8)(["hi", "é", ""])
  np.testing.assert_array_equal(
    out["tokens"],
    [
      [107, 108, 1, 0, 0, 0, 0, 0],
      [0xC3 + 3, 0xA9 + 3, 1, 0, 0, 0, 0, 0],
      [1, 0, 0, 0, 0, 0, 0, 0],
    ],
  )
  np.testing.assert_array_equal(out["mask"].sum(1), [3, 3, 1])
  assert out["tokens"].dtype == np.int32 and out["mask"].dtype == bool


def test_texts_come_back():
  texts = ["a red circle", "ein größerer Kreis", "圆形向左移动", "🟥", "line\nbreak\x00"]
  tokenizer = ByteTokenizer(64)
  assert [tokenizer.decode(row) for row in tokenizer(texts)["tokens"]] == texts


def test_words_that_have_no_number_are_named():
  tokenizer = ByteTokenizer(16, ("a", "red", "circle"))
  assert tokenizer.unknown("A red Circle, slowly: größer 3") == ["slowly", "größer"]
  assert ByteTokenizer(16).unknown("any word") == []


def test_every_byte_fits_the_vocabulary():
  tokens = ByteTokenizer(4000)(["".join(map(chr, range(0x500)))])["tokens"]
  assert 0 <= tokens.min() and tokens.max() < VOCAB_SIZE


def test_long_texts_are_cut_and_still_end():
  tokenizer = ByteTokenizer(6)
  out = tokenizer(["abcdef", "abcde", "abcd", "abcdé"])
  assert [tokenizer.decode(row) for row in out["tokens"]] == ["abcde", "abcde", "abcd", "abcd"]
  np.testing.assert_array_equal((out["tokens"] == 1).sum(1), 1)
  np.testing.assert_array_equal(out["tokens"][:, -1], [1, 1, 0, 1])


def test_decoding_ignores_what_is_no_byte():
  assert ByteTokenizer(4).decode(np.array([2, 68, 300, 0, 69, 1, 70])) == "AB"


@pytest.mark.parametrize(
  ("make", "words"),
  [(lambda: ByteTokenizer(1), "max_length=1"), (lambda: ByteTokenizer(9)("one"), "'one'")],
)
def test_bad_arguments_are_named(make, words):
  with pytest.raises(ValueError, match=words):
    make()


def test_pieces_are_ended_cut_and_padded(tmp_path):
  train_pieces(tmp_path / "spiece.model")
  tokenizer = SentencePieceTokenizer(tmp_path / "spiece.model", max_length=6)
  batch = tokenizer(["a", "one blue square bounces up and down", ""])
  lengths = batch["mask"].sum(axis=1)
  assert 2 <= lengths[0] < 6 and lengths[1] == 6 and lengths[2] == 1
  for row, length in zip(batch["tokens"], lengths, strict=True):
    assert row[length - 1] == END and (row[length:] == PAD).all()
  with pytest.raises(ValueError, match="max_length=1"):
    SentencePieceTokenizer(tmp_path / "spiece.model", 1)


def test_a_file_that_is_no_sentencepiece_model_is_refused(tmp_path):
  (tmp_path / "spiece.model").write_bytes(b"nothing")
  with pytest.raises(ValueError, match="no SentencePiece model"):
    SentencePieceTokenizer(tmp_path / "spiece.model", 8)


def test_words_are_one_token_each_and_all_else_is_spelled():
  tokenizer = ByteTokenizer(12, ("red", "circle", "on"))
  out = tokenizer(["Red circle, on", "a redcircle"])
  comma, space, a = ord(",") + 3, ord(" ") + 3, ord("a") + 3
  np.testing.assert_array_equal(out["tokens"][0], [259, 260, comma, 261, 1, *[0] * 7])
  np.testing.assert_array_equal(out["tokens"][1][:3], [a, space, ord("r") + 3])
  assert tokenizer.decode(out["tokens"][0]) == "red circle, on"
  assert tokenizer.decode(out["tokens"][1]) == "a redcircle"


def test_the_words_of_the_release_spell_every_caption_in_few_tokens():
  tokenizer = Experiment.from_config(t2i_release.get_config()).text.make_tokenizer()
  source = EndlessShapes(EndlessConfig(max_things=2), "train", fps=8.0, sizes=[(8, 8)])
  for index in range(500):
    caption = source.draw(index)[1]
    [row] = tokenizer([caption])["tokens"]
    spelled = [token for token in row if 3 <= token < 259]
    assert spelled in ([], [ord(",") + 3]), caption
    assert tokenizer.decode(row) == caption


@pytest.mark.parametrize(
  ("words", "message"),
  (
    (("red", "red"), "2 are given; at most 125 different ones"),
    (("Red",), "'Red' must be of the letters a to z"),
    (("up and",), "'up and' must be"),
  ),
)
def test_words_that_cannot_be_tokens_are_refused(words, message):
  with pytest.raises(ValueError, match=message):
    ByteTokenizer(8, words)


@pytest.mark.parametrize(
  ("text", "rest"),
  [
    ("", ""),
    ("seven b", ""),
    ("eight by", "y"),
    ("a red circle", "ircle"),
    ("äöüß", "ß"),
    ("äöü7", ""),
  ],
)
def test_what_is_cut_off_of_bytes(text, rest):
  """Eight tokens: seven bytes and the end. A character of two bytes is read whole or not at all."""
  tokenizer = ByteTokenizer(8)
  assert cut_off(tokenizer, text) == rest
  assert tokenizer.count(text) == len(text.encode()) + 1


def test_what_is_cut_off_of_pieces_is_what_makes_no_difference(tmp_path):
  train_pieces(tmp_path / "spiece.model")
  tokenizer = SentencePieceTokenizer(tmp_path / "spiece.model", max_length=6)
  text = "one blue square bounces up and down"
  rest = cut_off(tokenizer, text)
  kept = text.removesuffix(rest)
  assert rest and kept and tokenizer.count(kept) <= 6 < tokenizer.count(text)
  assert cut_off(tokenizer, kept) == ""
