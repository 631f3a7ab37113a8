"""Fresh random networks of diffusers, converted and compared; and ours, exported and opened there."""

import dataclasses
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="make test-parity installs it")
diffusers = pytest.importorskip("diffusers", reason="make test-parity installs it")

from diffusers.pipelines.deprecated.unclip.text_proj import UnCLIPTextProjModel  # noqa: E402

from lumiere import checkpoints, weights  # noqa: E402
from lumiere.interop import architectures, convert  # noqa: E402
from lumiere.sections import DiffusionConfig  # noqa: E402
from stunet.image_unet import ImageUNetConfig  # noqa: E402
from tests.lumiere.interop.published import GLIDE, SCHEDULER, adm_shapes, draw  # noqa: E402
from tests.parity import adm_reference  # noqa: E402


def random_config(rng: np.random.Generator, stage: int) -> dict:
  """A small relative of IF-I or IF-II."""
  levels = int(rng.integers(2, 5))
  heads = int(rng.choice([8, 16, 32]))
  attends = [False, *(bool(flag) for flag in rng.random(levels - 1) < 0.7)]
  attends[-1] = True
  kinds = ("ResnetDownsampleBlock2D", "SimpleCrossAttnDownBlock2D")
  up_kinds = ("ResnetUpsampleBlock2D", "SimpleCrossAttnUpBlock2D")
  config = dict(
    sample_size=8 * 2 ** (levels - 1),
    in_channels=3,
    out_channels=6,
    block_out_channels=[32 * int(n) for n in rng.integers(1, 4, levels)],
    layers_per_block=int(rng.integers(1, 3)),
    down_block_types=[kinds[a] for a in attends],
    mid_block_type="UNetMidBlock2DSimpleCrossAttn",
    up_block_types=[up_kinds[a] for a in reversed(attends)],
    attention_head_dim=heads,
    cross_attention_dim=32 * int(rng.integers(1, 3)),
    encoder_hid_dim=8 * int(rng.integers(2, 6)),
    encoder_hid_dim_type="text_proj",
    cross_attention_norm="group_norm",
    addition_embed_type="text",
    addition_embed_type_num_heads=int(rng.choice([2, 4, 8])),
    act_fn=str(rng.choice(["gelu", "silu"])),
    resnet_time_scale_shift="scale_shift",
    norm_num_groups=int(rng.choice([8, 16, 32])),
  )
  if stage == 2:
    config |= dict(
      in_channels=6,
      layers_per_block=[int(n) for n in rng.integers(1, 4, levels)],
      only_cross_attention=True,
      class_embed_type="timestep",
      time_embedding_act_fn=config["act_fn"],
      resnet_skip_time_act=True,
      resnet_out_scale_factor=1 / 0.7071,
      mid_block_scale_factor=1 / 0.7071,
    )
  return config


def shaken(model, seed: int):
  """The model with random numbers everywhere: what starts at zero or one would hide mistakes."""
  generator = torch.Generator().manual_seed(seed)
  with torch.no_grad():
    for parameter in model.parameters():
      scale = 0.1 if parameter.ndim == 1 else np.prod(parameter.shape[1:]) ** -0.5
      parameter += scale * torch.randn(parameter.shape, generator=generator)
  return model.eval()


def relative_error(ours, theirs) -> float:
  return float(np.abs(np.asarray(ours) - theirs).max() / np.abs(theirs).max())


