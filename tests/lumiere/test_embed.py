"""States of captions are brought up to date: what is there is kept, what is not is made, each caption once."""

import pathlib
import shutil

import numpy as np
import pytest
from flax import nnx

from lumiere import pretrained_text, trees, weights
from lumiere.data import embeddings, sources
from lumiere.embed import embed
from lumiere.experiment import Experiment
from lumiere.text.t5 import T5Config, T5Encoder
from lumiere.training import provenance
from tests.lumiere.experiments import micro_config, on_folder

TINY = T5Config(vocab_size=384, d_model=16, d_kv=4, d_ff=24, num_layers=1, num_heads=4)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
  """Two encoders of the same sizes with other weights."""
  root = tmp_path_factory.mktemp("encoders")
  for seed in (0, 1):
    tree = weights.split(T5Encoder(TINY, rngs=nnx.Rngs(seed)))[1]
    pretrained_text.save(root / str(seed), TINY, tree)
  return [root / "0", root / "1"]


@pytest.fixture(scope="module")
def encoders(folders):
  return [Counting(pretrained_text.TextEncoder.restore(folder, 48)) for folder in folders]


class Counting:
  """An encoder that remembers what it was asked."""

  def __init__(self, encoder):
    self.encoder, self.asked = encoder, []
    self.config, self.checksum, self.tokenizer = encoder.config, encoder.checksum, encoder.tokenizer

  def __call__(self, captions):
    self.asked += [caption for caption in captions if caption]  # the empty one fills batches up
    return self.encoder(captions)


@pytest.fixture
def videos(tmp_path):
  """Six clips with captions, two of them the same."""
  folder = tmp_path / "videos"
  folder.mkdir()
  for index in range(6):
    write(folder, f"{index}.gif")
  caption(folder, {f"{i}.gif": text for i, text in enumerate("a b c d e a".split())})
  return folder


def write(folder: pathlib.Path, name: str):
  from lumiere.data import frames

  video = np.random.default_rng(len(name)).integers(0, 255, (10, 32, 32, 3), np.uint8)
  frames.write_video(folder / name, video, 8.0)


def caption(folder: pathlib.Path, captions: dict[str, str]):
  rows = "".join(f"{name},{text}\n" for name, text in captions.items())
  (folder / "captions.csv").write_text(f"file,caption\n{rows}")


def experiment(videos, tmp_path, max_length=48) -> Experiment:
  config = micro_config("t2i", tmp_path / "data")
  config.text = dict(encoder=None, max_length=max_length, drop_rate=0.1)
  config.data.embeddings = str(tmp_path / "states")
  config.train.batch_size = 2
  return on_folder(config, videos)


def examples(run: Experiment) -> list[dict]:
  """Of both splits, with their states."""
  splits = [sources.make_source(run.data, split) for split in ("train", "validation")]
  return [source[index] for source in splits for index in range(len(source))]


def test_each_caption_is_encoded_once_and_found_by_its_text(videos, encoders, tmp_path):
  run, encoder = experiment(videos, tmp_path), encoders[0]
  encoder.asked.clear()
  assert embed(run, encoder, tmp_path / "states", batch_size=4) == (
    6,
    0,
    0,
    0,
  )  # "" and five captions
  assert sorted(encoder.asked) == list("abcde")
  found = {example["caption"].decode(): example for example in examples(run)}
  assert len(found) == 5
  for text, example in found.items():
    expected = encoder.encoder([text])
    np.testing.assert_allclose(example["text"], expected["text"][0], atol=2e-3)
    np.testing.assert_array_equal(example["text_mask"], expected["text_mask"][0])
    null = encoder.encoder([""])
    np.testing.assert_allclose(example["null_text"], null["text"][0], atol=2e-3)
    assert example["null_text_mask"].sum() == 1
  assert embed(run, encoder, tmp_path / "states") == (0, 6, 0, 0)


def test_a_mended_caption_and_an_added_video_cost_what_is_new(videos, encoders, tmp_path):
  run, encoder, out = experiment(videos, tmp_path), encoders[0], tmp_path / "states"
  embed(run, encoder, out)
  before = provenance.of_new_run(run, None)
  write(videos, "6.gif")
  caption(videos, {f"{i}.gif": t for i, t in enumerate(["a", "b", "mended", "d", "e", "a", "new"])})
  with pytest.raises(
    ValueError, match="was not made for video_folder/.* as it is now; .*embed adds"
  ):
    provenance.of_new_run(run, None)
  with pytest.raises(ValueError, match="holds no states of the caption b'(mended|new)'"):
    examples(run)
  encoder.asked.clear()
  assert embed(run, encoder, out) == (2, 5, 0, 0)
  assert sorted(encoder.asked) == ["mended", "new"]
  assert len(examples(run)) == 7
  after = provenance.of_new_run(run, None)
  assert after["text_encoder"] == before["text_encoder"] and after["data"] != before["data"]


