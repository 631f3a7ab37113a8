"""The world without end: clip i of a split is drawn and rendered when it is asked for, from the index alone.

Nothing is prepared, kept on disk or seen twice, and neither TFDS nor TensorFlow is needed. Captions and scenes are those of
the dataset (`builder.py`), but for five things. Combinations of colour, shape and motion that `scene.is_held_out` names
occur in the split "unseen" alone, where everything is one of them; two things do not hide each other for most of a clip; some
captions do not say how fast; some clips are mosaics, if that is asked for; and only the frames and pixels that a stage trains on
are rendered.
"""

import dataclasses
import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from lumiere.data import frames
from lumiere.data.moving_shapes.captions import write_caption
from lumiere.data.moving_shapes.mosaic import random_mosaic
from lumiere.data.moving_shapes.render import render
from lumiere.data.moving_shapes.scene import Scene, extent_of, random_scene
from lumiere.sizes import Size

SPLITS = ("train", "validation", "test", "unseen")
# As many as Grain can shuffle: it does so place by place, without a list of them.
NUM_CLIPS = 2**31


@dataclasses.dataclass(frozen=True)
class EndlessConfig:
  """Settings of the world; `config.data.moving_shapes_endless` gives them.

  Attributes:
    num_frames: frames of a clip: what is in it stays in view for so long.
    max_things: 1, or 2 for scenes with one or two things.
    share_of_two: share of scenes with two things, if `max_things` allows for them.
    unsaid_speeds: share of moving things of which a caption does not say how fast they are.
    mosaics: share of clips that are drawn as mosaics, which no caption says: for super-resolution, which would flatten what a style
      draws if all that it had seen were flat.
    seed: of everything.
  """

  num_frames: int = 16
  max_things: int = 1
  share_of_two: float = 0.5
  unsaid_speeds: float = 0.2
  mosaics: float = 0.0
  seed: int = 0

  def __post_init__(self):
    if self.num_frames < 1:
      raise ValueError(f"num_frames={self.num_frames} must be 1 or more")
    if self.max_things not in (1, 2):
      raise ValueError(f"max_things={self.max_things} must be 1 or 2")
    for name in ("share_of_two", "unsaid_speeds", "mosaics"):
      if not 0 <= getattr(self, name) <= 1:
        raise ValueError(f"{name}={getattr(self, name)} must be between 0 and 1")
    if self.seed < 0:
      raise ValueError(f"seed={self.seed} must be 0 or more")


class EndlessShapes(Sequence):
  """Clips of a split by their index, as `{"video": uint8 [t h w 3], "caption": bytes}`."""

  def __init__(
    self,
    config: EndlessConfig,
    split: str,
    *,
    fps: float | int,
    sizes: Sequence[Size],
    num_frames: int | None = None,
  ):
    """A split.

    Args:
      config: which scenes there are.
      split: one of SPLITS.
      fps: frames per second.
      sizes: height and width of clips, in pixels; of several, clips have them in turns.
      num_frames: frames that are rendered, a random run of the clip's; None renders all of them.

    Raises:
      ValueError: if there is no such split, or a clip is shorter than `num_frames`.
    """
    if split not in SPLITS:
      raise ValueError(f"split={split!r} must be one of {', '.join(SPLITS)}")
    if num_frames is not None and not 1 <= num_frames <= config.num_frames:
      raise ValueError(
        f"num_frames={num_frames} must be between 1 and {config.num_frames}, the length of a clip"
      )
    self.config, self.split, self.fps, self.sizes = config, split, fps, tuple(sizes)
    self.num_frames = config.num_frames if num_frames is None else num_frames

  @property
  def name(self) -> str:
    """What tells it from other worlds."""
    settings = ", ".join(
      f"{name}={value}" for name, value in dataclasses.asdict(self.config).items()
    )
    return f"moving_shapes_endless({settings})"

  def __len__(self) -> int:
    return NUM_CLIPS

  @property
  def groups(self) -> list[range]:
    """Indices of the clips of each size."""
    count = len(self.sizes)
    return [range(first, NUM_CLIPS // count * count, count) for first in range(count)]

  def __getitem__(self, index: int) -> dict[str, Any]:
    scene, caption, first = self.draw(index)
    size = self.sizes[index % len(self.sizes)]
    video = frames.to_uint8(render(scene, self.num_frames, self.fps, size, first))
    rng = np.random.default_rng([self.config.seed, SPLITS.index(self.split), index, 1])
    if rng.random() < self.config.mosaics:
      video = random_mosaic(video, rng)
    return {"video": video, "caption": caption.encode()}

  def draw(self, index: int) -> tuple[Scene, str, int]:
    """Scene and caption of a clip, and the first of its frames that is rendered.

    Raises:
      IndexError: if `index` is not in [0, NUM_CLIPS).
    """
    if not 0 <= index < NUM_CLIPS:
      raise IndexError(f"index {index} must be in [0, {NUM_CLIPS})")
    config = self.config
    rng = np.random.default_rng([config.seed, SPLITS.index(self.split), index])
    count = 1 + int(config.max_things == 2 and rng.random() < config.share_of_two)
    size = self.sizes[index % len(self.sizes)]
    options = dict(count=count, held_out=self.split == "unseen", extent=extent_of(size))
    scene = random_scene(rng, config.num_frames / self.fps, **options)
    while not shows_all(scene, np.arange(config.num_frames) / self.fps):
      scene = random_scene(rng, config.num_frames / self.fps, **options)
    caption = write_caption(scene, rng, config.unsaid_speeds)
    return scene, caption, int(rng.integers(config.num_frames - self.num_frames + 1))


def shows_all(scene: Scene, times: Float[np.ndarray, " t"]) -> bool:
  """Whether everything is apart from everything else at half of the times or more."""
  states = [thing.state(times) for thing in scene.things]
  for one, other in itertools.combinations(states, 2):
    distance = np.linalg.norm(one.centre - other.centre, axis=1)
    if np.mean(distance > 0.6 * (one.size + other.size)) < 0.5:
      return False
  return True
