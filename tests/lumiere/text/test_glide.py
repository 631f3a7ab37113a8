"""GLIDE's text encoder against the same equations in numpy, and its place in a GLIDE file."""

import dataclasses
import gzip
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from etils import epath
from flax import nnx
from safetensors.numpy import save_file
from scipy.special import erf, softmax

from lumiere import pretrained_text
from lumiere.interop import architectures, convert
from lumiere.text import glide
from lumiere.text.glide import GlideTextConfig
from tests.lumiere.interop.published import GLIDE, GOLDEN, draw
from tests.lumiere.test_files import POINTER

SMALL = GlideTextConfig(vocab_size=20, d_model=24, num_layers=2, num_heads=3, length=7)
TEXT_SHAPES = {
  "token_embedding.weight": [20, 24],
  "positional_embedding": [7, 24],
  "padding_embedding": [7, 24],
  "final_ln.weight": [24],
  "final_ln.bias": [24],
  **{
    f"transformer.resblocks.{i}.{name}.{leaf}": shape[: 2 if leaf == "weight" else 1]
    for i in range(2)
    for name, shape in {
      "ln_1": [24], "ln_2": [24], "attn.c_qkv": [72, 24], "attn.c_proj": [24, 24],
      "mlp.c_fc": [96, 24], "mlp.c_proj": [24, 96],
    }.items()
    for leaf in ("weight", "bias")
  },
}  # fmt: skip


def reference(state, tokens, mask, heads=3):
  """The transformer by the names in its file, in float64."""
  state = {name: np.asarray(x, np.float64) for name, x in state.items()}
  dense = lambda name, x: x @ state[f"{name}.weight"].T + state[f"{name}.bias"]

  def norm(name, x):
    x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5)
    return x * state[f"{name}.weight"] + state[f"{name}.bias"]

  x = state["token_embedding.weight"][tokens] + state["positional_embedding"]
  x = np.where(mask[..., None], x, state["padding_embedding"])
  b, length, width = x.shape
  for i in range(2):
    name = f"transformer.resblocks.{i}"
    qkv = dense(f"{name}.attn.c_qkv", norm(f"{name}.ln_1", x)).reshape(b, length, heads, 3, -1)
    q, k, v = np.moveaxis(qkv, 3, 0)
    weights = softmax(np.einsum("blhd,bmhd->bhlm", q, k) / np.sqrt(width / heads), axis=-1)
    x = x + dense(f"{name}.attn.c_proj", np.einsum("bhlm,bmhd->blhd", weights, v).reshape(x.shape))
    h = dense(f"{name}.mlp.c_fc", norm(f"{name}.ln_2", x))
    x = x + dense(f"{name}.mlp.c_proj", h * 0.5 * (1 + erf(h / np.sqrt(2))))
  return norm("final_ln", x)


@pytest.fixture
def folder(tmp_path, monkeypatch):
  """A GLIDE file, made small, with its BPE beside it."""
  published = dataclasses.replace(
    architectures.PUBLISHED["glide_base"], model=GLIDE, text=SMALL, resolution=16
  )
  monkeypatch.setitem(architectures.PUBLISHED, "glide_base", published)
  shapes = json.loads((GOLDEN / "shapes.json").read_text())["glide"]
  save_file(draw(shapes | TEXT_SHAPES), tmp_path / "base.safetensors")
  vocabulary = {c: i for i, c in enumerate("abcdefghijklmnopqr")} | {"ab": 18, "<|endoftext|>": 19}
  for name, content in zip(glide.FILES, (json.dumps(vocabulary), "#version\na b\n"), strict=True):
    (tmp_path / name).write_bytes(gzip.compress(content.encode()))
  return tmp_path


def test_a_glide_file_gives_two_networks(folder, monkeypatch):
  monkeypatch.setattr(pretrained_text, "load_tokenizer", lambda *_: None)
  fitted = convert.convert(folder / "base.safetensors", folder / "run", "glide_base")
  assert not fitted.unused
  assert {path.name for path in (folder / "run" / "text_encoder").iterdir()} >= set(glide.FILES)
  encoder = pretrained_text.TextEncoder.restore(folder / "run" / "text_encoder", SMALL.length)
  rng = np.random.default_rng(0)
  tokens = rng.integers(0, 20, (3, 7)).astype(np.int32)
  mask = np.arange(7)[None] < np.array([[7], [3], [0]])
  monkeypatch.setattr(encoder, "tokenizer", lambda _: {"tokens": tokens, "mask": mask})
  states = np.asarray(encoder(["whatever"])["text"])
  expected = reference(draw(TEXT_SHAPES), tokens, mask)
  assert np.abs(states - expected).max() / np.abs(expected).max() < 1e-5


def test_without_its_pieces_the_text_encoder_is_reported_as_unused(folder):
  (folder / glide.FILES[0]).unlink()
  fitted = convert.convert(folder / "base.safetensors", folder / "run", "glide_base")
  assert fitted.unused.keys() == TEXT_SHAPES.keys()
  assert "encoder.json.gz" in fitted.unused["positional_embedding"]
  assert not (folder / "run" / "text_encoder").exists()


def test_another_number_of_places_is_refused(tmp_path):
  with pytest.raises(ValueError, match="max_length=8 must be 7"):
    pretrained_text.load_tokenizer(epath.Path(tmp_path), SMALL, 8)


def test_padding_takes_part():
  model = glide.GlideTextEncoder(SMALL, rngs=nnx.Rngs(0))
  tokens = jnp.ones((1, 7), jnp.int32)
  run = jax.jit(lambda mask: model(tokens, mask))
  some, all_ = (run(jnp.arange(7)[None] < n) for n in (3, 7))
  assert float(jnp.abs(some - all_)[0, 0].max()) > 1e-4


@pytest.mark.parametrize(
  ("index", "content", "message"),
  [
    (0, POINTER.encode(), "is a Git LFS pointer"),
    (0, b"no gzip", "Not a gzipped file"),
    (1, gzip.compress(b"#\na b\n", mtime=0)[:-9], "ended before"),
    (0, gzip.compress(b"[1, 2", mtime=0), "line 1"),
    (0, gzip.compress(b"[1, 2]", mtime=0), "must number its tokens from 0 on"),
    (0, gzip.compress(b'{"a": 0, "b": 0}', mtime=0), "must number its tokens from 0 on"),
    (0, gzip.compress(b'{"a": 0, "b": []}', mtime=0), "unhashable"),
    (1, gzip.compress(b"#\na b\nb z\n", mtime=0), "'b z' is no pair of tokens of encoder.json.gz"),
    (1, gzip.compress(b"#\n", mtime=0), "names no pairs"),
    (1, gzip.compress(b"#\n\xff b\n", mtime=0), "decode"),
  ],
)
def test_damaged_tokens_are_refused_by_the_files_name(index, content, message, folder):
  assert len(glide.read_bpe(folder)[0]) == 20
  (folder / glide.FILES[index]).write_bytes(content)
  with pytest.raises(ValueError, match=message) as error:
    glide.read_bpe(folder)
  assert str(error.value).startswith(str(folder / glide.FILES[index]))
