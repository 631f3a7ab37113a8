"""Public weights -> a checkpoint of ours, and back: what `python -m lumiere.convert` does.

Every tensor is fitted by name and shape before the first is read; then they are written one at a time, so that no more
than the largest tensor is held in memory.
What is written lies in OUT.partial until it is whole.
"""

import contextlib
import dataclasses
import json
import pathlib
import shutil
from collections.abc import Mapping
from typing import Any

import numpy as np
import yaml
from flax import traverse_util

from lumiere import checkpoints, files, pretrained_autoencoder, pretrained_text, weights
from lumiere.experiment import STAGES, Experiment
from lumiere.interop import (
  architectures,
  autoencoder,
  folders,
  mapping,
  names,
  stable_diffusion,
  tensors,
  text,
  text_architectures,
  tokenizer,
)
from lumiere.latents.autoencoder import AutoencoderConfig
from lumiere.model import abstract_model
from lumiere.sections import (
  DataConfig,
  DiffusionConfig,
  SamplingConfig,
  SuperResolutionConfig,
  TextConfig,
  TrainConfig,
)
from lumiere.sizes import size_of
from lumiere.text import clip, glide
from stunet.image_unet import ImageUNetConfig

WEIGHTS = "diffusion_pytorch_model.safetensors"  # diffusers' own name
MAX_TEXT_LENGTH = 77  # DeepFloyd IF, and CLIP
# Names that tell a network of another kind -> what it is.
REFUSED = {
  "label_emb.weight": "a network that is told class labels; text or nothing is what ours are told"
}


def convert(
  source: pathlib.Path,
  out: pathlib.Path,
  architecture: str | None = None,
  variant: str | None = None,
) -> mapping.Fit:
  """Writes a checkpoint from what lies at `source`; see the head of this file.

  Args:
    source: a folder, or a bare file of weights.
    out: the folder to write.
    architecture: what a bare file is, one of `architectures.PUBLISHED`.
    variant: which of the weights in a folder, "fp16" for model.fp16.safetensors; of a bare file of torch's, which of its
      state dicts.

  Raises:
    ValueError: if nothing is recognised, a tensor does not fit or is not finite; nothing is left behind then.
  """
  if source.is_file() and architecture is None:
    raise ValueError(
      f"--architecture is missing: {source} is a bare file of weights; {_suggestion(source, variant)}"
    )
  if not source.is_file() and architecture is not None:
    raise ValueError(
      f"--architecture={architecture} is for a bare file of weights: {source} is a folder, which says itself what it is"
    )
  with files.whole_folder(out) as partial:
    if source.is_file():
      return _convert_published(source, partial, architecture, variant)
    return _convert_folder(source, partial, variant)


def _suggestion(source: pathlib.Path, variant: str | None) -> str:
  """Which architecture a bare file may be, from what can be read of it."""
  with contextlib.suppress(ValueError), tensors.open_tensors(source, variant) as found:
    shapes = {name: tensor.shape for name, tensor in found.items()}
    if what := stable_diffusion.describe_file(shapes):
      return f"it holds {what}"
  return f"one of {', '.join(architectures.PUBLISHED)}"


def _convert_folder(source: pathlib.Path, out: pathlib.Path, variant: str | None) -> mapping.Fit:
  if (source / "unet" / "config.json").is_file():
    return _convert_unet(source / "unet", source / "scheduler", out, variant)
  if (source / "decoder" / "config.json").is_file():
    return _convert_unet(source / "decoder", source / "decoder_scheduler", out, variant)
  if (source / "config.yml").is_file():
    return _convert_if(source, out, variant)
  if not (source / "config.json").is_file():
    raise ValueError(
      f"--source={source} has no config.json, unet/config.json, decoder/config.json or config.yml"
    )
  config = files.read_json(source / "config.json")
  if config.get("_class_name") == "UNet2DConditionModel":
    return _convert_unet(source, source.parent / "scheduler", out, variant)
  if config.get("_class_name") == "AutoencoderKL":
    return _convert_autoencoder(source, out, variant)
  if config.get("model_type") in ("t5", "mt5", "umt5"):
    return _convert_t5(source, config, out, variant)
  if config.get("model_type") in ("clip", "clip_text_model"):
    return _convert_clip(source, config, out, variant)
  kind = config.get("_class_name") or config.get("model_type") or config.get("architectures")
  raise ValueError(
    f"{source / 'config.json'} describes {kind!r}: UNet2DConditionModel, AutoencoderKL, T5 or CLIP can be converted"
  )


