"""The world as a TFDS dataset: `tfds.data_source("moving_shapes")` once this module is imported.

Clip i of a split depends on (seed, split, i) alone. Besides the video and its caption a clip brings the truth: what each
thing is, and where it is in each frame.
"""

import dataclasses
import hashlib
import json
import os
from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from lumiere.data import frames
from lumiere.data.moving_shapes.captions import write_caption
from lumiere.data.moving_shapes.render import render
from lumiere.data.moving_shapes.scene import (
  BACKGROUNDS,
  COLOURS,
  MOTIONS,
  SHAPES,
  Scene,
  extent_of,
  random_scene,
)
from lumiere.sizes import as_text, size_of

SPLITS = ("train", "validation", "test")


@dataclasses.dataclass
class MovingShapesConfig(tfds.core.BuilderConfig):
  """One dataset of the world; `name` is derived from the rest.

  Attributes:
    num_frames: frames of a clip.
    fps: frames per second.
    resolution: side, or (height, width), in pixels.
    num_train: clips of the train split.
    num_held_out: clips of the validation split, and of the test split.
    max_things: 1, or 2 for scenes with one or two things.
    seed: of everything.
  """

  num_frames: int = 16
  fps: float = 8.0
  resolution: int | tuple[int, ...] = 64
  num_train: int = 4096
  num_held_out: int = 256
  max_things: int = 1
  seed: int = 0

  def __post_init__(self):
    size_of(self.resolution, "resolution")
    for field in ("num_frames", "num_train", "num_held_out"):
      if getattr(self, field) < 1:
        raise ValueError(f"{field}={getattr(self, field)} must be 1 or more")
    if self.fps <= 0:
      raise ValueError(f"fps={self.fps} must be positive")
    if self.max_things not in (1, 2):
      raise ValueError(f"max_things={self.max_things} must be 1 or 2")
    if self.seed < 0:
      raise ValueError(f"seed={self.seed} must be 0 or more")


class MovingShapes(tfds.core.GeneratorBasedBuilder):
  """See the head of this file. Made by `load_or_prepare`."""

  VERSION = tfds.core.Version("1.0.0")
  RELEASE_NOTES = {"1.0.0": "First version."}
  BUILDER_CONFIGS = [
    MovingShapesConfig(name="default", description="One thing, 16 frames of 64x64.")
  ]
  pkg_dir_path = None

  def _info(self) -> tfds.core.DatasetInfo:
    config = self.builder_config
    t = config.num_frames
    thing = {
      "shape": tfds.features.Text(doc=", ".join(SHAPES)),
      "colour": tfds.features.Text(doc=", ".join(COLOURS)),
      "motion": tfds.features.Text(doc=", ".join(MOTIONS)),
      "speed": tfds.features.Text(doc="slow, fast, or empty if still"),
      "rate": tfds.features.Scalar(np.float32, doc="in the unit of the motion"),
      "centre": tfds.features.Tensor(
        shape=(t, 2), dtype=np.float32, doc="x and y in each frame, in shorter sides"
      ),
      "size": tfds.features.Tensor(
        shape=(t,), dtype=np.float32, doc="extent in each frame, in shorter sides"
      ),
      "angle": tfds.features.Tensor(shape=(t,), dtype=np.float32, doc="clockwise, in radians"),
    }
    return tfds.core.DatasetInfo(
      builder=self,
      description="Captioned videos of moving shapes, with the truth about them.",
      features=tfds.features.FeaturesDict(
        {
          # As bytes: as numbers, writing and reading take several times longer.
          "video": tfds.features.Tensor(
            shape=(t, *size_of(config.resolution), 3),
            dtype=np.uint8,
            encoding=tfds.features.Encoding.BYTES,
          ),
          "caption": tfds.features.Text(),
          "fps": np.float32,
          "background": tfds.features.Text(doc=", ".join(BACKGROUNDS)),
          "things": tfds.features.Sequence(thing),
        }
      ),
    )

  def _split_generators(self, dl_manager) -> dict[str, Iterator]:
    config = self.builder_config
    counts = (config.num_train, config.num_held_out, config.num_held_out)
    return {
      split: self._generate_examples(split, count)
      for split, count in zip(SPLITS, counts, strict=True)
    }

  def _generate_examples(self, split: str, count: int) -> Iterator[tuple[int, dict[str, Any]]]:
    config = self.builder_config
    for index in range(count):
      scene, caption = draw(config, split, index)
      video = render(scene, config.num_frames, config.fps, config.resolution)
      yield (
        index,
        {
          "video": frames.to_uint8(video),
          "caption": caption,
          "fps": config.fps,
          "background": scene.background,
          "things": [self._truth(thing) for thing in scene.things],
        },
      )

  def _truth(self, thing) -> dict[str, Any]:
    state = thing.state(np.arange(self.builder_config.num_frames) / self.builder_config.fps)
    return {
      "shape": thing.shape,
      "colour": thing.colour,
      "motion": thing.motion,
      "speed": thing.speed or "",
      "rate": thing.rate,
      **{name: value.astype(np.float32) for name, value in state._asdict().items()},
    }


def draw(config: MovingShapesConfig, split: str, index: int) -> tuple[Scene, str]:
  """Scene and caption of a clip."""
  rng = np.random.default_rng([config.seed, SPLITS.index(split), index])
  extent = extent_of(size_of(config.resolution))
  scene = random_scene(rng, config.num_frames / config.fps, config.max_things, extent=extent)
  return scene, write_caption(scene, rng)


def load_or_prepare(data_dir: str | os.PathLike, **settings) -> MovingShapes:
  """The dataset of these settings, prepared under `data_dir` if it is not there yet.

  Args:
    data_dir: where datasets are kept.
    **settings: fields of `MovingShapesConfig`; other settings make another dataset.

  Raises:
    ValueError: if a setting does not exist or is out of range.
  """
  fields = {field.name for field in dataclasses.fields(MovingShapesConfig)} - {
    "name",
    "version",
    "description",
  }
  if unknown := set(settings) - fields:
    raise ValueError(
      f"moving_shapes has no setting {sorted(unknown)[0]!r}; there are {', '.join(sorted(fields))}"
    )
  config = MovingShapesConfig(name="settings", **settings)
  values = {name: getattr(config, name) for name in sorted(fields) if hasattr(config, name)}
  digest = hashlib.sha256(json.dumps(values, default=str).encode()).hexdigest()[:8]
  shape = as_text(size_of(config.resolution))
  config.name = f"{config.num_frames}x{shape}_{config.fps:g}fps_{digest}"
  builder = MovingShapes(config=config, data_dir=os.fspath(data_dir), file_format="array_record")
  if not builder.is_prepared():
    builder.download_and_prepare()
  return builder
