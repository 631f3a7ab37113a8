"""Public weights -> a checkpoint of ours, and back: what `python -m lumiere.convert` does.

Every tensor is fitted by name and shape before the first is read; then they are written one at a time, so that no more
than the largest tensor is held in memory.
"""

import contextlib
import json
import pathlib
import shutil
from collections.abc import Mapping
from typing import Any

import numpy as np
import yaml
from flax import traverse_util

from lumiere import checkpoints, pretrained_text, weights
from lumiere.experiment import (
  STAGES,
  DataConfig,
  DiffusionConfig,
  Experiment,
  SamplingConfig,
  SuperResolutionConfig,
  TextConfig,
  TrainConfig,
)
from lumiere.interop import architectures, mapping, names, tensors, text
from lumiere.model import abstract_model
from lumiere.text import glide
from stunet.image_unet import ImageUNetConfig

MAX_TEXT_LENGTH = 77  # DeepFloyd IF, and CLIP
# Names that tell a network of another kind -> what it is.
REFUSED = {
  "label_emb.weight": "a network that is told class labels; text or nothing is what ours are told"
}


def convert(
  source: pathlib.Path, out: pathlib.Path, architecture: str | None = None
) -> mapping.Fit:
  """Writes a checkpoint from what lies at `source`; see the head of this file.

  Raises:
    ValueError: if nothing is recognised, or a tensor does not fit; nothing is written then.
  """
  if source.is_file():
    if architecture is None:
      raise ValueError(
        f"--architecture is missing: {source} is a bare file of weights; one of {', '.join(architectures.PUBLISHED)}"
      )
    return _convert_published(source, out, architecture)
  if (source / "unet" / "config.json").is_file():
    return _convert_unet(source / "unet", source / "scheduler", out)
  if (source / "decoder" / "config.json").is_file():
    return _convert_unet(source / "decoder", source / "decoder_scheduler", out)
  if (source / "config.yml").is_file():
    return _convert_if(source, out)
  if not (source / "config.json").is_file():
    raise ValueError(
      f"--source={source} has no config.json, unet/config.json, decoder/config.json or config.yml"
    )
  config = json.loads((source / "config.json").read_text())
  if config.get("_class_name") == "UNet2DConditionModel":
    return _convert_unet(source, source.parent / "scheduler", out)
  if config.get("model_type") in ("t5", "mt5", "umt5"):
    return _convert_t5(source, config, out)
  kind = config.get("_class_name") or config.get("model_type") or config.get("architectures")
  raise ValueError(
    f"{source / 'config.json'} describes {kind!r}: UNet2DConditionModel or T5 can be converted"
  )


def _convert_unet(folder: pathlib.Path, scheduler: pathlib.Path, out: pathlib.Path) -> mapping.Fit:
  """A diffusers U-Net with its scheduler; Karlo's has a part of its own for the text, in `text_proj` beside it."""
  config = json.loads((folder / "config.json").read_text())
  parts, text_proj = [folder], None
  if config.get("class_embed_type") == "identity":
    parts.append(folder.parent / "text_proj")
    path = parts[-1] / "config.json"
    text_proj = json.loads(path.read_text()) if path.is_file() else None
  try:
    model = architectures.from_diffusers_unet(config, text_proj)
  except (KeyError, ValueError) as error:
    raise ValueError(f"{folder / 'config.json'}: {error}") from error
  path = scheduler / "scheduler_config.json"
  if not path.is_file():
    raise ValueError(f"{path} is missing: it says in which process the network was trained")
  try:
    diffusion, sampling = architectures.from_diffusers_scheduler(json.loads(path.read_text()))
  except ValueError as error:
    raise ValueError(f"{path}: {error}") from error
  resolution = config.get("sample_size") or 64
  if text_proj is not None:
    sampling = architectures.KARLO_SAMPLING | sampling
    experiment = describe(model, diffusion, sampling, resolution, None, MAX_TEXT_LENGTH + 2)
  else:
    experiment = describe_if(model, diffusion, sampling, resolution)
  print(f"{folder}: a {experiment.stage} network of diffusers, {len(model.channels)} levels")
  with contextlib.ExitStack() as stack:
    found = {}
    for part in parts:
      found |= stack.enter_context(tensors.open_tensors(tensors.find_weights(part)))
    return _write(experiment, found, names.diffusers(model), {}, out)


def _convert_if(folder: pathlib.Path, out: pathlib.Path) -> mapping.Fit:
  """A network as DeepFloyd IF's own code reads it: `config.yml` and a state dict."""
  try:
    params = yaml.safe_load((folder / "config.yml").read_text())["params"]
    model = architectures.from_if(params)
  except (KeyError, TypeError, ValueError, yaml.YAMLError) as error:
    raise ValueError(f"{folder / 'config.yml'}: {error}") from error
  diffusion, sampling = architectures.from_diffusers_scheduler(
    {
      "beta_schedule": "squaredcos_cap_v2",
      "variance_type": "learned_range",
      "thresholding": True,
      "dynamic_thresholding_ratio": 0.95,
      "sample_max_value": 1.0 if model.in_channels == 6 else 1.5,
    }
  )  # deepfloyd_if/modules/base.py; the same as in diffusers' folders
  experiment = describe_if(model, diffusion, sampling, params["image_size"])
  print(f"{folder}: a {experiment.stage} network of DeepFloyd IF, {len(model.channels)} levels")
  with tensors.open_tensors(tensors.find_weights(folder)) as found:
    return _write(experiment, found, names.adm(model), {}, out)


