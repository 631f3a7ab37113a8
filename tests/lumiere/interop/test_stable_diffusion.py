"""Stable Diffusion's U-Net by the names of diffusers and of its authors; what is like it and is not is refused by name."""

import dataclasses
import json

import numpy as np
import pytest
from flax import nnx, traverse_util
from safetensors.numpy import load_file, save_file

from lumiere import checkpoints, pretrained_autoencoder, weights
from lumiere import mesh as meshes
from lumiere.interop import architectures, autoencoder, convert, names, stable_diffusion
from lumiere.latents.autoencoder import Autoencoder, AutoencoderConfig
from stunet.image_unet import ImageUNet, ImageUNetConfig
from tests.lumiere.interop.published import draw, write_unet
from tests.stunet.networks import random_weights

SD_1 = dict(
  sample_size=8, in_channels=4, out_channels=4, block_out_channels=[8, 16, 16], layers_per_block=2,
  down_block_types=["CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"],
  up_block_types=["UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"],
  attention_head_dim=2, cross_attention_dim=12, act_fn="silu", norm_num_groups=4, norm_eps=1e-5,
  downsample_padding=1, center_input_sample=False, flip_sin_to_cos=True, freq_shift=0, mid_block_scale_factor=1,
)  # fmt: skip
SD_2 = SD_1 | dict(
  attention_head_dim=[2, 4, 4], use_linear_projection=True, upcast_attention=True,
  dual_cross_attention=False, only_cross_attention=False, num_class_embeds=None,
)  # fmt: skip
VAE = AutoencoderConfig(
  channels=(4, 8), num_res_blocks=1, latent_channels=4, norm_groups=2, scaling_factor=0.3
)
# Those of Stable Diffusion 1.5, whose file says nothing of what is predicted: that is eps.
SCHEDULER = dict(
  _class_name="PNDMScheduler", beta_end=0.012, beta_schedule="scaled_linear", beta_start=0.00085,
  num_train_timesteps=1000, set_alpha_to_one=False, skip_prk_steps=True, steps_offset=1, trained_betas=None,
)  # fmt: skip
# The same module in the two naming schemes, for networks of two stages a level.
SAME = {
  "input_blocks.0.0": "conv_in",
  "time_embed.2": "time_embedding.linear_2",
  "input_blocks.1.0.emb_layers.1": "down_blocks.0.resnets.0.time_emb_proj",
  "input_blocks.2.1.proj_in": "down_blocks.0.attentions.1.proj_in",
  "input_blocks.3.0.op": "down_blocks.0.downsamplers.0.conv",
  "input_blocks.4.0.skip_connection": "down_blocks.1.resnets.0.conv_shortcut",
  "input_blocks.4.1.transformer_blocks.0.attn1.to_q": "down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_q",
  "input_blocks.8.0.out_layers.3": "down_blocks.2.resnets.1.conv2",
  "middle_block.1.transformer_blocks.0.attn2.to_out.0": "mid_block.attentions.0.transformer_blocks.0.attn2.to_out.0",
  "middle_block.2.in_layers.0": "mid_block.resnets.1.norm1",
  "output_blocks.2.1.conv": "up_blocks.0.upsamplers.0.conv",
  "output_blocks.3.1.transformer_blocks.0.ff.net.0.proj": "up_blocks.1.attentions.0.transformer_blocks.0.ff.net.0.proj",
  "output_blocks.5.2.conv": "up_blocks.1.upsamplers.0.conv",
  "output_blocks.8.1.transformer_blocks.0.norm3": "up_blocks.2.attentions.2.transformer_blocks.0.norm3",
  "out.2": "conv_out",
}  # fmt: skip


def authors(arrays: dict) -> dict:
  """An autoencoder's tensors by its authors' names."""
  ours, theirs = (
    autoencoder.table(VAE, naming) for naming in (autoencoder.NAMINGS[0], autoencoder.NAMINGS[2])
  )
  renamed = {ours[path].name: module.name for path, module in theirs.items()}
  convolved = lambda name, array: array[..., None, None] if ".attn_1." in name and array.ndim == 2 else array  # fmt: skip
  found = {}
  for name, array in arrays.items():
    module, leaf = name.rsplit(".", 1)
    new = f"{renamed[module]}.{leaf}"
    found[new] = convolved(new, array)
  return found


def abstract(config: ImageUNetConfig) -> dict:
  """Our weights by path."""
  tree = weights.split(nnx.eval_shape(lambda: ImageUNet(config, rngs=weights.Seeds(0))))[1]
  return traverse_util.flatten_dict(tree, sep="/")


def sources(config: ImageUNetConfig, table: dict) -> dict[str, names.Source]:
  return {path: names.source_of(path, x.shape, table) for path, x in abstract(config).items()}