def _convert_unet(
  folder: pathlib.Path, scheduler: pathlib.Path, out: pathlib.Path, variant: str | None
) -> mapping.Fit:
  """A diffusers U-Net with its scheduler; Karlo's has a part of its own for the text, in `text_proj` beside it."""
  config = files.read_json(folder / "config.json")
  parts, text_proj, vae = [folder], None, folder.parent / "vae"
  if config.get("class_embed_type") == "identity":
    parts.append(folder.parent / "text_proj")
    path = parts[-1] / "config.json"
    text_proj = files.read_json(path) if path.is_file() else None
  with files.about(folder / "config.json"):
    model = architectures.from_diffusers_unet(config, text_proj)
  path = scheduler / "scheduler_config.json"
  if not path.is_file():
    raise ValueError(
      f"{path} is missing: it says in which process the network was trained, and what it predicts, eps or v"
    )
  process = files.read_json(path, infinite=True)  # diffusers' DPM-Solver++ has a bound of -Infinity
  with files.about(path):
    diffusion, sampling = architectures.from_diffusers_scheduler(process)
  resolution = config.get("sample_size") or 64
  if isinstance(resolution, list):
    resolution = tuple(resolution)
  latent_space = autoencoder.read_config(vae) if model.transformer_depth else None
  with files.about(folder / "config.json"):
    if text_proj is not None:
      sampling = architectures.KARLO_SAMPLING | sampling
      experiment = describe(model, diffusion, sampling, resolution, None, MAX_TEXT_LENGTH + 2)
    elif latent_space:
      sampling |= stable_diffusion.SAMPLING
      experiment = describe(
        model, diffusion, sampling, resolution, None, MAX_TEXT_LENGTH, latent_space
      )
    else:
      experiment = describe_if(model, diffusion, sampling, resolution)
  paths = [folders.find_weights(part, variant) for part in parts]
  _say(folder, f"a {experiment.stage} network of diffusers, {len(model.channels)} levels", paths[0])
  with contextlib.ExitStack() as stack:
    found, latents = {}, None
    for path in paths:
      found |= stack.enter_context(tensors.open_tensors(path))
    if latent_space:
      latents = _fit_autoencoder(vae, latent_space, variant, stack)
    return _write(experiment, found, names.diffusers(model), {}, paths[0], out, latents)


def _fit_autoencoder(
  folder: pathlib.Path, config: AutoencoderConfig, variant: str | None, stack: contextlib.ExitStack
) -> mapping.Fit:
  """The weights of the autoencoder in a folder of diffusers; its files stay open as long as `stack`."""
  path = folders.find_weights(folder, variant)
  _say(folder, f"an autoencoder of latents {config.factor} times smaller", path)
  found = stack.enter_context(tensors.open_tensors(path))
  with files.about(path):
    return autoencoder.fit(config, found)


def _convert_autoencoder(
  folder: pathlib.Path, out: pathlib.Path, variant: str | None
) -> mapping.Fit:
  """An autoencoder alone."""
  with contextlib.ExitStack() as stack:
    config = autoencoder.read_config(folder)
    fitted = _fit_autoencoder(folder, config, variant, stack)
    pretrained_autoencoder.save(out, config, fitted.weights)
  return fitted