def _convert_published(source: pathlib.Path, out: pathlib.Path, architecture: str) -> mapping.Fit:
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
  )
  print(f"{source}: read as {architecture}, a {experiment.stage} network")
  bpe = [source.parent / name for name in glide.FILES]
  has_bpe = all(path.is_file() for path in bpe)
  why = f"GLIDE's text encoder: {' and '.join(glide.FILES)} are not beside {source.name}"
  with tensors.open_tensors(source) as found:
    fitted = _write(
      experiment,
      found,
      names.adm(published.model, published.prefix),
      {text.GLIDE_TEXT: why} if config else {},
      out,
    )
    if config is None or not has_bpe:
      return fitted
    encoder = mapping.fit(
      weights.split(pretrained_text.abstract(config))[1], found, text.glide(config), {text.GLIDE_NETWORK: ""}
    )  # fmt: skip
    pretrained_text.save(out / "text_encoder", config, encoder.weights)
  for path in bpe:
    shutil.copy(path, out / "text_encoder" / path.name)
  return mapping.merge(fitted, encoder, "text_encoder")


def _convert_t5(folder: pathlib.Path, config: dict, out: pathlib.Path) -> mapping.Fit:
  """A T5 encoder with its tokenizer."""
  try:
    encoder = architectures.from_transformers_t5(config)
  except ValueError as error:
    raise ValueError(f"{folder / 'config.json'}: {error}") from error
  tokenizer = next(
    (p for p in (folder / "spiece.model", folder.parent / "tokenizer" / "spiece.model") if p.is_file()),
    None,
  )  # fmt: skip
  if tokenizer is None and encoder.vocab_size != 384:
    raise ValueError(f"{folder / 'spiece.model'} is missing: it cuts captions into tokens")
  abstract = pretrained_text.abstract(encoder)
  print(f"{folder}: a T5 encoder of {encoder.num_layers} layers, {encoder.d_model} wide")
  with tensors.open_tensors(tensors.find_weights(folder)) as found:
    fitted = mapping.fit(weights.split(abstract)[1], found, text.t5(encoder), text.T5_UNUSED)
    pretrained_text.save(out, encoder, fitted.weights)
  if tokenizer is not None:
    shutil.copy(tokenizer, out / "spiece.model")
  return fitted


def _write(experiment, found, modules, unused, out: pathlib.Path) -> mapping.Fit:
  for name in REFUSED.keys() & found.keys():
    raise ValueError(f"{name} is the mark of {REFUSED[name]}")
  abstract = abstract_model(experiment)[1]
  # Ours lies under "network", and under "unet" in it for super-resolution.
  inside = ("network", "unet") if experiment.is_super_resolution else ("network",)
  tree = abstract
  for name in inside:
    tree = tree[name]
  fitted = mapping.fit(tree, found, modules, unused)
  flat = {inside + path: leaf for path, leaf in traverse_util.flatten_dict(fitted.weights).items()}
  checkpoints.save_imported(out, experiment, traverse_util.unflatten_dict(flat))
  return fitted


def describe(
  model: ImageUNetConfig,
  diffusion: DiffusionConfig,
  sampling: Mapping[str, Any],
  resolution: int,
  super_resolution: SuperResolutionConfig | None,
  max_length: int,
) -> Experiment:
  """The image stage that a public network stands for: what was not published is left at our defaults."""
  is_super_resolution = model.in_channels == 6
  return Experiment(
    stage="ssr_image" if is_super_resolution else "t2i",
    model=model,
    text=TextConfig(max_length=max_length, null="empty") if model.text_dim else None,
    diffusion=diffusion,
    super_resolution=super_resolution if is_super_resolution else None,
    data=DataConfig(
      dataset="video_folder", folder="(imported)", num_frames=1, resolution=resolution
    ),
    train=TrainConfig(num_steps=1, batch_size=1),
    sampling=SamplingConfig(**{"sampler": "ddpm", "augmentation_level": 0.0, **sampling}),
  )


def describe_if(
  model: ImageUNetConfig, diffusion: DiffusionConfig, sampling: Mapping[str, Any], resolution: int
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
  config = architectures.to_diffusers_unet(experiment.model, experiment.data.resolution)
  scheduler = architectures.to_diffusers_scheduler(experiment.diffusion, experiment.sampling)
  modules = names.diffusers(experiment.model)
  tree = (trained.frozen if experiment.is_video else trained.params)["network"]
  tree = tree["unet"] if experiment.is_super_resolution else tree
  tree = tree["image"] if experiment.is_video else tree
  stored = {}
  for path, leaf in traverse_util.flatten_dict(tree, sep="/").items():
    source = names.source_of(path, leaf.shape, modules)
    stored[source.key] = np.ascontiguousarray(source.store(np.asarray(leaf)))
  for name, content in (("unet/config.json", config), ("scheduler/scheduler_config.json", scheduler)):  # fmt: skip
    (out / name).parent.mkdir(parents=True)
    (out / name).write_text(json.dumps(content, indent=2) + "\n")
  save_file(stored, out / "unet" / "diffusion_pytorch_model.safetensors", {"format": "pt"})
  print(f"{len(stored)} tensors written to {out}")
