"""Converted weights compute what the independent implementations in golden/ computed; what does not fit is refused."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import traverse_util
from safetensors.numpy import load_file, save_file

from diffusion.guidance import classifier_free
from diffusion.samplers import denoise_step
from lumiere import checkpoints, weights
from lumiere import mesh as meshes
from lumiere.interop import architectures, convert
from lumiere.model import abstract_model, unconditional
from lumiere.pretrained_text import TextEncoder
from lumiere.sections import DiffusionConfig, SamplingConfig
from lumiere.training.stages import Stage
from stunet.stunet import TemporalConfig
from tests.lumiere.interop.published import (
  GLIDE,
  GOLDEN,
  IF_I,
  IF_II,
  SCHEDULER,
  draw,
  train_pieces,
  write_unet,
)

SHAPES = json.loads((GOLDEN / "shapes.json").read_text())
WIDTHS = {"M": (192, 384, 576, 768), "L": (320, 640, 960, 1280), "XL": (704, 1408, 2112, 2816)}


@pytest.fixture(scope="module")
def golden():
  with np.load(GOLDEN / "unets.npz") as file:
    return dict(file)


@pytest.fixture(scope="module")
def imported(tmp_path_factory):
  """Workdirs of the converted networks."""
  root = tmp_path_factory.mktemp("imported")
  write_unet(root / "if_i", IF_I, SHAPES["if_i"])
  write_unet(root / "if_ii", IF_II, SHAPES["if_ii"], SCHEDULER | {"sample_max_value": 1.0})
  save_file(draw(SHAPES["glide"]), root / "glide.safetensors")
  for name in ("if_i", "if_ii"):
    convert.convert(root / name, root / f"{name}_run")
  with pytest.MonkeyPatch.context() as patch:
    patch.setitem(architectures.PUBLISHED, "glide_base", tiny_glide())
    convert.convert(root / "glide.safetensors", root / "glide_run", "glide_base")
  return root


def tiny_glide() -> architectures.Published:
  return dataclasses.replace(architectures.PUBLISHED["glide_base"], model=GLIDE, resolution=16)


def load(workdir):
  """(network, its trained description)."""
  trained = checkpoints.load_trained(workdir, ("t2i", "ssr_image"))
  experiment = dataclasses.replace(trained.experiment, dtype="float32")
  return trained.rebuild(trained.params, trained.frozen), experiment


def relative_error(ours, theirs) -> float:
  return float(np.abs(np.asarray(ours) - theirs).max() / np.abs(theirs).max())


def last_axis(x):
  return jnp.asarray(np.moveaxis(x, -3, -1))


@pytest.mark.parametrize("name", ("if_i", "glide"))
def test_an_imported_image_network_predicts_what_the_original_predicts(name, golden, imported):
  model, experiment = load(imported / f"{name}_run")
  output = jax.jit(lambda *args: model.network(*args))(
    last_axis(golden[f"{name}/x"]),
    jnp.asarray(golden["timesteps"]),
    jnp.asarray(golden[f"{name}/text"]),
    jnp.zeros((2, 5), bool),  # these networks attend to padding
  )
  assert relative_error(np.moveaxis(output, -1, -3), golden[f"{name}/output"]) < 1e-4
  assert experiment.diffusion.prediction == "eps"


def test_an_imported_super_resolution_network_predicts_what_the_original_predicts(golden, imported):
  model, experiment = load(imported / "if_ii_run")
  x = last_axis(golden["if_ii/x"])
  output = jax.jit(lambda *args: model.network(*args))(
    x[..., :3],
    jnp.asarray(golden["timesteps"]),
    x[..., 3:],
    jnp.asarray(golden["levels"]),
    jnp.asarray(golden["if_ii/text"]),
  )
  assert relative_error(np.moveaxis(output, -1, -3), golden["if_ii/output"]) < 1e-4
  assert experiment.stage == "ssr_image" and experiment.super_resolution.aligned
  assert experiment.sampling.threshold == dict(name="dynamic", percentile=0.95, maximum=1.0)
  assert experiment.sampling.variance == "learned"


def test_a_whole_trajectory_is_that_of_diffusers(golden, imported):
  model, experiment = load(imported / "if_i_run")
  schedule = experiment.diffusion.make_schedule()
  sampling = dataclasses.replace(experiment.sampling, num_steps=10)
  assert (sampling.sampler, sampling.guidance_scale) == ("ddpm", 7.0)
  mask = jnp.ones((2, 5), bool)
  conditioning = {
    "text": jnp.asarray(golden["trajectory/text"]),
    "text_mask": mask,
    "null_text": jnp.asarray(golden["trajectory/null"]),
    "null_text_mask": mask,
  }
  sampler = sampling.make_sampler()
  table = sampler.table(schedule.sampling_log_snrs(10))
  denoiser = model.denoiser(schedule, variance=sampling.variance == "learned")
  denoiser = classifier_free(denoiser, unconditional, 3.0, 0.0)  # as make_goldens
  noises = np.moveaxis(golden["trajectory/noises"], -3, -1)
  states = np.moveaxis(golden["trajectory/states"], -3, -1)

  step = jax.jit(lambda *given: update(sampler, denoiser, *given, conditioning, sampling=sampling))
  state = sampler.initialize(jnp.asarray(noises[0]))
  for index in range(10):
    row = {name: column[index] for name, column in table.items()}
    state = step(state, row, noises[index + 1])
    assert relative_error(state.z, states[index + 1]) < 1e-4, index


def test_the_inflated_network_draws_what_the_imported_one_draws(imported):
  _, image = load(imported / "if_i_run")
  experiment = dataclasses.replace(
    image,
    stage="stunet",
    sampling=SamplingConfig(),  # the learned variance is the image stage's
    temporal=TemporalConfig(factors=(2,), head_dim=16),
    data=dataclasses.replace(image.data, num_frames=4),
    init_from=str(imported / "if_i_run"),
  )
  check_inflation(experiment, every=2)


def check_inflation(experiment, every):
  from lumiere.training import start

  stage = Stage(experiment)
  mesh = meshes.one_device()
  warm_start = start.load_warm_start(stage, mesh)
  rebuild, params, frozen = start.initial_weights(stage, warm_start, mesh)
  image = warm_start.rebuild(warm_start.params, warm_start.frozen)
  x = jax.random.normal(jax.random.key(0), (1, 4, 16, 16, 3))
  text = jax.random.normal(jax.random.key(1), (1, 5, 24))
  t = jnp.full((1,), 300.0)
  if experiment.is_super_resolution:
    rest = lambda n: (jnp.repeat(t, n), x[0] if n > 1 else x, jnp.repeat(t, n), jnp.repeat(text, n, axis=0))  # fmt: skip
  else:
    rest = lambda n: (jnp.repeat(t, n), jnp.repeat(text, n, axis=0))
  video = jax.jit(lambda *args: rebuild(params, frozen).network(*args))(x, *rest(1))
  frames = jax.jit(lambda *args: image.network(*args))(x[0], *rest(4))
  assert relative_error(video[0, ::every], np.asarray(frames[::every])) < 1e-5


def test_the_inflated_super_resolution_network_does_so_on_every_frame(imported):
  _, image = load(imported / "if_ii_run")
  experiment = dataclasses.replace(
    image,
    stage="ssr",
    sampling=SamplingConfig(),
    temporal=TemporalConfig(factors=(1,), attention_depth=0, head_dim=16),
    data=dataclasses.replace(image.data, num_frames=4),
    init_from=str(imported / "if_ii_run"),
  )
  check_inflation(experiment, every=1)


def test_another_schedule_than_the_imported_one_is_refused(imported):
  from lumiere.training import start

  _, image = load(imported / "if_i_run")
  other = dataclasses.replace(
    image,
    init_from=str(imported / "if_i_run"),
    diffusion=DiffusionConfig(schedule={"name": "linear"}, prediction="eps"),
  )
  with pytest.raises(ValueError, match="config.diffusion differs"):
    start.load_warm_start(Stage(other), meshes.one_device())


def test_export_returns_the_same_bits(imported, tmp_path):
  convert.export(imported / "if_i_run", tmp_path / "back")
  before = load_file(imported / "if_i" / "unet" / "diffusion_pytorch_model.safetensors")
  after = load_file(tmp_path / "back" / "unet" / "diffusion_pytorch_model.safetensors")
  assert before.keys() == after.keys()
  for name, tensor in before.items():
    np.testing.assert_array_equal(after[name], tensor, err_msg=name)
  convert.convert(tmp_path / "back", tmp_path / "again")
  assert load(tmp_path / "again")[1].model == load(imported / "if_i_run")[1].model


def test_several_files_with_an_index_are_one(imported, tmp_path):
  write_unet(tmp_path / "split", IF_I, SHAPES["if_i"])
  unet = tmp_path / "split" / "unet"
  tensors = load_file(unet / "diffusion_pytorch_model.safetensors")
  (unet / "diffusion_pytorch_model.safetensors").unlink()
  weight_map = {name: f"model-{index % 2}.safetensors" for index, name in enumerate(tensors)}
  for part in set(weight_map.values()):
    save_file({n: x for n, x in tensors.items() if weight_map[n] == part}, unet / part)
  (unet / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
  convert.convert(tmp_path / "split", tmp_path / "run")
  same = jax.tree.map(
    lambda a, b: bool((a == b).all()),
    *(checkpoints.load_trained(w, ("t2i",)).params for w in (tmp_path / "run", imported / "if_i_run")),
  )  # fmt: skip
  assert all(jax.tree.leaves(same))


def test_half_precision_weights_are_widened(tmp_path, imported):
  import ml_dtypes

  write_unet(tmp_path / "half", IF_I, SHAPES["if_i"])
  path = tmp_path / "half" / "unet" / "diffusion_pytorch_model.safetensors"
  halves = {name: x.astype(ml_dtypes.bfloat16) for name, x in load_file(path).items()}
  save_file(halves, path)
  convert.convert(tmp_path / "half", tmp_path / "run")
  params = checkpoints.load_trained(tmp_path / "run", ("t2i",)).params
  kernel = params["network"]["conv_in"]["kernel"]
  assert kernel.dtype == jnp.float32
  expected = halves["conv_in.weight"].astype(np.float32).transpose(2, 3, 1, 0)
  np.testing.assert_array_equal(kernel, expected)


@pytest.mark.parametrize(
  ("change", "message"),
  [
    (lambda t: t.pop("mid_block.attentions.0.to_q.weight"), "mid_block.attentions.0.to_q.weight is missing"),
    (lambda t: t.update({"conv_in.weight": t["conv_in.weight"][:16]}), r"conv_in.weight has shape \[16, 3, 3, 3\]"),
    (lambda t: t.update({"adapter.weight": np.zeros(3)}), r"adapter.weight \[3\] has no place"),
  ],
)  # fmt: skip
def test_a_file_that_does_not_fit_is_refused_with_its_tensor(change, message, tmp_path):
  write_unet(tmp_path / "bad", IF_I, SHAPES["if_i"])
  path = tmp_path / "bad" / "unet" / "diffusion_pytorch_model.safetensors"
  tensors = load_file(path)
  change(tensors)
  save_file(tensors, path)
  with pytest.raises(ValueError, match=message):
    convert.convert(tmp_path / "bad", tmp_path / "run")
  assert not (tmp_path / "run").exists()


def test_a_truncated_file_is_refused(tmp_path):
  write_unet(tmp_path / "cut", IF_I, SHAPES["if_i"])
  path = tmp_path / "cut" / "unet" / "diffusion_pytorch_model.safetensors"
  path.write_bytes(path.read_bytes()[:-1000])
  with pytest.raises(ValueError, match=r"truncated or damaged: \S+ would end at byte \d+"):
    convert.convert(tmp_path / "cut", tmp_path / "run")


@pytest.mark.parametrize(
  ("change", "message"),
  [
    (dict(act_fn="mish"), "mish"),
    (dict(down_block_types=["DownBlock2D", "SimpleCrossAttnDownBlock2D"]), "DownBlock2D"),
    (dict(time_embedding_act_fn="gelu"), "resnet_skip_time_act"),
    (dict(resnet_time_scale_shift="default"), "resnet_time_scale_shift='default'"),
    (dict(mid_block_scale_factor=2.0), "mid_block_scale_factor"),
    (dict(encoder_hid_dim_type="text_image_proj"), "encoder_hid_dim_type"),
  ],
)
def test_a_network_that_we_lack_is_refused_with_its_field(change, message, tmp_path):
  write_unet(tmp_path / "other", IF_I | change, SHAPES["if_i"])
  with pytest.raises(ValueError, match=message):
    convert.convert(tmp_path / "other", tmp_path / "run")


@pytest.mark.parametrize(
  ("size", "count"), [("M", 371_605_830), ("L", 935_429_318), ("XL", 4_304_658_246)]
)
def test_if_i_has_the_published_size(size, count):
  from configs import stunet_if
  from lumiere.experiment import Experiment

  config = stunet_if.get_config(size)
  frozen = abstract_model(Experiment.from_config(config))[2]
  assert weights.count(frozen) == pytest.approx(count, rel=1e-3)
  published = IF_I | dict(
    block_out_channels=WIDTHS[size], layers_per_block=3, cross_attention_dim=WIDTHS[size][-1],
    down_block_types=["ResnetDownsampleBlock2D", *["SimpleCrossAttnDownBlock2D"] * 3],
    up_block_types=[*["SimpleCrossAttnUpBlock2D"] * 3, "ResnetUpsampleBlock2D"],
    attention_head_dim=64, encoder_hid_dim=4096, addition_embed_type_num_heads=64, norm_num_groups=32,
  )  # fmt: skip
  assert architectures.from_diffusers_unet(published) == Experiment.from_config(config).model


def update(sampler, denoiser, state, row, noise, conditioning, sampling):
  """`denoise_step` with the given noise in place of drawn noise."""
  from diffusion import samplers

  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(samplers, "draw_noise", lambda keys, shape: jnp.asarray(noise))
    return denoise_step(
      denoiser, state, row, conditioning, jax.random.split(jax.random.key(0), 2),
      sampler=sampler, prediction="eps", threshold=sampling.make_threshold(),
    )  # fmt: skip


@pytest.mark.parametrize("name", ("v1_1", "byt5"))
def test_an_imported_text_encoder_gives_the_states_of_transformers(name, tmp_path, monkeypatch):
  with np.load(f"tests/lumiere/text/golden/t5_{name}.npz") as file:
    arrays = dict(file)
  sizes = {k.split("/")[1]: int(v) for k, v in arrays.items() if k.startswith("config/")}
  tensors = {k.split("/", 1)[1]: v for k, v in arrays.items() if k.startswith("weights/")}
  folder = tmp_path / "t5"
  folder.mkdir()
  # As google's files have it: the decoder is there, and the token table twice.
  tensors |= {
    "encoder.embed_tokens.weight": tensors["shared.weight"],
    "lm_head.weight": np.zeros(2),
  }
  save_file(tensors, folder / "model.safetensors")
  config = sizes | {"model_type": "t5", "feed_forward_proj": "gated-gelu"}
  (folder / "config.json").write_text(json.dumps(config))
  if name == "v1_1":
    with pytest.raises(ValueError, match=r"spiece.model is missing"):
      convert.convert(folder, tmp_path / "out")
    train_pieces(folder / "spiece.model")
  fitted = convert.convert(folder, tmp_path / "out")
  assert set(fitted.unused) == {"encoder.embed_tokens.weight", "lm_head.weight"}
  encoder = TextEncoder.restore(tmp_path / "out", max_length=arrays["tokens"].shape[1])
  monkeypatch.setattr(encoder, "tokenizer", lambda _: {k: arrays[k] for k in ("tokens", "mask")})
  states = np.asarray(encoder(["whatever"])["text"])
  mask = arrays["mask"]
  assert relative_error(states[mask], arrays["states"][mask]) < 1e-4


def test_the_report_lists_every_tensor(imported, tmp_path):
  fitted = convert.convert(imported / "if_i", tmp_path / "run")
  report = fitted.report()
  assert all(name in report for name in SHAPES["if_i"])
  assert len(traverse_util.flatten_dict(fitted.weights)) == len(fitted.sources)
  assert fitted.summary().endswith("0 unused")
