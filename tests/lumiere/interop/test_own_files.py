"""Networks in the files of their authors' own code, and Karlo's in either form: they compute what references compute."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import yaml
from flax import nnx
from safetensors.numpy import save_file

from lumiere import checkpoints, weights
from lumiere.interop import architectures, convert
from lumiere.model import unconditional
from lumiere.sections import SamplingConfig
from stunet.image_unet import ImageUNet
from stunet.inflation import inflate
from stunet.stunet import TemporalConfig
from tests.lumiere.interop.published import (
  GOLDEN,
  IF_PARAMS,
  KARLO,
  KARLO_DECODER,
  KARLO_TEXT,
  draw,
)

SHAPES = json.loads((GOLDEN / "shapes.json").read_text())
UNCLIP = dict(
  _class_name="UnCLIPScheduler",
  num_train_timesteps=1000,
  variance_type="learned_range",
  clip_sample=True,
  prediction_type="epsilon",
)


@pytest.fixture(scope="module")
def golden():
  with np.load(GOLDEN / "unets.npz") as file:
    return dict(file)


@pytest.fixture
def tiny_karlo(monkeypatch):
  published = architectures.PUBLISHED["karlo_decoder"]
  tiny = dataclasses.replace(published, model=KARLO, resolution=16, max_length=7)
  monkeypatch.setitem(architectures.PUBLISHED, "karlo_decoder", tiny)


def load(workdir):
  trained = checkpoints.load_trained(workdir, ("t2i", "ssr_image"))
  return trained.rebuild(trained.params, trained.frozen).network, trained.experiment


def relative_error(ours, theirs) -> float:
  return float(np.abs(np.moveaxis(ours, -1, -3) - theirs).max() / np.abs(theirs).max())


def last_axis(x):
  return jnp.asarray(np.moveaxis(x, -3, -1))


def write_if(folder, params=IF_PARAMS):
  folder.mkdir()
  (folder / "config.yml").write_text(yaml.safe_dump({"params": params}))
  save_file(draw(SHAPES["if_own"]), folder / "model.safetensors")


def write_karlo(folder):
  """Parts of a diffusers folder, without the prior and the super-resolution."""
  for name, config, shapes in (
    ("decoder", KARLO_DECODER | {"_class_name": "UNet2DConditionModel"}, SHAPES["karlo"]),
    ("text_proj", KARLO_TEXT, SHAPES["karlo_text"]),
  ):
    (folder / name).mkdir(parents=True)
    (folder / name / "config.json").write_text(json.dumps(config))
    save_file(draw(shapes), folder / name / "diffusion_pytorch_model.safetensors")
  (folder / "decoder_scheduler").mkdir()
  (folder / "decoder_scheduler" / "scheduler_config.json").write_text(json.dumps(UNCLIP))


def test_deepfloyds_own_folder_predicts_what_the_reference_predicts(golden, tmp_path):
  write_if(tmp_path / "own")
  convert.convert(tmp_path / "own", tmp_path / "run")
  network, experiment = load(tmp_path / "run")
  x = last_axis(golden["if_own/x"])
  output = jax.jit(lambda *args: network(*args))(
    x[..., :3], jnp.asarray(golden["timesteps"]), x[..., 3:], jnp.asarray(golden["levels"]),
    jnp.asarray(golden["if_own/text"]),
  )  # fmt: skip
  assert relative_error(output, golden["if_own/output"]) < 1e-4
  assert experiment.stage == "ssr_image" and experiment.super_resolution.aligned
  assert experiment.sampling.guidance_scale == 4.0 and experiment.sampling.variance == "learned"
  assert experiment.sampling.threshold == dict(name="dynamic", percentile=0.95, maximum=1.0)


@pytest.mark.parametrize(
  ("change", "message"),
  [
    (dict(num_classes=10), "num_classes=10 is not supported"),
    (dict(disable_self_attentions="32"), "disable_self_attentions='32'"),
    (dict(activation="mish"), "mish"),
    (dict(encoder_dim=None), "encoder_dim is missing; it must be a whole number"),
    (dict(model_channels="32"), "model_channels='32' must be a whole number"),
    (dict(channel_mult="1,a"), "channel_mult='1,a' must be whole numbers of 1 or more, joined by"),
    (dict(attention_resolutions="0"), "attention_resolutions='0' must be whole numbers"),
    (dict(attention_resolutions=[2.5]), "attention_resolutions=.* must be a text or a list"),
  ],
)
def test_a_config_of_deepfloyds_that_we_lack_is_refused(change, message, tmp_path):
  write_if(tmp_path / "own", IF_PARAMS | change)
  with pytest.raises(ValueError, match=rf"(?s)config.yml.*{message}"):
    convert.convert(tmp_path / "own", tmp_path / "run")


@pytest.mark.parametrize("form", ("diffusers", "own"))
def test_karlos_decoder_predicts_what_the_reference_predicts(form, golden, tiny_karlo, tmp_path):
  if form == "diffusers":
    write_karlo(tmp_path / "karlo")
    fitted = convert.convert(tmp_path / "karlo", tmp_path / "run")
  else:
    save_file(draw(SHAPES["karlo_own"]), tmp_path / "karlo.safetensors")
    fitted = convert.convert(tmp_path / "karlo.safetensors", tmp_path / "run", "karlo_decoder")
  assert not fitted.unused
  network, experiment = load(tmp_path / "run")
  output = jax.jit(lambda *args: network(*args))(
    last_axis(golden["karlo/x"]), jnp.asarray(golden["timesteps"]),
    jnp.asarray(golden["karlo/text"]), jnp.asarray(golden["karlo/mask"]),
  )  # fmt: skip
  expected = golden["karlo/output" if form == "diffusers" else "karlo_own/output"]
  assert relative_error(output, expected) < 1e-4
  assert experiment.model == KARLO
  assert dict(experiment.diffusion.schedule)["spacing"] == "linspace"
  sampling = experiment.sampling
  assert (sampling.guidance_scale, sampling.variance) == (8.0, "learned")
  assert dict(sampling.threshold) == {"name": "static"}


@pytest.mark.parametrize("content", ["", "[1, 2]", "params: 3", "params: [", "a: &a [*a]", "\0"])
def test_a_config_yml_of_another_kind_is_refused(content, tmp_path):
  write_if(tmp_path / "own")
  (tmp_path / "own" / "config.yml").write_text(content)
  with pytest.raises(ValueError, match=r"own/config.yml: ") as error:
    convert.convert(tmp_path / "own", tmp_path / "run")
  assert "\n" not in str(error.value) and not (tmp_path / "run").exists()


def test_numbers_in_a_config_yml_may_be_joined_by_commas():
  lists = dict(channel_mult=[1, 2], num_res_blocks=[1, 2], attention_resolutions=[2])
  texts = dict(channel_mult="1, 2", num_res_blocks="1,2", attention_resolutions="16")
  ours = [
    architectures.from_if(IF_PARAMS | dict(disable_self_attentions=True) | params)
    for params in (lists, texts)
  ]
  assert ours[0] == ours[1] and ours[0].num_res_blocks == (1, 2)


def test_karlos_decoder_inflates(golden):
  """The states that are attended to are more than those that come in."""
  image = ImageUNet(KARLO, rngs=weights.Seeds(0))
  temporal = TemporalConfig(factors=(2,), head_dim=16)
  names = ("karlo/x", "timesteps", "karlo/text", "karlo/mask")
  x, *rest = (jnp.asarray(golden[name])[:1] for name in names)
  x = jnp.repeat(jnp.moveaxis(x, 1, -1), 4, axis=0) * jnp.arange(1.0, 5)[:, None, None, None]
  alone = jax.jit(lambda x, *rest: image(x, *rest))(
    x[::2], *(jnp.repeat(r, 2, axis=0) for r in rest)
  )
  with pytest.raises(ValueError, match="temporal.conditioned"):
    inflate(image, dataclasses.replace(temporal, conditioned=True), rngs=weights.Seeds(1))
  video = inflate(image, temporal, rngs=weights.Seeds(1))
  output = jax.jit(lambda *args: video(*args))(x[None], *rest)
  np.testing.assert_allclose(output[0, ::2], alone, atol=1e-5)


def test_without_a_caption_the_learned_image_takes_its_place(golden):
  states, mask = jnp.asarray(golden["karlo/text"]), jnp.asarray(golden["karlo/mask"])
  null_mask = jnp.zeros_like(mask).at[:, 1:3].set(True)
  given = {"text": states, "text_mask": mask, "null_text": -states, "null_text_mask": null_mask}
  network = ImageUNet(KARLO, rngs=weights.Seeds(0))
  network.clip.no_image[...] = jnp.arange(24.0)
  condition = lambda text, mask: network.clip(text, mask)
  dropped = unconditional(given)
  vector, attended, attended_mask = condition(dropped["text"], dropped["text_mask"])
  image = jnp.broadcast_to(network.clip.no_image[...], states[:, 0].shape)
  expected = network.clip.image_vector(image) + network.clip.caption_vector(-states[:, 1])
  np.testing.assert_allclose(vector, expected, rtol=1e-5, atol=1e-5)
  assert attended.shape == (2, 8, 40)
  np.testing.assert_array_equal(attended_mask.sum(axis=1), [4, 4])  # three of the image, a token


def test_a_network_of_class_labels_is_refused(tmp_path):
  save_file({"label_emb.weight": np.zeros((1000, 8), np.float32)}, tmp_path / "labels.safetensors")
  with pytest.raises(ValueError, match="label_emb.weight is the mark of .* class labels"):
    convert.convert(tmp_path / "labels.safetensors", tmp_path / "run", "guided_diffusion_256")


@pytest.mark.parametrize(
  ("name", "count"),
  [
    ("glide_base", 308_728_902),
    ("glide_upsampler", 322_059_462),
    ("guided_diffusion_256", 552_814_086),
    # 885.4M of the U-Net, as diffusers counts it, and the conditioning before it.
    ("karlo_decoder", 885_439_686 + 7_878_400),
  ],
)
def test_published_networks_have_this_many_weights(name, count):
  model = architectures.PUBLISHED[name].model
  abstract = nnx.eval_shape(lambda: ImageUNet(model, rngs=weights.Seeds(0)))
  assert weights.count(weights.split(abstract)[1]) == count


def test_learned_variance_needs_the_channels_that_say_it(tmp_path):
  write_if(tmp_path / "own")
  convert.convert(tmp_path / "own", tmp_path / "run")
  experiment = checkpoints.load_experiment(tmp_path / "run")[0]
  with pytest.raises(ValueError, match="sampling.variance='learned'"):
    dataclasses.replace(experiment, model=dataclasses.replace(experiment.model, out_channels=3))
  with pytest.raises(ValueError, match="variance='largest'"):
    SamplingConfig(variance="largest")