def shapes(config: dict) -> dict[str, list[int]]:
  """Names and shapes of a diffusers folder."""
  model = architectures.from_diffusers_unet(config)
  found = sources(model, names.diffusers(model)).values()
  return {s.key: [*s.shape, *[1] * (s.module.ones if len(s.shape) > 1 else 0)] for s in found}


def write_vae(folder) -> dict[str, np.ndarray]:
  """The folder of an autoencoder, as diffusers writes it; its tensors."""
  tree = weights.split(nnx.eval_shape(lambda: Autoencoder(VAE, rngs=weights.Seeds(0))))[1]
  arrays = autoencoder.to_arrays(VAE, random_weights(tree, 1))
  folder.mkdir(parents=True)
  (folder / "config.json").write_text(json.dumps(autoencoder.to_diffusers(VAE)))
  save_file(arrays, folder / "diffusion_pytorch_model.safetensors")
  return arrays


def params(workdir) -> dict:
  return traverse_util.flatten_dict(checkpoints.load_trained(workdir, ("t2i",)).params, sep="/")


@pytest.fixture(scope="module", params=[SD_1, SD_2], ids=["1", "2"])
def imported(request, tmp_path_factory):
  """(config of diffusers, folder with its pipeline in `sd` and its run in `run`)."""
  root = tmp_path_factory.mktemp("sd")
  write_unet(root / "sd", request.param, shapes(request.param), SCHEDULER)
  write_vae(root / "sd" / "vae")
  convert.convert(root / "sd", root / "run")
  return request.param, root


def test_a_folder_says_what_it_is(imported):
  config, root = imported
  trained = checkpoints.load_trained(root / "run", ("t2i",))
  experiment = trained.experiment
  # Of 8 places of latents, each two pixels high and wide.
  assert experiment.autoencoder == VAE and experiment.data.size == (16, 16)
  stored = load_file(root / "sd" / "vae" / "diffusion_pytorch_model.safetensors")
  found = autoencoder.to_arrays(VAE, trained.frozen["autoencoder"])
  assert found.keys() == stored.keys()
  for name, tensor in stored.items():
    np.testing.assert_array_equal(found[name], tensor, err_msg=name)
  model, diffusion = experiment.model, experiment.diffusion
  assert (model.in_channels, model.out_channels, model.attention_levels) == (4, 4, (0, 1))
  heads = {"num_heads": 2} if config is SD_1 else {"head_dim": 4}
  assert {name: getattr(model, name) for name in heads} == heads
  assert (diffusion.prediction, diffusion.schedule["name"]) == ("eps", "scaled_linear")
  assert diffusion.schedule["beta_end"] == 0.012
  assert experiment.sampling.threshold["name"] == "none" and experiment.text.max_length == 77


def test_export_returns_the_same_bits_in_the_same_shapes(imported, tmp_path):
  config, root = imported
  convert.export(root / "run", tmp_path / "back")
  for part in ("vae", "unet"):
    file = f"{part}/diffusion_pytorch_model.safetensors"
    before, after = load_file(root / "sd" / file), load_file(tmp_path / "back" / file)
    assert before.keys() == after.keys()
    for name, tensor in before.items():
      np.testing.assert_array_equal(after[name], tensor, err_msg=name)
  rank = 4 if config is SD_1 else 2
  assert after["mid_block.attentions.0.proj_in.weight"].ndim == rank
  convert.convert(tmp_path / "back", tmp_path / "again")
  first, second = (checkpoints.load_trained(w, ("t2i",)).experiment for w in (root / "run", tmp_path / "again"))  # fmt: skip
  same = lambda x: (x.model, x.diffusion.prediction, x.autoencoder, x.data.size)
  assert same(first) == same(second)


