"""CLIP models of transformers with random weights, in folders as they are published."""

import json
import pathlib

import torch
import transformers

from lumiere.text.clip import END, START, WORD_END

TEXTS = (
  "a red circle bounces on navy; the two circles don't bounce",
  "it's a café, déjà vu, naïve and straße",
  "numbers 12345 and signs !?#@ (brackets)",
)


def byte_letters() -> list[str]:
  """GPT-2's letters for the bytes 0 to 255: those that can be printed stand for themselves."""
  printed = [*range(33, 127), *range(161, 173), *range(174, 256)]
  rest = [byte for byte in range(256) if byte not in printed]
  letters = {byte: chr(byte) for byte in printed}
  letters |= {byte: chr(256 + index) for index, byte in enumerate(rest)}
  return [letters[byte] for byte in sorted(letters)]


def write_bpe(folder: pathlib.Path) -> int:
  """vocab.json and merges.txt with the merges that some words need; returns the number of tokens."""
  letters = byte_letters()
  vocabulary = [*letters, *(letter + WORD_END for letter in letters)]
  merges = []
  for word in " ".join(TEXTS).lower().split():
    parts = [letters[byte] for byte in word.encode()]
    parts[-1] += WORD_END
    while len(parts) > 1:
      pair = (parts[0], parts[1])
      parts[:2] = ["".join(pair)]
      if parts[0] not in vocabulary:
        vocabulary.append(parts[0])
        merges.append(" ".join(pair))
  vocabulary += [START, END]
  numbers = {token: index for index, token in enumerate(vocabulary)}
  (folder / "vocab.json").write_text(json.dumps(numbers), encoding="utf-8")
  (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *merges, ""]), encoding="utf-8")
  return len(vocabulary)


def write(folder: pathlib.Path, activation: str, seed: int) -> transformers.CLIPModel:
  """A small model with its tokenizer; returns it as transformers has it."""
  folder.mkdir(parents=True)
  count = write_bpe(folder)
  torch.manual_seed(seed)
  tower = dict(num_hidden_layers=2, num_attention_heads=2, hidden_act=activation)
  text = dict(
    vocab_size=count,
    hidden_size=16,
    intermediate_size=24,
    max_position_embeddings=77,
    bos_token_id=count - 2,
    eos_token_id=count - 1,
    pad_token_id=count - 1,
  )
  image = dict(hidden_size=20, intermediate_size=28, image_size=24, patch_size=8)
  config = transformers.CLIPConfig(
    text_config=tower | text, vision_config=tower | image, projection_dim=12
  )
  model = transformers.CLIPModel(config).eval()
  for parameter in model.parameters():
    parameter.data.normal_(0, 0.3)  # as drawn, all states are nearly the same
  model.save_pretrained(folder)
  return model
