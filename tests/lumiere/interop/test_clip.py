"""A CLIP folder as transformers writes it becomes an encoder of ours."""

import json

import numpy as np
import pytest
from flax import traverse_util
from safetensors.numpy import save_file

from lumiere import pretrained_text, weights
from lumiere.interop import convert, names, text
from lumiere.mesh import make_mesh
from lumiere.sections import MeshConfig
from lumiere.text import clip
from lumiere.text.clip import ClipConfig
from tests.lumiere.text.test_clip import TINY

VOCABULARY = [*"abcdefg", *(f"{letter}</w>" for letter in "abcdefg"), "ab", "abc</w>", "ad</w>", clip.START, clip.END]  # fmt: skip


def config_json(config: ClipConfig) -> dict:
  tower = lambda width, d_ff, layers, heads: dict(
    hidden_size=width,
    intermediate_size=d_ff,
    num_hidden_layers=layers,
    num_attention_heads=heads,
    hidden_act="gelu",
  )
  one = tower(config.d_model, config.d_ff, config.num_layers, config.num_heads)
  two = tower(config.image_d_model, config.image_d_ff, config.image_num_layers, config.image_num_heads)  # fmt: skip
  return dict(
    model_type="clip",
    projection_dim=config.projection_dim,
    text_config=one | dict(vocab_size=config.vocab_size, max_position_embeddings=config.length),
    vision_config=two | dict(image_size=config.image_size, patch_size=config.patch_size),
  )


@pytest.fixture
def published(tmp_path):
  """(config, the folder, the weights in it by our paths)."""
  config = ClipConfig(**TINY, activation="gelu", image_activation="gelu")
  folder = tmp_path / "clip"
  folder.mkdir()
  rng, ours, theirs = np.random.default_rng(0), {}, {}
  _, abstract, _ = weights.split(pretrained_text.abstract(config))
  for path, leaf in traverse_util.flatten_dict(abstract, sep="/").items():
    ours[path] = rng.normal(size=leaf.shape).astype(np.float32)
    source = names.source_of(path, leaf.shape, text.clip(config))
    theirs[source.key] = np.ascontiguousarray(source.store(ours[path]))
  theirs["logit_scale"] = np.array(2.6, np.float32)
  save_file(theirs, folder / "model.safetensors")
  (folder / "config.json").write_text(json.dumps(config_json(config)))
  numbers = {token: index for index, token in enumerate(VOCABULARY)}
  (folder / "vocab.json").write_text(json.dumps(numbers))
  (folder / "merges.txt").write_text("#version: 0.2\na b\nab c</w>\na d</w>\n")
  return config, folder, ours


def test_weights_sizes_and_tokens_arrive(published, tmp_path):
  config, folder, ours = published
  fitted = convert.convert(folder, tmp_path / "ours")
  assert fitted.unused == {"logit_scale": "of training"}
  assert pretrained_text.load_config(tmp_path / "ours") == config
  assert (tmp_path / "ours" / "merges.txt").exists()
  mesh = make_mesh(MeshConfig())
  found = pretrained_text.load_weights(tmp_path / "ours", config, np.dtype("float32"), mesh)
  for path, leaf in traverse_util.flatten_dict(found, sep="/").items():
    np.testing.assert_array_equal(leaf, ours[path])


def test_pieces_are_merged_in_their_order(published, tmp_path):
  pytest.importorskip("tokenizers", reason="the extra bpe installs it")
  _, folder, _ = published
  tokenizer = clip.ClipTokenizer(folder, 6)
  batch = tokenizer(["ABC  ad", "", "a b c d e f g"])
  token = lambda *texts: [VOCABULARY.index(t) for t in texts]
  assert batch["tokens"][0].tolist() == token(clip.START, "abc</w>", "ad</w>", *[clip.END] * 3)
  assert batch["mask"].sum(axis=1).tolist() == [4, 2, 6]
  assert batch["tokens"][2, -1] == token(clip.END)[0] and tokenizer.count("a b c") == 5


@pytest.mark.parametrize("token", ["a</w>", {"content": "a</w>", "lstrip": False}], ids=type)
def test_captions_are_filled_up_as_the_folder_says(token, published, tmp_path):
  """That of Stable Diffusion 2 says "!": with the end in its place, as in 1, its pictures would be others."""
  pytest.importorskip("tokenizers", reason="the extra bpe installs it")
  _, folder, _ = published
  (folder / "special_tokens_map.json").write_text(json.dumps({"pad_token": token}))
  convert.convert(folder, tmp_path / "ours")
  batch = clip.ClipTokenizer(tmp_path / "ours", 6)(["a abc"])
  numbers = [VOCABULARY.index(t) for t in (clip.START, "a</w>", "abc</w>", clip.END, "a</w>", "a</w>")]  # fmt: skip
  assert batch["tokens"][0].tolist() == numbers
  assert batch["mask"][0].tolist() == [True] * 4 + [False] * 2
  (folder / "special_tokens_map.json").write_text(json.dumps({"pad_token": "?"}))
  with pytest.raises(ValueError, match="pad_token='.' is none of the tokens in vocab.json"):
    clip.ClipTokenizer(folder, 6)


def test_what_is_missing_or_wrong_is_named(published, tmp_path):
  _, folder, _ = published
  (folder / "merges.txt").write_text("#version: 0.2\na z\n")
  with pytest.raises(ValueError, match="merges.txt: 'a z' is no pair of tokens"):
    convert.convert(folder, tmp_path / "ours")
  (folder / "merges.txt").unlink()
  with pytest.raises(ValueError, match="vocab.json is missing, or merges.txt"):
    convert.convert(folder, tmp_path / "ours")
  content = json.loads((folder / "config.json").read_text())
  content["text_config"]["hidden_act"] = "relu"
  (folder / "config.json").write_text(json.dumps(content))
  with pytest.raises(ValueError, match="activation='relu'"):
    convert.convert(folder, tmp_path / "ours")
