"""Texts as numbers: bytes with ByT5's numbering (no vocabulary file, no unknown words), or the pieces of a T5.

0 padding    1 end of text    2 unknown    3 ... 258 the bytes 0 ... 255    259 ... 383 ByT5's sentinels, or words
"""

import bisect
import re
from collections.abc import Sequence

import numpy as np
from etils import epath
from jaxtyping import Bool, Int, Int32

from lumiere import files

PAD, END = 0, 1
FIRST_BYTE = 3
FIRST_WORD = FIRST_BYTE + 256
VOCAB_SIZE = 384
# A word with the space before it, or any other character.
PIECE = re.compile(r" ?[A-Za-z]+|.", re.DOTALL)


class ByteTokenizer:
  """Texts -> their UTF-8 bytes as tokens, ended by END and padded to one length (ByT5; Xue et al., 2022).

  A small world has few words. Those that are given are one token each, with the space before them and in any case, which
  makes texts several times shorter; what is made of other words is spelled in bytes.
  """

  vocab_size = VOCAB_SIZE

  def __init__(self, max_length: int, words: Sequence[str] = ()):
    """`max_length`: tokens of a text, the end among them; `words`: those that are one token."""
    if max_length < 2:
      raise ValueError(f"max_length={max_length} must be 2 or more: a byte and the end of the text")
    check_words("words", words)
    self.max_length, self.words = max_length, tuple(words)
    self._numbers = {word: FIRST_WORD + index for index, word in enumerate(words)}

  def __call__(
    self, texts: Sequence[str]
  ) -> dict[str, Int32[np.ndarray, "b l"] | Bool[np.ndarray, "b l"]]:
    """Encodes texts; what does not fit is cut off, the end of the text is always there.

    Returns:
      "tokens" [b, max_length], and "mask" [b, max_length], which is True on tokens and False on padding.
    """
    if isinstance(texts, str):
      raise ValueError(f"texts={texts!r} must be a sequence of strings, not one string")
    tokens = np.full((len(texts), self.max_length), PAD, np.int32)
    for row, text in zip(tokens, texts, strict=True):
      encoded = self._encode(text)[: self.max_length - 1]
      row[: len(encoded)] = encoded
      row[len(encoded)] = END
    return {"tokens": tokens, "mask": tokens != PAD}

  def _encode(self, text: str) -> list[int]:
    tokens = []
    for piece in PIECE.findall(text) if self.words else [text]:
      number = self._numbers.get(piece.removeprefix(" ").lower())
      spelled = [FIRST_BYTE + byte for byte in piece.encode("utf-8")]
      tokens += spelled if number is None else [number]
    return tokens

  def unknown(self, text: str) -> list[str]:
    """Words of a text that are not among `words`, if there are any of these; they are spelled."""
    found = re.findall(r"[^\W\d_]+", text) if self.words else []
    return [word for word in found if word.lower() not in self._numbers]

  def count(self, text: str) -> int:
    """Tokens of a whole text, its end among them."""
    return len(self._encode(text)) + 1

  def decode(self, tokens: Int[np.ndarray, " l"]) -> str:
    """The text of one row of tokens, up to its end; tokens that are no byte, and broken characters, are left out.

    Words come back in lower case, with a space before all but the first.
    """
    encoded = bytearray()
    for token in tokens:
      if token == END:
        break
      if 0 <= token - FIRST_BYTE < 256:
        encoded.append(token - FIRST_BYTE)
      elif 0 <= token - FIRST_WORD < len(self.words):
        encoded += (" " if encoded else "").encode() + self.words[token - FIRST_WORD].encode()
    return encoded.decode("utf-8", errors="ignore")


def check_words(field: str, words: Sequence[str]):
  """Raises ValueError, naming the field, unless each can be one token of its own."""
  if len(words) > VOCAB_SIZE - FIRST_WORD or len(set(words)) < len(words):
    raise ValueError(
      f"{field}: {len(words)} are given; at most {VOCAB_SIZE - FIRST_WORD} different ones have a number"
    )
  if bad := [word for word in words if not re.fullmatch("[a-z]+", word)]:
    raise ValueError(f"{field}: {bad[0]!r} must be of the letters a to z, in lower case")


class SentencePieceTokenizer:
  """Texts -> the pieces of a SentencePiece model as T5 takes them: ended by END, padded to one length."""

  def __init__(self, model: epath.PathLike | bytes, max_length: int):
    """`model`: a `spiece.model` file, or what is in one; `max_length`: tokens of a text, the end among them.

    Raises:
      ValueError: if it is no SentencePiece model, or one whose padding and end are not T5's.
    """
    import sentencepiece  # bytes do not need it

    if max_length < 2:
      raise ValueError(
        f"max_length={max_length} must be 2 or more: a piece and the end of the text"
      )
    self.max_length = max_length
    self._name = "it" if isinstance(model, bytes) else str(model)
    content = model if isinstance(model, bytes) else files.read_bytes(model)
    self._pieces = sentencepiece.SentencePieceProcessor()
    try:
      self._pieces.load_from_serialized_proto(content)
    except RuntimeError as error:
      reason = str(error).removeprefix("INTERNAL: ").splitlines()[0]
      raise ValueError(f"{self._name} is no SentencePiece model or is damaged: {reason}") from error
    if (self._pieces.pad_id(), self._pieces.eos_id()) != (PAD, END):
      raise ValueError(
        f"{self._name} has padding {self._pieces.pad_id()} and end {self._pieces.eos_id()}; T5's are {PAD} and {END}"
      )

  @property
  def vocab_size(self) -> int:
    """Number of pieces."""
    return self._pieces.vocab_size()

  def count(self, text: str) -> int:
    """Tokens of a whole text, its end among them."""
    return len(self._pieces.encode(text)) + 1

  def check_fits(self, rows: int):
    """Raises ValueError if a piece has no row in an encoder's table of `rows` tokens."""
    if self.vocab_size > rows:
      raise ValueError(
        f"{self._name} has {self.vocab_size} pieces, the encoder's table {rows} rows: it is another encoder's"
      )

  def __call__(
    self, texts: Sequence[str]
  ) -> dict[str, Int32[np.ndarray, "b l"] | Bool[np.ndarray, "b l"]]:
    """Encodes texts; see `ByteTokenizer`."""
    if isinstance(texts, str):
      raise ValueError(f"texts={texts!r} must be a sequence of strings, not one string")
    tokens = np.full((len(texts), self.max_length), PAD, np.int32)
    mask = np.zeros(tokens.shape, bool)
    for row, seen, pieces in zip(tokens, mask, self._pieces.encode(list(texts)), strict=True):
      pieces = [*pieces[: self.max_length - 1], END]
      row[: len(pieces)], seen[: len(pieces)] = pieces, True
    return {"tokens": tokens, "mask": mask}


def cut_off(tokenizer, text: str) -> str:
  """The end of a text that a tokenizer leaves out because it has no room for it; empty if all of it fits."""
  if tokenizer.count(text) <= tokenizer.max_length:
    return ""
  ends = range(len(text) + 1)
  if getattr(tokenizer, "words", ()):  # half a word has more tokens than all of it
    ends = [0, *(piece.end() for piece in PIECE.finditer(text))]
  fits = bisect.bisect_right(ends, tokenizer.max_length, key=lambda n: tokenizer.count(text[:n]))
  return text[ends[fits - 1] :]