def test_both_namings_of_a_file_give_the_same_weights(imported, tmp_path, monkeypatch):
  """And the prediction of a single file is the one that is asked for; the other networks in it are left."""
  _, root = imported
  model = checkpoints.load_trained(root / "run", ("t2i",)).experiment.model
  stored = load_file(root / "sd" / "unet" / "diffusion_pytorch_model.safetensors")
  stored_latents = load_file(root / "sd" / "vae" / "diffusion_pytorch_model.safetensors")
  by_path = {path: stored[s.key] for path, s in sources(model, names.diffusers(model)).items()}
  single = sources(model, names.adm(model, stable_diffusion.PREFIX))
  content = {source.key: by_path[path] for path, source in single.items()} | {
    **{f"first_stage_model.{name}": array for name, array in authors(stored_latents).items()},
    "cond_stage_model.transformer.text_model.embeddings.position_ids": np.zeros((1, 77), np.int64),
    "model_ema.num_updates": np.zeros((), np.int64),
    "sqrt_one_minus_alphas_cumprod": np.zeros(3, np.float32),
    "posterior_mean_coef1": np.zeros(3, np.float32),
  }
  averages = {
    "model_ema." + key.removeprefix("model.").replace(".", ""): -array
    for key, array in content.items()
    if key.startswith(stable_diffusion.PREFIX)
  }
  save_file(content, tmp_path / "without.safetensors")
  content |= averages
  save_file(content, tmp_path / "sd.safetensors")
  expected = params(root / "run")
  # The averages are the weights with another sign here.
  for name, prediction, variant, sign in (
    ("stable_diffusion_2", "eps", None, 1),
    ("stable_diffusion_2_v", "v", "ema", -1),
  ):
    published = dataclasses.replace(
      architectures.PUBLISHED[name], model=model, resolution=8, autoencoder=VAE
    )
    monkeypatch.setitem(architectures.PUBLISHED, name, published)
    fitted = convert.convert(tmp_path / "sd.safetensors", tmp_path / name, name, variant)
    assert len(fitted.unused) == 4 + len(averages)
    trained = checkpoints.load_trained(tmp_path / name, ("t2i",))
    assert trained.experiment.diffusion.prediction == prediction
    found = autoencoder.to_arrays(VAE, trained.frozen["autoencoder"])
    for key, tensor in stored_latents.items():
      np.testing.assert_array_equal(found[key], tensor, err_msg=key)
    found = params(tmp_path / name)
    for path, tensor in expected.items():
      np.testing.assert_array_equal(found[path], sign * tensor, err_msg=path)
  with pytest.raises(ValueError, match="the file has no averages"):
    convert.convert(tmp_path / "without.safetensors", tmp_path / "none", name, "ema")


def test_names_are_the_published_ones():
  model = architectures.from_diffusers_unet(SD_1)
  theirs, authors = names.diffusers(model), names.adm(model, stable_diffusion.PREFIX)
  found = {authors[ours].name: module.name for ours, module in theirs.items() if ours in authors}
  for author, there in SAME.items():
    assert found[stable_diffusion.PREFIX + author] == there


@pytest.mark.parametrize("version,count,tensors", [(1, 859_520_964, 686), (2, 865_910_724, 686)])
def test_the_published_networks_have_their_size_and_every_weight_a_name_of_its_own(version, count, tensors):  # fmt: skip
  model = stable_diffusion.VERSIONS[version]
  found = abstract(model)
  assert sum(int(np.prod(x.shape)) for x in found.values()) == count
  for table in (names.diffusers(model), names.adm(model)):
    assert len({source.key for source in sources(model, table).values()}) == len(found) == tensors
  there = architectures.to_diffusers_unet(model, (64, 64))
  assert architectures.from_diffusers_unet(there) == model


@pytest.mark.parametrize(
  ("change", "message"),
  [
    (dict(in_channels=9), "in_channels=9 is an inpainting model"),
    (dict(in_channels=5), "in_channels=5 is a network that is told depths"),
    (dict(out_channels=8), "out_channels=8 is not supported"),
    (dict(attention_head_dim=[2, 2, 16]), r"attention_head_dim=\[2, 2, 16\] must give heads of one width"),
    (dict(attention_head_dim=[2, 4]), "must be one number, or one for each level"),
    (dict(attention_head_dim="8"), "attention_head_dim='8' must be"),
    (dict(attention_head_dim=3), "num_heads=3 does not divide 8 channels"),
    (dict(addition_embed_type="text_time"), "addition_embed_type='text_time' is not supported"),
    (dict(transformer_layers_per_block=[1, 2, 10]), "transformer_layers_per_block="),
    (dict(dual_cross_attention=True), "dual_cross_attention=True"),
    (dict(num_class_embeds=1000), "num_class_embeds=1000"),
    (dict(downsample_padding=0), "downsample_padding=0"),
    (dict(act_fn="mish"), "act_fn='mish'"),
    (dict(up_block_types=["UpBlock2D"] * 3), "up_block_types="),
  ],
)  # fmt: skip
def test_a_network_that_we_lack_is_refused_with_its_field(change, message, tmp_path):
  write_unet(tmp_path / "sd", SD_2 | change, {"a": [1]}, SCHEDULER)
  with pytest.raises(ValueError, match=message):
    convert.convert(tmp_path / "sd", tmp_path / "run")
  assert not (tmp_path / "run").exists()


def test_without_its_scheduler_a_folder_does_not_say_what_is_predicted(tmp_path):
  write_unet(tmp_path / "sd", SD_1, {"a": [1]}, SCHEDULER)
  (tmp_path / "sd" / "scheduler" / "scheduler_config.json").unlink()
  with pytest.raises(ValueError, match="is missing: it says .* what it predicts, eps or v"):
    convert.convert(tmp_path / "sd", tmp_path / "run")