@pytest.mark.parametrize("stage", (1, 2))
@pytest.mark.parametrize("seed", range(4))
def test_converted_networks_predict_what_diffusers_predicts(stage, seed, tmp_path):
  rng = np.random.default_rng([seed, stage])
  config = random_config(rng, stage)
  model = shaken(diffusers.UNet2DConditionModel(**config), seed)
  model.save_pretrained(tmp_path / "unet")
  diffusers.DDPMScheduler(**{k: v for k, v in SCHEDULER.items() if k[0] != "_"}).save_pretrained(
    tmp_path / "scheduler"
  )
  convert.convert(tmp_path, tmp_path / "run")
  trained = checkpoints.load_trained(tmp_path / "run", ("t2i", "ssr_image"))
  ours = trained.rebuild(trained.params, trained.frozen).network

  size = config["sample_size"]
  x = rng.standard_normal((2, config["in_channels"], size, size)).astype(np.float32)
  text = rng.standard_normal((2, 7, config["encoder_hid_dim"])).astype(np.float32)
  timesteps, levels = (rng.integers(0, 1000, 2).astype(np.float32) for _ in range(2))
  with torch.no_grad():
    theirs = model(
      *map(torch.from_numpy, (x, timesteps, text)),
      class_labels=torch.from_numpy(levels) if stage == 2 else None,
    ).sample.numpy()
  images = jnp.asarray(np.moveaxis(x, 1, -1))
  inputs = (images, timesteps, text)
  if stage == 2:
    inputs = (images[..., :3], timesteps, images[..., 3:], levels, text)
  output = jax.jit(lambda *args: ours(*args))(*map(jnp.asarray, inputs))
  assert relative_error(np.moveaxis(output, -1, 1), theirs) < 1e-4

  convert.export(tmp_path / "run", tmp_path / "back")
  again = diffusers.UNet2DConditionModel.from_pretrained(tmp_path / "back" / "unet")
  for name, tensor in model.state_dict().items():
    assert torch.equal(tensor, again.state_dict()[name]), name
  with torch.no_grad():
    same = again(
      *map(torch.from_numpy, (x, timesteps, text)),
      class_labels=torch.from_numpy(levels) if stage == 2 else None,
    ).sample.numpy()
  assert relative_error(same, theirs) < 1e-6


@pytest.mark.parametrize("seed", range(2))
def test_karlos_decoder_predicts_what_diffusers_parts_predict(seed, tmp_path):
  rng = np.random.default_rng(seed)
  levels, width, tokens = int(rng.integers(2, 4)), 8 * int(rng.integers(3, 7)), int(rng.integers(1, 5))  # fmt: skip
  config = random_config(rng, 1)
  attends = [False] * (levels - 1) + [True]
  config = {
    name: config[name] for name in ("in_channels", "out_channels", "layers_per_block", "mid_block_type", "attention_head_dim", "resnet_time_scale_shift")
  } | dict(
    sample_size=16, act_fn="silu", class_embed_type="identity", cross_attention_dim=width,
    block_out_channels=[32 * int(n) for n in rng.integers(1, 4, levels)],
    down_block_types=["SimpleCrossAttnDownBlock2D" if a else "ResnetDownsampleBlock2D" for a in attends],
    up_block_types=["SimpleCrossAttnUpBlock2D" if a else "ResnetUpsampleBlock2D" for a in attends[::-1]],
  )  # fmt: skip
  unet = shaken(diffusers.UNet2DConditionModel(**config), seed)
  text_proj = shaken(
    UnCLIPTextProjModel(
      clip_extra_context_tokens=tokens, clip_embeddings_dim=24, cross_attention_dim=width,
      time_embed_dim=4 * config["block_out_channels"][0],
    ), seed,
  )  # fmt: skip
  unet.save_pretrained(tmp_path / "karlo" / "decoder")
  text_proj.save_pretrained(tmp_path / "karlo" / "text_proj")
  diffusers.UnCLIPScheduler(variance_type="learned_range").save_pretrained(
    tmp_path / "karlo" / "decoder_scheduler"
  )
  convert.convert(tmp_path / "karlo", tmp_path / "run")
  trained = checkpoints.load_trained(tmp_path / "run", ("t2i",))
  ours = trained.rebuild(trained.params, trained.frozen).network

  x = rng.standard_normal((2, 3, 16, 16)).astype(np.float32)
  states = rng.standard_normal((2, 9, 24)).astype(np.float32)
  mask = np.arange(9) < np.array([[9], [5]])
  timesteps = rng.integers(0, 1000, 2).astype(np.float32)
  image, caption, text = (torch.from_numpy(s) for s in (states[:, 0], states[:, 1], states[:, 2:]))
  with torch.no_grad():
    attended, vector = text_proj(
      image_embeddings=image, prompt_embeds=caption, text_encoder_hidden_states=text,
      do_classifier_free_guidance=False,
    )  # fmt: skip
    attended_mask = np.pad(mask[:, 2:], ((0, 0), (tokens, 0)), constant_values=True)
    theirs = unet(
      *map(torch.from_numpy, (x, timesteps)), attended, class_labels=vector,
      attention_mask=torch.from_numpy(attended_mask),
    ).sample.numpy()  # fmt: skip
  output = jax.jit(lambda *args: ours(*args))(
    jnp.asarray(np.moveaxis(x, 1, -1)), *map(jnp.asarray, (timesteps, states, mask))
  )
  assert relative_error(np.moveaxis(output, -1, 1), theirs) < 1e-4


