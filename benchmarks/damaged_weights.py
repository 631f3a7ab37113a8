"""Small weights in all forms in which they are published, and ways to damage them, for fuzz_weights.py.

A way of damage takes a `Source` and a random stream, changes its files and says what it did; it sets `must_fail` if no
conversion of them can be right.
"""

import dataclasses
import gzip
import json
import pathlib
import random

import numpy as np
from safetensors.numpy import save_file

from tests.lumiere.interop import published

POINTER = (
  "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935c943f9e0ff69d2\nsize 9\n"
)
NO_JSON = ["[]", "3", "null", '"text"', "", "{", '{"a": NaN}', "[" * 20_000, "<html>Log in", "\udcff\udcfe"]  # fmt: skip
VALUES = [None, 0, -1, 1, 3, 10**6, 10**30, 0.5, float("inf"), "", "text", True, [], [1], ["a"], {}, {"a": 1}, [[1]]]  # fmt: skip


@dataclasses.dataclass
class Source:
  """Weights as they are published, in a folder of their own.

  Attributes:
    folder: where everything is.
    weights: where the weights are.
    form: the name of their file, or the form of several.
    tensors: what is in it.
    variant: which weights are to be converted.
    architecture: of a bare file.
    must_fail: whether no conversion can be right.
  """

  folder: pathlib.Path
  weights: pathlib.Path
  form: str
  tensors: dict[str, np.ndarray]
  variant: str | None = None
  architecture: str | None = None
  must_fail: bool = False

  def write(self, content=None):
    """Writes the tensors; or `content`, in a file of torch's."""
    if self.form in ("bin", "safetensors"):
      published.write_parts(self.weights, self.tensors, self.form, self.variant or "")
    elif self.form.endswith(".safetensors"):
      save_file(self.tensors, self.weights / self.form)
    else:
      published.write_torch(self.weights / self.form, content or self.tensors)

  def files(self, *suffixes: str) -> list[pathlib.Path]:
    """All files, or those with these suffixes."""
    found = sorted(path for path in self.folder.rglob("*") if path.is_file())
    return [path for path in found if not suffixes or path.suffix in suffixes]


def shapes(name: str) -> dict:
  """Names and shapes of a small network's tensors."""
  return json.loads((published.GOLDEN / "shapes.json").read_text())[name]


def unet(folder: pathlib.Path, form: str, variant: str | None = None) -> Source:
  """A folder of diffusers."""
  published.write_unet(folder, published.IF_I, shapes("if_i"))
  (folder / "unet" / "diffusion_pytorch_model.safetensors").unlink()
  return Source(folder, folder / "unet", form, published.draw(shapes("if_i")), variant)


def deepfloyd(folder: pathlib.Path) -> Source:
  """A folder of DeepFloyd's own code."""
  folder.mkdir()
  (folder / "config.yml").write_text(json.dumps({"params": published.IF_PARAMS}))  # JSON is YAML
  return Source(folder, folder, "pytorch_model.bin", published.draw(shapes("if_own")))


def t5(folder: pathlib.Path, form: str, variant: str | None = None, in_json: bool = True) -> Source:
  """A text encoder with a tokenizer.json, or with a SentencePiece model."""
  folder.mkdir()
  config, tensors = published.t5_tensors()
  (folder / "config.json").write_text(json.dumps(config))
  published.train_pieces(folder / "spiece.model")
  if in_json:
    content = published.tokenizer_json(folder / "spiece.model")
    (folder / "tokenizer.json").write_text(json.dumps(content))
    (folder / "spiece.model").unlink()
  return Source(folder, folder, form, tensors, variant)


