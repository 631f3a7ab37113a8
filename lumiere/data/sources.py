"""From a data config to a random-access source of clips, and to the transforms that make network input of them."""

import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from lumiere import checksums, processes
from lumiere.data import curated
from lumiere.data.embeddings import Index, WithText
from lumiere.data.loader import ToClip, Tokenize
from lumiere.data.moving_shapes.endless import SPLITS, EndlessConfig, EndlessShapes
from lumiere.experiment import Experiment
from lumiere.fields import from_mapping
from lumiere.sections import DataConfig
from lumiere.text.tokenize import cut_off


def make_source(config: DataConfig, split: str):
  """The clips of a split ("train", "validation", "test"; "unseen" too, of an endless world); prepares the dataset if it is
  not there yet.

  Of several processes the first one prepares it, on a disk that all of them see.

  Raises:
    ValueError: names the config field that does not fit the dataset.
  """
  if config.dataset == "moving_shapes_endless":
    settings = from_mapping(
      EndlessConfig, config.moving_shapes_endless, "config.data.moving_shapes_endless"
    )
    options = dict(fps=config.fps, resolution=config.resolution, num_frames=config.num_frames)
    return EndlessShapes(settings, split, **options)
  with processes.first_goes_ahead("dataset"):
    builder = _builder(config)
  if split not in builder.info.splits:
    raise ValueError(
      f"config.data: {config.dataset} in {config.folder or config.data_dir} has no {split!r} split, only "
      f"{', '.join(builder.info.splits)}; a folder needs clips of two files or more for one"
    )
  source = _open(builder, config, split)
  if config.embeddings:
    return WithText(source, Index.read(config.embeddings))
  return source


# Examples that are looked at to describe a dataset.
LOOKED_AT = 16


def fingerprint(config: DataConfig) -> dict[str, Any]:
  """What tells one prepared dataset from another: its name and settings, its size, and what is in a few examples.

  Cheap, and the same wherever the dataset is kept.

  Returns:
    `dataset`, the builder's name, settings and version; `examples`, their number in each split; `content`, 8 hexadecimal
    digits that stand for captions and pictures of examples all over the train split.
  """
  if config.dataset == "moving_shapes_endless":
    source = make_source(config, "train")
    name, examples = source.name, dict.fromkeys(SPLITS, len(source))
  else:
    builder = _builder(config)
    source, name = _open(builder, config, "train"), builder.info.full_name
    examples = {name: split.num_examples for name, split in builder.info.splits.items()}
  content = 0
  for index in np.linspace(0, len(source) - 1, min(LOOKED_AT, len(source))).astype(int):
    example = source[int(index)]
    for part in (example["caption"], np.ascontiguousarray(example["video"])):
      content = zlib.crc32(part, content)
  return {
    "dataset": name,
    "examples": examples,
    "content": f"{content:08x}",
  }


def cut_captions(experiment: Experiment) -> str:
  """Says how many captions are longer than the network reads, of a few all over the train split; empty if none is.

  Captions that an encoder outside the network has read are counted by `lumiere.embed`.
  """
  text = experiment.text
  if text is None or text.encoder is None:
    return ""
  source, tokenizer = make_source(experiment.data, "train"), text.make_tokenizer()
  looked_at = np.linspace(0, len(source) - 1, min(LOOKED_AT, len(source))).astype(int)
  captions = [np.asarray(source[int(index)]["caption"]).item() for index in looked_at]
  texts = [c.decode("utf-8") if isinstance(c, bytes) else str(c) for c in captions]
  cut = [text for text in texts if cut_off(tokenizer, text)]
  if not cut:
    return ""
  return (
    f"{len(cut)} of {len(texts)} captions that were looked at have more than text.max_length={text.max_length} tokens; "
    f"what is beyond is not read, as in {cut[0]!r}: {cut_off(tokenizer, cut[0])!r}"
  )


def digest(fingerprint: dict[str, Any]) -> str:
  """Of a fingerprint, without the dataset's name, in which there may be a folder's place and the times of its files."""
  return checksums.digest({name: fingerprint[name] for name in ("examples", "content")})


def _builder(config: DataConfig):
  # TFDS, which an endless world does without.
  if config.dataset == "curated":
    shape = dict(num_frames=config.num_frames, fps=config.fps, resolution=config.resolution)
    return curated.builder_of(config.folder, **shape)
  from lumiere.data.moving_shapes import builder as moving_shapes
  from lumiere.data.video_folder import builder as video_folder

  if config.dataset == "moving_shapes":
    return moving_shapes.load_or_prepare(config.data_dir, fps=config.fps, **config.moving_shapes)
  settings = {"num_frames": config.num_frames, "resolution": config.resolution}
  settings |= dict(config.video_folder)
  return video_folder.load_or_prepare(config.folder, config.data_dir, fps=config.fps, **settings)


def _open(builder, config: DataConfig, split: str) -> Sequence:
  """The examples of a prepared dataset."""
  if config.dataset == "curated":
    return curated.Curated(curated.records_of(builder, split), config.resolution)
  return builder.as_data_source(split=split)


def transforms(experiment: Experiment) -> list:
  """What happens to an element before it is batched."""
  clip = ToClip(experiment.data.num_frames, experiment.data.resolution)
  text = experiment.text
  return [clip, Tokenize(text.make_tokenizer())] if text and text.encoder else [clip]
