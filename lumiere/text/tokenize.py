"""Bytes as tokens, with ByT5's numbering: no vocabulary file, no unknown words.

0 padding    1 end of text    2 unknown    3 ... 258 the bytes 0 ... 255    259 ... 383 ByT5's sentinels
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Int, Int32

PAD, END = 0, 1
FIRST_BYTE = 3
VOCAB_SIZE = 384


class ByteTokenizer:
  """Texts -> their UTF-8 bytes as tokens, ended by END and padded to one length (ByT5; Xue et al., 2022)."""

  vocab_size = VOCAB_SIZE

  def __init__(self, max_length: int):
    """`max_length`: tokens of a text, the end among them."""
    if max_length < 2:
      raise ValueError(f"max_length={max_length} must be 2 or more: a byte and the end of the text")
    self.max_length = max_length

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
      encoded = np.frombuffer(text.encode("utf-8"), np.uint8)[: self.max_length - 1]
      row[: len(encoded)] = encoded.astype(np.int32) + FIRST_BYTE
      row[len(encoded)] = END
    return {"tokens": tokens, "mask": tokens != PAD}

  def decode(self, tokens: Int[np.ndarray, "l"]) -> str:
    """The text of one row of tokens, up to its end; tokens that are no byte, and broken characters, are left out."""
    encoded = bytearray()
    for token in tokens:
      if token == END:
        break
      if 0 <= token - FIRST_BYTE < 256:
        encoded.append(token - FIRST_BYTE)
    return encoded.decode("utf-8", errors="ignore")