def glide(folder: pathlib.Path) -> Source:
  """A bare file with a network and its text encoder, and the BPE beside it."""
  from lumiere.text.glide import FILES
  from tests.lumiere.text.test_glide import TEXT_SHAPES

  folder.mkdir()
  vocabulary = {c: i for i, c in enumerate("abcdefghijklmnopqr")} | {"ab": 18, "<|endoftext|>": 19}
  for name, content in zip(FILES, (json.dumps(vocabulary), "#version\na b\n"), strict=True):
    (folder / name).write_bytes(gzip.compress(content.encode()))
  tensors = published.draw(shapes("glide") | TEXT_SHAPES)
  return Source(folder, folder, "base.pt", tensors, architecture="glide_base")


SOURCES = {
  "unet, safetensors": lambda at: unet(at, "diffusion_pytorch_model.safetensors"),
  "unet, torch, non_ema": lambda at: unet(at, "diffusion_pytorch_model.non_ema.bin", "non_ema"),
  "deepfloyd, torch": deepfloyd,
  "t5, torch in parts": lambda at: t5(at, "bin", in_json=False),
  "t5, fp16 in parts": lambda at: t5(at, "safetensors", "fp16"),
  "t5, safetensors": lambda at: t5(at, "model.safetensors"),
  "glide, torch": glide,
}


def nothing(source: Source, rng: random.Random) -> str:
  """Leaves it as it is."""
  return ""


def truncated(source, rng):
  """Cuts a file somewhere."""
  path = rng.choice(source.files())
  size = rng.randrange(path.stat().st_size)
  path.write_bytes(path.read_bytes()[:size])
  return f"{path.name} at {size}"


def _change(source, rng, count, within=None):
  path = rng.choice(source.files())
  content = bytearray(path.read_bytes())
  for _ in range(count):
    content[rng.randrange(min(within or len(content), len(content)))] ^= rng.choice(
      [1, 16, 128, 255]
    )
  path.write_bytes(content)
  return path.name


def one_bit(source, rng):
  """Changes a byte."""
  return _change(source, rng, 1)


def bytes_anywhere(source, rng):
  """Changes many bytes."""
  return _change(source, rng, rng.randrange(2, 50))


def bytes_at_the_start(source, rng):
  """Changes bytes of a header."""
  return _change(source, rng, rng.randrange(1, 5), 200)


def zeros(source, rng):
  """Clears a part of a file, as a download with a hole has it."""
  path = rng.choice(source.files())
  content = bytearray(path.read_bytes())
  start = rng.randrange(len(content))
  size = len(content[start : start + 4096])
  content[start : start + size] = bytes(size)
  path.write_bytes(content)
  return path.name


def empty(source, rng):
  """Clears a file."""
  path = rng.choice(source.files())
  path.write_bytes(b"")
  source.must_fail = True
  return path.name


def pointer(source, rng):
  """Puts a Git LFS pointer in the place of a file."""
  path = rng.choice(source.files())
  path.write_text(POINTER)
  source.must_fail = True
  return path.name


def file_missing(source, rng):
  """Takes a file away."""
  path = rng.choice(source.files())
  path.unlink()
  source.must_fail = path.suffix != ".gz"  # without its BPE the text encoder is left out, and said
  return path.name


def files_swapped(source, rng):
  """Exchanges two files."""
  one, other = rng.sample(source.files(), 2)
  contents = one.read_bytes(), other.read_bytes()
  other.write_bytes(contents[0])
  one.write_bytes(contents[1])
  source.must_fail = True
  return f"{one.name}, {other.name}"


def no_json(source, rng):
  """Puts another kind of text in the place of JSON."""
  path = rng.choice(source.files(".json", ".yml") or source.files(".gz"))
  text = rng.choice(NO_JSON).encode(errors="surrogateescape")
  path.write_bytes(gzip.compress(text) if path.suffix == ".gz" else text)
  source.must_fail = True
  return f"{path.name} {text[:20]}"