def test_states_of_another_encoder_or_length_are_made_anew(videos, encoders, tmp_path):
  run, out = experiment(videos, tmp_path), tmp_path / "states"
  embed(run, encoders[0], out)
  first = provenance.of_new_run(run, None)["text_encoder"]
  states = sources.make_source(run.data, "train")[0]["text"]
  assert embed(run, encoders[1], out) == (6, 0, 6, 0)
  second = provenance.of_new_run(run, None)["text_encoder"]
  assert first != second == {"checksum": encoders[1].checksum, "max_length": 48}
  assert np.abs(sources.make_source(run.data, "train")[0]["text"] - states).max() > 0.1
  longer = experiment(videos, tmp_path, max_length=64)
  with pytest.raises(ValueError, match="has states of 48 tokens, config.text.max_length=64"):
    provenance.of_new_run(longer, None)


def test_a_run_that_was_stopped_goes_on_and_nobody_trains_on_half_of_it(
  videos, encoders, tmp_path, monkeypatch
):
  run, out = experiment(videos, tmp_path), tmp_path / "states"
  monkeypatch.setattr(embeddings, "ROWS", 2)
  with monkeypatch.context() as patch:
    files, save = [], embeddings.save_states

    def stopping(*args):
      if len(files) == 2:
        raise KeyboardInterrupt
      files.append(save(*args))

    patch.setattr(embeddings, "save_states", stopping)
    with pytest.raises(KeyboardInterrupt):
      embed(run, encoders[0], out)
  with pytest.raises(ValueError, match="index.npz is missing; python -m lumiere.embed writes"):
    sources.make_source(run.data, "train")
  assert embed(run, encoders[0], out) == (2, 4, 0, 0)
  assert len(sources.make_source(run.data, "train")) > 0


def test_damaged_states_are_noticed(videos, encoders, tmp_path):
  run, out = experiment(videos, tmp_path), tmp_path / "states"
  embed(run, encoders[0], out)
  path = next(out.rglob("*.npy"))
  content = bytearray(path.read_bytes())
  for place in range(200, len(content), 500):
    content[place] ^= 4
  path.write_bytes(content)
  embeddings.load.cache_clear()
  with pytest.raises(ValueError, match="is damaged; delete it, python -m lumiere.embed"):
    examples(run)
  path.unlink()
  assert embed(run, encoders[0], out).made == 6
  examples(run)
  (out / "index.npz").write_bytes(b"damaged")
  with pytest.raises(ValueError, match="index.npz is damaged"):
    sources.make_source(run.data, "train")


def test_encoders_are_told_apart_by_weights_sizes_and_tokenizer(folders, tmp_path):
  first, second = (pretrained_text.checksum_of(folder) for folder in folders)
  assert first != second and len(first) == 16
  copy = pathlib.Path(shutil.copytree(folders[0], tmp_path / "copy"))
  (copy / "README.md").write_text("what it is")
  assert pretrained_text.checksum_of(copy) == first
  (copy / "tokenizer.json").write_text("{}")
  assert pretrained_text.checksum_of(copy) != first


def test_an_encoder_that_is_damaged_is_refused(folders, tmp_path, monkeypatch):
  monkeypatch.setattr(trees, "PAUSE", 0.0)
  copy = pathlib.Path(shutil.copytree(folders[0], tmp_path / "copy"))
  for path in (copy / "weights").rglob("d/*"):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
  with pytest.raises(ValueError, match="weights cannot be read"):
    pretrained_text.TextEncoder.restore(copy, 48)
  for dtype in ("float32", "bfloat16"):  # each has sums of its own
    pretrained_text.TextEncoder.restore(folders[0], 48, dtype)


def test_another_width_is_refused(videos, encoders, tmp_path):
  run = experiment(videos, tmp_path)
  wide = Counting(encoders[0].encoder)
  wide.config = T5Config(**{**TINY.__dict__, "d_model": 32})
  with pytest.raises(ValueError, match="states of width 32; model.text_dim=16"):
    embed(run, wide, tmp_path / "states")
