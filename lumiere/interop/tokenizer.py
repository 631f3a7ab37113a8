"""T5's tokenizer in a converted folder: its `spiece.model`, or one made of a `tokenizer.json`.

A tokenizer.json of T5 is a SentencePiece model of the kind "unigram", written down for another library:

    model           the pieces, with their scores, in the order of their ids
    normalizer      SentencePiece's own table of characters ("precompiled_charsmap"), the same bytes
    pre_tokenizer   runs of spaces are one, a space is part of the piece after it ("Metaspace")
    added_tokens    which pieces stand for something else than text

so SentencePiece reads captions in both cases. What it could not do in the same way is refused.
"""

import base64
import binascii
import json
import math
import pathlib
import re
from collections.abc import Mapping
from typing import Any

from lumiere import files
from lumiere.text.t5 import T5Config
from lumiere.text.tokenize import END, PAD, VOCAB_SIZE, SentencePieceTokenizer

PIECES, JSON = "spiece.model", "tokenizer.json"
_BYTE = re.compile(r"<0x[0-9A-F]{2}>")
_STRIP = {"type": "Strip", "strip_left": False, "strip_right": True}


def read_pieces(folder: pathlib.Path, config: T5Config) -> bytes | None:
  """The SentencePiece model for the encoder in `folder`; None if its tokens are bytes (ByT5).

  It lies beside the encoder, or in the folder beside it that pipelines have: `tokenizer` by `text_encoder`.

  Raises:
    ValueError: if it is not there, is damaged, is no T5's or has more pieces than the encoder knows.
  """
  if config.vocab_size == VOCAB_SIZE:
    return None
  beside = {folder.name.replace("text_encoder", "tokenizer"): None, "tokenizer": None}
  places = [folder, *(folder.parent / name for name in beside if name != folder.name)]
  # A SentencePiece model is taken before a tokenizer.json wherever it is: it needs no reading between the lines.
  found = [place / name for name in (PIECES, JSON) for place in places if (place / name).is_file()]
  if not found:
    raise ValueError(
      f"{folder / PIECES} is missing, and so is {JSON}: it cuts captions into tokens, and is published with the weights"
    )
  path = found[0]
  if path.name == JSON:
    content = files.read_json(path)
    with files.about(path):
      model = sentencepiece_model(content)
  else:
    model = files.read_bytes(path)
  with files.about(path):
    SentencePieceTokenizer(model, 2).check_fits(config.vocab_size)
  return model


def sentencepiece_model(content: Mapping[str, Any]) -> bytes:
  """A SentencePiece model that gives the same ids as a tokenizer.json of T5.

  Raises:
    ValueError: says what the tokenizer has that SentencePiece, or T5, has not.
  """
  from sentencepiece import sentencepiece_model_pb2 as proto

  model, added = _object(content, "model"), content.get("added_tokens") or []
  if model.get("type", "Unigram") != "Unigram":
    raise ValueError(f"model.type={model['type']!r} is not supported: T5's is 'Unigram'")
  vocabulary, unknown = model.get("vocab"), model.get("unk_id")
  if not isinstance(vocabulary, list) or not all(map(_is_piece, vocabulary)):
    raise ValueError("model.vocab must be a list of pieces with their scores")
  if type(unknown) is not int or not END < unknown < len(vocabulary):
    raise ValueError(f"model.unk_id={unknown!r} must be the place of <unk> among the pieces")
  if not isinstance(added, list) or not all(
    isinstance(token, dict) and isinstance(token.get("content"), str) for token in added
  ):
    raise ValueError("added_tokens must be a list of objects with their content")
  pieces = [piece for piece, _ in vocabulary]
  special = {token["content"]: bool(token.get("special")) for token in added}
  is_bytes = any(map(_BYTE.fullmatch, pieces))
  if model.get("byte_fallback") and not is_bytes:
    raise ValueError("model.byte_fallback needs the pieces <0x00> to <0xFF>")

  out = proto.ModelProto()
  kinds = proto.ModelProto.SentencePiece.Type
  for index, (piece, score) in enumerate(vocabulary):
    kind = kinds.NORMAL
    if index == unknown:
      kind = kinds.UNKNOWN
    elif index in (PAD, END) or special.get(piece):
      kind = kinds.CONTROL
    elif piece in special:
      kind = kinds.USER_DEFINED
    elif _BYTE.fullmatch(piece):
      kind = kinds.BYTE
    out.pieces.add(piece=piece, score=score, type=kind)
  trainer = out.trainer_spec
  trainer.model_type, trainer.vocab_size = trainer.UNIGRAM, len(vocabulary)
  trainer.byte_fallback = is_bytes
  trainer.pad_id, trainer.eos_id, trainer.unk_id, trainer.bos_id = PAD, END, unknown, -1
  trainer.pad_piece, trainer.eos_piece, trainer.unk_piece = (pieces[n] for n in (PAD, END, unknown))
  normalizer = out.normalizer_spec
  normalizer.name = "precompiled"
  normalizer.precompiled_charsmap = _characters(content)
  normalizer.add_dummy_prefix = normalizer.remove_extra_whitespaces = True
  normalizer.escape_whitespaces = True
  return out.SerializeToString()