def _convert_if(folder: pathlib.Path, out: pathlib.Path, variant: str | None) -> mapping.Fit:
  """A network as DeepFloyd IF's own code reads it: `config.yml` and a state dict."""
  content = files.read_bytes(folder / "config.yml")
  with files.about(folder / "config.yml", yaml.YAMLError, RecursionError):
    content = yaml.safe_load(content)
    params = content.get("params") if isinstance(content, dict) else None
    if not isinstance(params, dict):
      raise ValueError("params is missing: the sizes of the network")
    model = architectures.from_if(params)
  diffusion, sampling = architectures.from_diffusers_scheduler(
    {
      "beta_schedule": "squaredcos_cap_v2",
      "variance_type": "learned_range",
      "thresholding": True,
      "dynamic_thresholding_ratio": 0.95,
      "sample_max_value": 1.0 if model.in_channels == 6 else 1.5,
    }
  )  # deepfloyd_if/modules/base.py; the same as in diffusers' folders
  with files.about(folder / "config.yml"):
    experiment = describe_if(model, diffusion, sampling, params["image_size"])
  path = folders.find_weights(folder, variant)
  _say(folder, f"a {experiment.stage} network of DeepFloyd IF, {len(model.channels)} levels", path)
  with tensors.open_tensors(path) as found:
    return _write(experiment, found, names.adm(model), {}, path, out)


def _convert_published(
  source: pathlib.Path, out: pathlib.Path, architecture: str, variant: str | None
) -> mapping.Fit:
  """A state dict in the ADM family's own naming; a text encoder that is in it goes to OUT/text_encoder."""
  published = architectures.PUBLISHED[architecture]
  config = published.text
  experiment = describe(
    published.model,
    published.diffusion,
    published.sampling,
    published.resolution,
    SuperResolutionConfig(factor=4),
    published.max_length,
    published.autoencoder,
  )
  print(f"{source}: read as {architecture}, a {experiment.stage} network")
  bpe = [source.parent / name for name in glide.FILES]
  has_bpe = config is not None and all(path.is_file() for path in bpe)
  if has_bpe and (count := len(glide.read_bpe(source.parent)[0])) != config.vocab_size:
    raise ValueError(
      f"{bpe[0]} has {count} tokens for an encoder of {config.vocab_size}: it is another encoder's"
    )
  averaged = variant == stable_diffusion.AVERAGED and published.autoencoder is not None
  why = f"GLIDE's text encoder: {' and '.join(glide.FILES)} are not beside {source.name}"
  with tensors.open_tensors(source, None if averaged else variant) as found:
    latents = None
    if published.autoencoder:
      with files.about(source):
        shapes = {name: tensor.shape for name, tensor in found.items()}
        stable_diffusion.check_file(shapes, published.model)
        found = stable_diffusion.averages_of(found) if averaged else found
        latents = autoencoder.fit(published.autoencoder, autoencoder.in_single_file(found))
    fitted = _write(
      experiment,
      found,
      names.adm(published.model, published.prefix),
      {text.GLIDE_TEXT: why} if config else published.unused,
      source,
      out,
      latents,
    )
    if latents:
      rest = {k: why for k, why in fitted.unused.items() if not k.startswith(autoencoder.PREFIXES)}
      return dataclasses.replace(fitted, unused=rest)
    if not has_bpe:
      return fitted
    with files.about(source):
      encoder = mapping.fit(
        weights.split(pretrained_text.abstract(config))[1], found, text.glide(config), {text.GLIDE_NETWORK: ""}
      )  # fmt: skip
    pretrained_text.save(out / "text_encoder", config, encoder.weights)
  for path in bpe:
    shutil.copy(path, out / "text_encoder" / path.name)
  return mapping.merge(fitted, encoder, "text_encoder")