def test_v_comes_from_the_scheduler(tmp_path):
  # As diffusers writes that of its DPM-Solver++, with a number that is none of JSON's.
  scheduler = SCHEDULER | dict(prediction_type="v_prediction", lambda_min_clipped=-np.inf)
  write_unet(tmp_path / "sd", SD_2, shapes(SD_2), scheduler)
  write_vae(tmp_path / "sd" / "vae")
  convert.convert(tmp_path / "sd", tmp_path / "run")
  assert checkpoints.load_trained(tmp_path / "run", ("t2i",)).experiment.diffusion.prediction == "v"


def test_a_network_of_latents_needs_its_autoencoder(tmp_path):
  write_unet(tmp_path / "sd", SD_1, shapes(SD_1), SCHEDULER)
  with pytest.raises(ValueError, match="vae/config.json is missing: this network works on the latents"):  # fmt: skip
    convert.convert(tmp_path / "sd", tmp_path / "run")
  write_vae(tmp_path / "sd" / "vae")
  path = tmp_path / "sd" / "vae" / "config.json"
  for change, message in (
    (dict(shift_factor=0.1), "shift_factor=0.1 is not supported"),
    (dict(down_block_types=["AttnDownEncoderBlock2D"] * 2), "down_block_types="),
    (dict(latent_channels=16), "latents of this autoencoder have 16"),
  ):
    path.write_text(json.dumps(autoencoder.to_diffusers(VAE) | change))
    with pytest.raises(ValueError, match=message):
      convert.convert(tmp_path / "sd", tmp_path / "run")


def test_an_autoencoder_alone_is_what_a_training_from_nothing_reads(tmp_path):
  arrays = write_vae(tmp_path / "vae")
  convert.convert(tmp_path / "vae", tmp_path / "ours")
  found = pretrained_autoencoder.restore(tmp_path / "ours", VAE, meshes.one_device())
  for name, array in autoencoder.to_arrays(VAE, found).items():
    np.testing.assert_array_equal(array, arrays[name], err_msg=name)


@pytest.mark.parametrize(
  ("channels", "width", "architecture", "message"),
  [
    (4, 768, None, "it holds Stable Diffusion 1: --architecture=stable_diffusion_1"),
    (4, 1024, None, "it holds Stable Diffusion 2: .* predicts eps, .* stable_diffusion_2_v if it predicts v"),
    (9, 768, None, "it holds in_channels=9: an inpainting model"),
    (4, 2048, None, "it holds captions 2048 wide: a network that we lack"),
    (4, 1024, "stable_diffusion_1", "it is not as named; Stable Diffusion 2: --architecture"),
    (9, 768, "stable_diffusion_1", "in_channels=9 is an inpainting model"),
    (4, 768, "stable_diffusion_1", "this is no autoencoder that is known"),
  ],
)  # fmt: skip
def test_a_single_file_is_recognised_by_its_shapes(channels, width, architecture, message, tmp_path):  # fmt: skip
  tensors = draw(
    {
      f"{stable_diffusion.PREFIX}input_blocks.0.0.weight": [4, channels, 3, 3],
      f"{stable_diffusion.PREFIX}input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight": [4, width],
    }
  )  # fmt: skip
  save_file(tensors | {f"extra.{n}": np.zeros(1) for n in range(9)}, tmp_path / "sd.safetensors")
  with pytest.raises(ValueError, match=message):
    convert.convert(tmp_path / "sd.safetensors", tmp_path / "run", architecture)


def test_what_diffusers_has_no_network_for_is_not_written():
  model = architectures.from_diffusers_unet(json.loads(json.dumps(SD_1)))
  for change, message in (
    (dict(scale_shift=True), "scale_shift=True cannot be written with transformer_depth=1"),
    (dict(plain_resampling=False), "plain_resampling=False cannot be written"),
    (dict(patch_size=2), "patch_size=2 cannot be written"),
    (dict(transformer_depth=0), "num_heads=2 cannot be written"),
    (dict(transformer_depth=0, num_heads=0, head_dim=4), "scale_shift=False cannot be written"),
  ):
    with pytest.raises(ValueError, match=message):
      architectures.to_diffusers_unet(dataclasses.replace(model, **change), (8, 8))


def test_counted_heads_share_a_fused_tensor_head_by_head():
  """In the naming that fuses keys: by the number of heads as by their width."""
  config = dict(
    channels=(8, 16), num_res_blocks=1, attention_levels=(1,), text_dim=12, norm_groups=4
  )
  kinds = (dict(head_dim=4), dict(head_dim=64, num_heads=4))
  tables = [names.adm(ImageUNetConfig(**config | kind)) for kind in kinds]
  tensor = np.arange(48 * 16).reshape(48, 16)
  for part in ("query", "key", "value"):
    path = f"middle/stages/0/attention/{part}/kernel"
    first, second = (names.source_of(path, (16, 16), table).load(tensor) for table in tables)
    np.testing.assert_array_equal(first, second)