def test_the_adm_reference_agrees_on_other_sizes_from_a_torch_file(tmp_path, monkeypatch):
  model = dataclasses.replace(
    GLIDE, channels=(32, 32, 64), num_res_blocks=2, attention_levels=(1, 2), embedding_dim=128
  )
  state = draw(adm_shapes(model))
  torch.save({k: torch.from_numpy(v) for k, v in state.items()}, tmp_path / "base.pt")
  monkeypatch.setitem(
    architectures.PUBLISHED,
    "glide_base",
    architectures.Published(
      model,
      DiffusionConfig(schedule={"name": "squaredcos_cap_v2"}, prediction="eps"),
      16,
      {},
      max_length=7,
    ),
  )
  convert.convert(tmp_path / "base.pt", tmp_path / "run", "glide_base")
  trained = checkpoints.load_trained(tmp_path / "run", ("t2i",))
  ours = trained.rebuild(trained.params, trained.frozen).network
  rng = np.random.default_rng(1)
  x = rng.standard_normal((2, 3, 16, 16)).astype(np.float32)
  text = rng.standard_normal((2, 7, 24)).astype(np.float32)
  timesteps = np.array([3.0, 800.0], np.float32)
  # input_blocks: 0 conv, 1-2, 3 down, 4-5, 6 down, 7-8; output_blocks: 0-2 up, 3-5 up, 6-8.
  theirs = adm_reference.forward(
    {k: torch.from_numpy(v) for k, v in state.items()},
    *map(torch.from_numpy, (x, timesteps, text)),
    head_dim=16,
    down={3, 6},
    up={2, 5},
  ).numpy()
  output = jax.jit(lambda *args: ours(*args))(
    jnp.asarray(np.moveaxis(x, 1, -1)), jnp.asarray(timesteps), jnp.asarray(text)
  )
  assert relative_error(np.moveaxis(output, -1, 1), theirs) < 1e-4


class Harmful:
  """A pickle that would run code."""

  def __reduce__(self):
    return (print, ("code ran",))


def test_a_torch_file_with_code_is_refused(tmp_path, capsys):
  with (tmp_path / "bad.pt").open("wb") as file:
    pickle.dump({"conv_in.weight": Harmful()}, file)
  torch.save({"weight": Harmful()}, tmp_path / "worse.pt")
  for name, message in (
    ("bad.pt", "plain pickle, which is not opened"),
    ("worse.pt", "a state dict is needed"),
  ):
    with pytest.raises(ValueError, match=message):
      convert.convert(tmp_path / name, tmp_path / "run", "glide_base")
  assert "code ran" not in capsys.readouterr().out


def test_a_network_that_is_ours_opens_there(tmp_path):
  """Another route: widths and options that no published network has."""
  config = ImageUNetConfig(
    channels=(32, 64), num_res_blocks=(2, 1), attention_levels=(0, 1), text_dim=32, text_norm="group",
    head_dim=8, norm_groups=8, attends_to_padding=True,
  )  # fmt: skip
  there = architectures.to_diffusers_unet(config, size=(16, 16))
  model = diffusers.UNet2DConditionModel(**{k: v for k, v in there.items() if k[0] != "_"})
  assert architectures.from_diffusers_unet(dict(model.config)) == config
  assert sum(p.numel() for p in model.parameters()) == weights.count(count_of(config))


def count_of(config):
  from flax import nnx

  from stunet.image_unet import ImageUNet

  return weights.split(nnx.eval_shape(lambda: ImageUNet(config, rngs=weights.Seeds(0))))[1]