def _convert_t5(
  folder: pathlib.Path, config: dict, out: pathlib.Path, variant: str | None
) -> mapping.Fit:
  """A T5 encoder with its tokenizer."""
  with files.about(folder / "config.json"):
    encoder = text_architectures.from_transformers_t5(config)
  pieces = tokenizer.read_pieces(folder, encoder)
  path = folders.find_weights(folder, variant)
  _say(folder, f"a T5 encoder of {encoder.num_layers} layers, {encoder.d_model} wide", path)
  with tensors.open_tensors(path) as found:
    with files.about(path):
      mapping.check_count(encoder.num_layers, found)
      abstract = weights.split(pretrained_text.abstract(encoder))[1]
      fitted = mapping.fit(abstract, found, text.t5(encoder), text.T5_UNUSED)
    pretrained_text.save(out, encoder, fitted.weights)
  if pieces is not None:
    (out / tokenizer.PIECES).write_bytes(pieces)
  return fitted


def _convert_clip(
  folder: pathlib.Path, config: dict, out: pathlib.Path, variant: str | None
) -> mapping.Fit:
  """A CLIP model, or its text transformer alone, with its tokenizer: beside it, or in the folder `tokenizer` of a pipeline."""
  with files.about(folder / "config.json"):
    encoder = text_architectures.from_transformers_clip(config)
  places = [folder, folder.parent / folder.name.replace("text_encoder", "tokenizer"), folder.parent / "tokenizer"]  # fmt: skip
  found = next((p for p in places if all((p / name).is_file() for name in clip.FILES)), None)
  if found is None:
    raise ValueError(
      f"{folder / clip.FILES[0]} is missing, or {clip.FILES[1]}: they cut captions into tokens, and are published with the weights"
    )
  if (count := len(clip.read_bpe(found)[0])) > encoder.vocab_size:
    raise ValueError(
      f"{found / clip.FILES[0]} has {count} tokens for an encoder of {encoder.vocab_size}: it is another encoder's"
    )
  path = folders.find_weights(folder, variant)
  what = "a CLIP model" if encoder.image_d_model else "a CLIP text transformer"
  _say(folder, f"{what} of {encoder.num_layers} layers, {encoder.d_model} wide", path)
  with tensors.open_tensors(path) as stored:
    with files.about(path):
      mapping.check_count(encoder.num_layers + encoder.image_num_layers, stored)
      abstract = weights.split(pretrained_text.abstract(encoder))[1]
      prefix = "text_model." if any(key.startswith("text_model.") for key in stored) else ""
      fitted = mapping.fit(abstract, stored, text.clip(encoder, prefix), text.CLIP_UNUSED)
    pretrained_text.save(out, encoder, fitted.weights)
  clip.copy_tokenizer(found, out)
  return fitted


def _say(folder: pathlib.Path, what: str, path: pathlib.Path):
  print(f"{folder}: {what}; its weights are read from {path.name}")


def _write(
  experiment,
  found,
  modules,
  unused,
  path: pathlib.Path,
  out: pathlib.Path,
  latents: mapping.Fit | None = None,
):
  """Fits what was `found` at `path` to the network, and writes it, with the autoencoder of its latents."""
  with files.about(path):
    for name in REFUSED.keys() & found.keys():
      raise ValueError(f"{name} is the mark of {REFUSED[name]}")
    mapping.check_count(sum(experiment.model.num_res_blocks), found)
    abstract = abstract_model(experiment)[1]
    # Ours lies under "network", and under "unet" in it for super-resolution.
    inside = ("network", "unet") if experiment.is_super_resolution else ("network",)
    tree = abstract
    for name in inside:
      tree = tree[name]
    fitted = mapping.fit(tree, found, modules, unused)
  flat = {inside + path: leaf for path, leaf in traverse_util.flatten_dict(fitted.weights).items()}
  frozen = {"autoencoder": latents.weights} if latents else {}
  checkpoints.save_imported(out, experiment, traverse_util.unflatten_dict(flat), frozen)
  return mapping.merge(fitted, latents, "autoencoder") if latents else fitted