def _characters(content: Mapping[str, Any]) -> bytes:
  """The table of characters; raises ValueError for steps before the pieces that are not SentencePiece's."""
  steps = _steps(content, "normalizer", "normalizers")
  splits = _steps(content, "pre_tokenizer", "pretokenizers")
  kinds = [step.get("type") for step in steps]
  if kinds[:1] != ["Precompiled"] or not steps[0].get("precompiled_charsmap"):
    raise ValueError("normalizer has no precompiled_charsmap, which T5's begins with")
  # Spaces: either cut away, or one for several and none at the end.
  by_normalizer = steps[1:2] == [_STRIP] and len(steps) == 3 and _joins_spaces(steps[2])
  if len(steps) > 1 and not by_normalizer:
    raise ValueError(f"normalizer has {_short(steps[1:])}, which T5's has not")
  cut = splits[:1] == [{"type": "WhitespaceSplit"}]
  space = splits[1:] if cut else splits
  before = ("always",) if cut else ("always", "first")  # "first" is the first of what was cut
  if len(space) != 1 or not _is_metaspace(space[0], before) or not (cut or by_normalizer):
    raise ValueError(
      f"pre_tokenizer is {_short(splits)}; T5's is WhitespaceSplit and Metaspace, with a space before the text"
    )
  try:
    return base64.b64decode(steps[0]["precompiled_charsmap"], validate=True)
  except (TypeError, binascii.Error) as error:
    raise ValueError("normalizer.precompiled_charsmap is damaged") from error


def _steps(content: Mapping[str, Any], name: str, inside: str) -> list[dict]:
  step = _object(content, name)
  steps = step.get(inside) if step.get("type") == "Sequence" else [step]
  if not isinstance(steps, list) or not all(isinstance(each, dict) for each in steps):
    raise ValueError(f"{name}.{inside} must be a list of objects")
  return steps


def _object(content: Mapping[str, Any], name: str) -> dict:
  if not isinstance(content.get(name), dict):
    raise ValueError(f"{name} is {_short(content.get(name))}; T5's is an object, {{...}}")
  return content[name]


def _joins_spaces(step: Mapping[str, Any]) -> bool:
  return step.get("pattern") == {"Regex": " {2,}"} and step.get("content") in (" ", "▁")


def _is_metaspace(step: Mapping[str, Any], before: tuple[str, ...]) -> bool:
  # "add_prefix_space" in files of older libraries
  scheme = step.get("prepend_scheme", "always" if step.get("add_prefix_space") else "never")
  return (step.get("type"), step.get("replacement")) == ("Metaspace", "▁") and scheme in before


def _is_piece(entry: Any) -> bool:
  return (
    isinstance(entry, list)
    and len(entry) == 2
    and isinstance(entry[0], str)
    and type(entry[1]) in (int, float)
    and math.isfinite(entry[1])
  )


def _short(content: Any) -> str:
  text = json.dumps(content, ensure_ascii=False)
  return text if len(text) < 100 else f"{text[:100]}..."
