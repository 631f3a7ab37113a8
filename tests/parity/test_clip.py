"""CLIP and its tokenizer against transformers, by way of a converted folder."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

torch = pytest.importorskip("torch", reason="make test-parity installs it")
transformers = pytest.importorskip("transformers", reason="make test-parity installs it")
pytest.importorskip("tokenizers", reason="make test-parity installs it")

from lumiere import mesh as meshes  # noqa: E402
from lumiere import pretrained_text, weights  # noqa: E402
from lumiere.evaluation.metrics import clip as metric  # noqa: E402
from lumiere.interop import convert  # noqa: E402
from lumiere.model import build_model  # noqa: E402
from lumiere.sampling.generator import Generator  # noqa: E402
from lumiere.sections import DiffusionConfig  # noqa: E402
from lumiere.text.clip import ClipEncoder  # noqa: E402
from stunet.image_unet import ImageUNetConfig  # noqa: E402
from tests.parity import clip_files  # noqa: E402

PROMPTS = (
  "",
  " ".join(["circle"] * 75),
  " ".join(["circle"] * 76),
  " ".join(["circle"] * 100),
  "A Café, DÉJÀ VU;  naïve\tstraße's don't\n",
  "emoji 😀👩‍👩‍👧 and 日本語 12345",
)


@pytest.fixture(scope="module", params=["quick_gelu", "gelu"])
def both(request, tmp_path_factory):
  """(transformers' model, the folder that it was converted to, its own folder)."""
  root = tmp_path_factory.mktemp("clip")
  theirs = clip_files.write(root / "theirs", request.param, seed=1)
  convert.convert(root / "theirs", root / "ours")
  return theirs, root / "ours", root / "theirs"


def test_tokens(both):
  _, ours, folder = both
  tokenizer = transformers.CLIPTokenizer.from_pretrained(folder)
  expected = tokenizer(
    list(PROMPTS), padding="max_length", truncation=True, max_length=77, return_tensors="np"
  )
  config = pretrained_text.load_config(ours)
  batch = pretrained_text.load_tokenizer(ours, config, 77)(PROMPTS)
  np.testing.assert_array_equal(batch["tokens"], expected["input_ids"])
  np.testing.assert_array_equal(batch["mask"], expected["attention_mask"].astype(bool))


def test_states_and_vectors(both):
  theirs, ours, _ = both
  encoder = pretrained_text.TextEncoder.restore(ours, max_length=77)
  batch = encoder.tokenizer(PROMPTS)
  tokens, mask = (torch.from_numpy(batch[name].astype(np.int64)) for name in ("tokens", "mask"))
  with torch.no_grad():
    states = theirs.text_model(input_ids=tokens, attention_mask=mask)
    vectors = theirs.text_projection(states.pooler_output)
  found = encoder(PROMPTS)
  for ours_row, row, seen in zip(np.asarray(found["text"]), states.last_hidden_state.numpy(), batch["mask"], strict=True):  # fmt: skip
    np.testing.assert_allclose(ours_row[seen], row[seen], atol=2e-5)
  model = metric.Clip.load(ours)
  unit = lambda x: x / np.linalg.norm(x, axis=-1, keepdims=True)
  np.testing.assert_allclose(model.text_vectors(PROMPTS), unit(vectors.numpy()), atol=2e-5)


def test_pictures(both):
  theirs, ours, _ = both
  pixels = np.random.default_rng(0).normal(size=(3, 24, 24, 3)).astype(np.float32)
  with torch.no_grad():
    x = torch.from_numpy(pixels.transpose(0, 3, 1, 2).copy())
    expected = theirs.visual_projection(theirs.vision_model(x).pooler_output).numpy()
  config = pretrained_text.load_config(ours)
  rebuild, *_ = weights.split(pretrained_text.abstract(config))
  params = pretrained_text.TextEncoder.restore(ours, max_length=77)._params
  found = ClipEncoder.image_vectors(rebuild(params, {}), jnp.asarray(pixels))
  expected /= np.linalg.norm(expected, axis=-1, keepdims=True)
  np.testing.assert_allclose(found, expected, atol=2e-5)


def test_preprocessing_is_that_of_transformers(both):
  """Pillow rounds to whole levels after each of its two passes: three levels of 255 is what may differ."""
  rng = np.random.default_rng(1)
  smooth = np.kron(rng.integers(0, 256, (5, 8, 3)), np.ones((12, 12, 1))).astype(np.uint8)
  processor = transformers.CLIPImageProcessor(
    size={"shortest_edge": 24}, crop_size={"height": 24, "width": 24}
  )
  expected = processor(images=[smooth], return_tensors="np")["pixel_values"][0].transpose(1, 2, 0)
  found = np.asarray(metric.prepared(jnp.asarray(smooth[None], jnp.float32), 24))[0]
  assert np.abs(found - expected).max() < 3 / 255 / min(metric.STD)


def test_a_text_transformer_alone(both, tmp_path):
  theirs, _, folder = both
  alone = transformers.CLIPTextModel(theirs.config.text_config).eval()
  getattr(alone, "text_model", alone).load_state_dict(theirs.text_model.state_dict())
  alone.save_pretrained(tmp_path / "text_encoder")
  (tmp_path / "tokenizer").mkdir()
  for name in ("vocab.json", "merges.txt"):
    (tmp_path / "tokenizer" / name).write_bytes((folder / name).read_bytes())
  convert.convert(tmp_path / "text_encoder", tmp_path / "ours")
  encoder = pretrained_text.TextEncoder.restore(tmp_path / "ours", max_length=77)
  batch = encoder.tokenizer(PROMPTS[:1])
  with torch.no_grad():
    expected = alone(input_ids=torch.from_numpy(batch["tokens"].astype(np.int64)))
  np.testing.assert_allclose(
    encoder(PROMPTS[:1])["text"][0, :2], expected.last_hidden_state[0, :2].numpy(), atol=2e-5
  )
  with pytest.raises(ValueError, match="no image transformer"):
    metric.Clip.load(tmp_path / "ours")


def test_what_karlos_decoder_reads(tmp_path):
  """The embedding of the caption and its states, as diffusers' UnCLIPPipeline takes them from the text encoder."""
  whole = clip_files.write(tmp_path / "whole", "quick_gelu", seed=2)
  config = whole.config.text_config
  config.projection_dim = config.hidden_size
  theirs = transformers.CLIPTextModelWithProjection(config).eval()
  for parameter in theirs.parameters():
    parameter.data.normal_(0, 0.3)
  theirs.save_pretrained(tmp_path / "text_encoder")
  (tmp_path / "tokenizer").mkdir()
  for name in ("vocab.json", "merges.txt"):
    (tmp_path / "whole" / name).rename(tmp_path / "tokenizer" / name)
  convert.convert(tmp_path / "text_encoder", tmp_path / "ours")
  encoder = pretrained_text.TextEncoder.restore(tmp_path / "ours", max_length=79)
  batch = encoder.tokenizer(PROMPTS)
  with torch.no_grad():
    expected = theirs(input_ids=torch.from_numpy(batch["tokens"].astype(np.int64)))
  found = encoder(PROMPTS)
  text, mask = np.asarray(found["text"]), np.asarray(found["text_mask"])
  assert not text[:, 0].any() and not mask[:, 0].any() and mask[:, 1].all()
  np.testing.assert_allclose(text[:, 1], expected.text_embeds.numpy(), atol=2e-5)
  np.testing.assert_array_equal(mask[:, 2:], batch["mask"])
  np.testing.assert_allclose(text[:, 2:], expected.last_hidden_state.numpy(), atol=2e-5)

  model = ImageUNetConfig(
    channels=(32, 32), num_res_blocks=1, attention_levels=(1,), text_dim=16, cross_attention_dim=24,
    text_pool="clip", image_tokens=2, head_dim=16,
  )  # fmt: skip
  settings = dict(sampler="ddim", num_steps=2, guidance_scale=4.0)
  experiment = convert.describe(model, DiffusionConfig(), settings, 16, None, 79)
  one_device = pretrained_text.TextEncoder.restore(tmp_path / "ours", 79, mesh=meshes.one_device())
  rebuild, params, frozen = weights.split(build_model(experiment, nnx.Rngs(0)))
  params = jax.tree.map(lambda x: x + 0.1, params)  # as drawn, it predicts 0
  generator = Generator(experiment, 0, rebuild, params, frozen, text_encoder=one_device)
  keys = jnp.repeat(jax.random.split(jax.random.key(0), 1), 2)
  pictures = generator.sample(
    generator.encode(["a red circle", "numbers 12345"]), (16, 16, 3), keys
  )
  assert jnp.abs(pictures[0] - pictures[1]).max() > 1e-3
