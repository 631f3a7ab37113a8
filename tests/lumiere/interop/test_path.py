"""From public files to a video: convert, embed, train, sample."""

import json
import shutil

import numpy as np
import pytest
from safetensors.numpy import save_file

from configs import stunet_if
from lumiere import Cascade, checkpoints, pretrained_text
from lumiere.embed import embed
from lumiere.interop import convert
from lumiere.pretrained_text import TextEncoder
from lumiere.training import loop
from tests.lumiere.interop.published import GOLDEN, IF_I, write_unet


@pytest.fixture(scope="module")
def root(tmp_path_factory):
  """A converted image model in `image`, a converted text encoder in `text`."""
  root = tmp_path_factory.mktemp("public")
  shapes = json.loads((GOLDEN / "shapes.json").read_text())["if_i"]
  write_unet(root / "if", IF_I, shapes)
  convert.convert(root / "if", root / "image")
  # Bytes as tokens, states as wide as the image model takes.
  with np.load("tests/lumiere/text/golden/t5_v1_1.npz") as file:
    tensors = {k.split("/", 1)[1]: file[k] for k in file.files if k.startswith("weights/")}
    sizes = {k.split("/")[1]: int(file[k]) for k in file.files if k.startswith("config/")}
  table = np.random.default_rng(0).standard_normal((384, sizes["d_model"])).astype(np.float32)
  (root / "t5").mkdir()
  save_file(tensors | {"shared.weight": table}, root / "t5" / "model.safetensors")
  config = sizes | dict(vocab_size=384, model_type="t5", feed_forward_proj="gated-gelu")
  (root / "t5" / "config.json").write_text(json.dumps(config))
  convert.convert(root / "t5", root / "text")
  return root


@pytest.fixture
def config(root, video_files):
  """The experiment of configs/stunet_if.py on a few videos; the network is the checkpoint's."""
  config = stunet_if.get_config()
  for section in ("model", "diffusion"):
    del config[section]
  config.text.max_length = 24
  config.init_from = str(root / "image")
  config.temporal.update(factors=(2,), head_dim=16)
  config.data.update(
    folder=str(video_files), data_dir=str(root / "data"), embeddings=str(root / "embeddings"),
    num_frames=4, resolution=16, fps=8.0, num_workers=0,
  )  # fmt: skip
  config.data.video_folder = dict(num_frames=4, resolution=16, validation_share=0.3)
  config.train.update(num_steps=1, batch_size=8, eval_every=0, sample_every=0)
  return config


def test_from_files_to_a_video(root, config):
  experiment = checkpoints.read_experiment(config)
  assert experiment.model.channels == (32, 64) and experiment.diffusion.prediction == "eps"
  encoder = TextEncoder.restore(root / "text", experiment.text.max_length)
  out = root / "embeddings"
  assert embed(experiment, encoder, out, batch_size=4) == (6, 0, 0, 5)  # of five files, and ""
  assert embed(experiment, encoder, out, batch_size=4) == (0, 6, 0, 0)

  loop.train(experiment, root / "run")
  with pytest.raises(ValueError, match="text_encoder is missing"):
    Cascade.restore(root / "run").generate(["a red circle"])
  cascade = Cascade.restore(root / "run", text_encoder=root / "text")
  settings = experiment.sampling.__class__(sampler="ddim", num_steps=2, guidance_scale=3.0)
  videos = cascade.generate(["a red circle", "a blue square"], sampling=settings)
  assert videos.shape == (2, 4, 16, 16, 3)
  assert (videos[0] != videos[1]).any()
  # Another tokenizer, another encoder.
  other = shutil.copytree(root / "text", root / "other_text")
  (other / "tokenizer.json").write_text("{}")
  trained, given = (pretrained_text.checksum_of(folder) for folder in (root / "text", other))
  with pytest.raises(ValueError, match=f"other_text is not the one .*{given}.*{trained}"):
    Cascade.restore(root / "run", text_encoder=other)


def test_states_are_those_of_each_examples_caption(root, config):
  from lumiere.data import sources

  experiment = checkpoints.read_experiment(config)
  encoder = TextEncoder.restore(root / "text", experiment.text.max_length)
  embed(experiment, encoder, root / "embeddings")
  source = sources.make_source(experiment.data, "train")
  for index in (0, len(source) - 1):
    example = source[index]
    expected = encoder([example["caption"].decode()])
    mask = np.asarray(expected["text_mask"][0])
    np.testing.assert_array_equal(example["text_mask"], mask)
    np.testing.assert_allclose(example["text"][mask], expected["text"][0][mask], atol=2e-3)
  null = encoder([""])
  assert example["null_text_mask"].sum() == 1  # the end of the text
  np.testing.assert_allclose(example["null_text"][0], null["text"][0][0], atol=2e-3)


def test_training_without_the_states_says_what_is_missing(root, config):
  config.data.embeddings = ""
  with pytest.raises(ValueError, match=r"config\.data\.embeddings is empty"):
    loop.train(checkpoints.read_experiment(config), root / "none")


def test_an_encoder_of_another_width_is_refused(root, config):
  experiment = checkpoints.read_experiment(config)
  encoder = TextEncoder.restore(root / "text", 24)
  encoder.config = encoder.config.__class__(**encoder.config.__dict__ | {"d_model": 32})
  with pytest.raises(ValueError, match="width 32"):
    embed(experiment, encoder, root / "other")