def describe(
  model: ImageUNetConfig,
  diffusion: DiffusionConfig,
  sampling: Mapping[str, Any],
  resolution: int | tuple[int, ...],
  super_resolution: SuperResolutionConfig | None,
  max_length: int,
  latent_space: AutoencoderConfig | None = None,
) -> Experiment:
  """The image stage that a public network stands for: what was not published is left at our defaults.

  With a `latent_space` the resolution is that of latents.
  """
  is_super_resolution = model.in_channels == 6
  if latent_space:
    resolution = tuple(latent_space.factor * side for side in size_of(resolution))
  return Experiment(
    stage="ssr_image" if is_super_resolution else "t2i",
    model=model,
    text=TextConfig(max_length=max_length, null="empty") if model.text_dim else None,
    diffusion=diffusion,
    super_resolution=super_resolution if is_super_resolution else None,
    autoencoder=latent_space,
    data=DataConfig(
      dataset="video_folder", folder="(imported)", num_frames=1, resolution=resolution
    ),
    train=TrainConfig(num_steps=1, batch_size=1),
    sampling=SamplingConfig(**{"sampler": "ddpm", "augmentation_level": 0.0, **sampling}),
  )


def describe_if(
  model: ImageUNetConfig,
  diffusion: DiffusionConfig,
  sampling: Mapping[str, Any],
  resolution: int | tuple[int, ...],
) -> Experiment:
  """`describe` for DeepFloyd IF, whose pipeline upsamples with corners aligned, by four."""
  stage = "ssr_image" if model.in_channels == 6 else "t2i"
  return describe(
    model,
    diffusion,
    {**architectures.IF_SAMPLING[stage], **sampling},
    resolution,
    SuperResolutionConfig(factor=4, aligned=True),
    MAX_TEXT_LENGTH,
  )


def export(workdir: pathlib.Path, out: pathlib.Path):
  """Writes the image part of a run, of a video run too, as a diffusers folder: `unet/` and `scheduler/`.

  Raises:
    ValueError: if the run's network is none that diffusers has.
  """
  from safetensors.numpy import save_file

  trained = checkpoints.load_trained(workdir, STAGES)
  experiment = trained.experiment
  size = tuple(side // experiment.factor for side in experiment.data.size)
  config = architectures.to_diffusers_unet(experiment.model, size)
  scheduler = architectures.to_diffusers_scheduler(experiment.diffusion, experiment.sampling)
  modules = names.diffusers(experiment.model)
  tree = (trained.frozen if experiment.is_video else trained.params)["network"]
  tree = tree["unet"] if experiment.is_super_resolution else tree
  tree = tree["image"] if experiment.is_video else tree
  stored = {}
  for path, leaf in traverse_util.flatten_dict(tree, sep="/").items():
    source = names.source_of(path, leaf.shape, modules)
    stored[source.key] = np.ascontiguousarray(source.store(np.asarray(leaf)))
  with files.whole_folder(out) as partial:
    for name, content in (("unet/config.json", config), ("scheduler/scheduler_config.json", scheduler)):  # fmt: skip
      (partial / name).parent.mkdir()
      (partial / name).write_text(json.dumps(content, indent=2) + "\n")
    save_file(stored, partial / "unet" / WEIGHTS, {"format": "pt"})
    if experiment.autoencoder:
      (partial / "vae").mkdir()
      config = autoencoder.to_diffusers(experiment.autoencoder)
      (partial / "vae" / "config.json").write_text(json.dumps(config, indent=2) + "\n")
      latents = autoencoder.to_arrays(experiment.autoencoder, trained.frozen["autoencoder"])
      save_file(latents, partial / "vae" / WEIGHTS, {"format": "pt"})
      stored |= {f"vae/{name}": array for name, array in latents.items()}
  print(f"{len(stored)} tensors written to {out}")
