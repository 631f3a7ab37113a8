"""From a data config to a random-access source of clips, and to the transforms that make network input of them."""

import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from lumiere import checksums, processes
from lumiere.data import curated
from lumiere.data.buckets import Indices
from lumiere.data.embeddings import Index, WithText
from lumiere.data.loader import ToClip, Tokenize
from lumiere.data.moving_shapes.endless import SPLITS, EndlessConfig, EndlessShapes
from lumiere.experiment import Experiment
from lumiere.fields import from_mapping
from lumiere.sections import OF_ANY_SIZE, DataConfig
from lumiere.sizes import as_text, cut_off, size_of
from lumiere.text import tokenize


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
    options = dict(fps=config.fps, sizes=config.training_sizes, num_frames=config.num_frames)
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


def groups_of(source: Sequence) -> Sequence[Indices] | None:
  """Indices of the examples of each size, which may share a batch; None if all have one."""
  return getattr(source, "groups", None)


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
  cut = [caption for caption in texts if tokenize.cut_off(tokenizer, caption)]
  if not cut:
    return ""
  return (
    f"{len(cut)} of {len(texts)} captions that were looked at have more than text.max_length={text.max_length} tokens; "
    f"what is beyond is not read, as in {cut[0]!r}: {tokenize.cut_off(tokenizer, cut[0])!r}"
  )


def left_out(config: DataConfig) -> str:
  """Says which clips fit none of the sizes that are trained on; empty if all do."""
  return curated.left_out(_builder(config), config) if config.dataset == "curated" else ""


def digest(fingerprint: dict[str, Any]) -> str:
  """Of a fingerprint, without the dataset's name, in which there may be a folder's place and the times of its files."""
  return checksums.digest({name: fingerprint[name] for name in ("examples", "content")})


def _builder(config: DataConfig):
  # TFDS, which an endless world does without.
  if config.dataset == "curated":
    return curated.builder_of(config)
  from lumiere.data.moving_shapes import builder as moving_shapes
  from lumiere.data.video_folder import builder as video_folder

  default = (
    moving_shapes.MovingShapesConfig.resolution
    if config.dataset == "moving_shapes"
    else config.size
  )
  stored = size_of(getattr(config, config.dataset).get("resolution", default))
  if cut_off(stored, config.size):
    raise ValueError(
      f"config.data.{config.dataset}.resolution={as_text(stored)} must have the shape of "
      f"config.data.resolution={as_text(config.size)}: clips of another shape would lose part of their picture"
    )
  if config.dataset == "moving_shapes":
    return moving_shapes.load_or_prepare(config.data_dir, fps=config.fps, **config.moving_shapes)
  settings = {"num_frames": config.num_frames, "resolution": config.size}
  settings |= dict(config.video_folder)
  return video_folder.load_or_prepare(config.folder, config.data_dir, fps=config.fps, **settings)


def _open(builder, config: DataConfig, split: str) -> Sequence:
  """The examples of a prepared dataset."""
  if config.dataset == "curated":
    return curated.open_split(builder, split, config)
  return builder.as_data_source(split=split)


def transforms(experiment: Experiment) -> list:
  """What happens to an element before it is batched."""
  data = experiment.data
  clip = ToClip(data.num_frames, None if data.dataset in OF_ANY_SIZE else data.size)
  text = experiment.text
  return [clip, Tokenize(text.make_tokenizer())] if text and text.encoder else [clip]
