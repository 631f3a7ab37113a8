"""From a data config to a random-access source of clips, and to the transforms that make network input of them."""

import pathlib

from lumiere import processes
from lumiere.data.embeddings import WithText
from lumiere.data.loader import ToClip, Tokenize
from lumiere.data.moving_shapes.endless import EndlessConfig, EndlessShapes
from lumiere.experiment import DataConfig, Experiment
from lumiere.fields import from_mapping


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
  source = builder.as_data_source(split=split)
  if config.embeddings:
    return WithText(source, pathlib.Path(config.embeddings) / split)
  return source


def _builder(config: DataConfig):
  # TFDS, which an endless world does without.
  from lumiere.data import video_folder
  from lumiere.data.moving_shapes import builder

  if config.dataset == "moving_shapes":
    return builder.load_or_prepare(config.data_dir, fps=config.fps, **config.moving_shapes)
  settings = {"num_frames": config.num_frames, "resolution": config.resolution}
  settings |= dict(config.video_folder)
  return video_folder.load_or_prepare(config.folder, config.data_dir, fps=config.fps, **settings)


def transforms(experiment: Experiment) -> list:
  """What happens to an element before it is batched."""
  clip = ToClip(experiment.data.num_frames, experiment.data.resolution)
  text = experiment.text
  return [clip, Tokenize(text.make_tokenizer())] if text and text.encoder else [clip]