def _field(source, rng, change):
  paths = source.files(".json", ".yml")
  if not paths:
    return bytes_anywhere(source, rng)
  path = rng.choice(paths)
  content = json.loads(path.read_text())
  place, keys = content, []
  while isinstance(place, dict | list) and place:
    keys.append(rng.choice(list(place) if isinstance(place, dict) else range(len(place))))
    parent, place = place, place[keys[-1]]
    if rng.random() < 0.4:
      break
  what = change(parent, keys[-1])
  path.write_text(json.dumps(content))
  return f"{path.name} {keys} {what!r}"


def field_changed(source, rng):
  """Puts another value in a field of JSON."""
  value = rng.choice(VALUES)
  return _field(source, rng, lambda parent, key: parent.__setitem__(key, value) or value)


def field_missing(source, rng):
  """Takes a field away."""
  return _field(source, rng, lambda parent, key: parent.pop(key) and None)


def dtype(source, rng):
  """Writes a tensor in numbers of another kind."""
  name, kind = rng.choice(sorted(source.tensors)), rng.choice(["int8", "int64", "bool", "float64"])
  source.tensors[name] = source.tensors[name].astype(kind)
  source.must_fail = kind != "float64"
  source.write()
  return f"{name} {kind}"


def not_finite(source, rng):
  """Puts a number into a tensor that is none."""
  name, value = rng.choice(sorted(source.tensors)), rng.choice([np.nan, np.inf, -np.inf])
  source.tensors[name].reshape(-1)[rng.randrange(source.tensors[name].size)] = value
  source.must_fail = True
  source.write()
  return f"{name} {value}"


def names_swapped(source, rng):
  """Exchanges the names of two tensors; if they are of one shape, nobody can know."""
  one, other = rng.sample(sorted(source.tensors), 2)
  tensors = source.tensors
  tensors[one], tensors[other] = tensors[other], tensors[one]
  source.must_fail = tensors[one].shape != tensors[other].shape
  source.write()
  return f"{one}, {other}"


def shape(source, rng):
  """Takes a row from a tensor."""
  name = rng.choice(sorted(source.tensors))
  source.tensors[name] = source.tensors[name][:-1]
  source.must_fail = True
  source.write()
  return name


def tensors_changed(source, rng):
  """One tensor too few, or too many."""
  name = rng.choice(sorted(source.tensors))
  taken = source.tensors.pop(name)
  source.must_fail = True
  if rng.random() < 0.5:
    source.tensors |= {name: taken, f"{name}_2": taken}
  source.write()
  return f"{name} in {len(source.tensors)}"


def torch_content(source, rng):
  """Something else in the place of a state dict."""
  if source.form in ("bin", "safetensors") or source.form.endswith(".safetensors"):
    return truncated(source, rng)
  tensors = {name: published.torch_tensor(x) for name, x in source.tensors.items()}
  name = rng.choice(sorted(tensors))
  small, path = published.Storage(np.ones(2, np.float32)), source.weights / source.form
  contents = {
    "a list": [1, 2],
    "a tensor": tensors[name],
    "no tensors": {"epoch": 3},
    "other names": {f"other.{key}": x for key, x in tensors.items()},
    "a sparse tensor": tensors | {name: published.Call("sparse_tensor", 0, ())},
    "a quantised tensor": tensors | {name: published.Call("qtensor", small, 0, (2,), (1,), ())},
    "a tensor outside its storage": tensors | {name: published.torch_tensor(source.tensors[name], small)},
    "several state dicts": {"model": tensors, "ema": tensors},
    "one of a training": {"epoch": 3, "state_dict": {"model": tensors}},
    "parameters": {key: published.Call("parameter", x, True, {}) for key, x in tensors.items()},
  }  # fmt: skip
  what = rng.choice(sorted(contents))
  source.must_fail = what not in ("one of a training", "parameters")
  published.write_torch(path, contents[what])
  return what


KINDS = (
  truncated, one_bit, bytes_anywhere, bytes_at_the_start, zeros, empty, pointer, file_missing, files_swapped, no_json,
  field_changed, field_missing, dtype, not_finite, names_swapped, shape, tensors_changed, torch_content, nothing,
)  # fmt: skip
