"""FVD and KVD of videos that were damaged in known ways, against others that were not: the figures should order the damage.

python -m lumiere.fetch --what=i3d
python -m lumiere.fetch --what=footage
python benchmarks/damage.py --source=footage --num_clips=48
python benchmarks/damage.py --source=moving_shapes --num_clips=420        (more than 400, so that FVD is there too; hours on a CPU)

Clips are halved at random: one half is the reference, the other one is damaged. "none" is the other half as it is.
"""

import itertools
import pathlib
import time
from collections.abc import Callable, Iterable, Iterator

import numpy as np
from absl import flags
from jaxtyping import Float, UInt8
from tqdm import tqdm

from lumiere import cli, user_cache

NUM_FRAMES = 16
Clip = UInt8[np.ndarray, "t h w 3"]


def noisy(strength: float) -> Callable[[Clip, np.random.Generator], Clip]:
  """Gaussian noise with a standard deviation in levels of 255."""
  return lambda clip, rng: np.clip(
    clip + rng.normal(0, strength, clip.shape).astype(np.float32), 0, 255
  ).astype(np.uint8)


def blurred(factor: int) -> Callable[[Clip, np.random.Generator], Clip]:
  """Resized to a fraction of the size and back."""
  from lumiere.data import frames

  def damage(clip, _):
    small = frames.area_resize(frames.to_float(clip), max(clip.shape[1] // factor, 1), max(clip.shape[2] // factor, 1))  # fmt: skip
    return frames.to_uint8(frames.area_resize(small, *clip.shape[1:3]))

  return damage


def damages() -> dict[str, Callable[[Clip, np.random.Generator], Clip]]:
  """What is done to a clip, by name; the stronger of two of a kind comes second."""
  return {
    "none": lambda clip, _: clip,
    "noise, 10 of 255": noisy(10),
    "noise, 40 of 255": noisy(40),
    "blur, 4 pixels": blurred(4),
    "blur, 16 pixels": blurred(16),
    "every 2nd frame twice": lambda clip, _: clip[np.arange(len(clip)) // 2 * 2],
    "frozen": lambda clip, _: clip[np.zeros(len(clip), int)],
    "reversed": lambda clip, _: clip[::-1],
    "frames shuffled": lambda clip, rng: clip[rng.permutation(len(clip))],
  }


def clips_of_footage(count: int) -> Iterator[Clip]:
  """Square cuts of 16 neighbouring frames from every video, at places that are spread over time and width."""
  from lumiere.data import frames
  from lumiere.evaluation.metrics.folder import videos_of

  folder = user_cache.folder() / "footage"
  if not folder.exists():
    raise ValueError(f"{folder} is not there: python -m lumiere.fetch --what=footage")
  videos = [v for v in videos_of(pathlib.Path(folder)) if "distorted" not in v.name]
  share = -(-count // len(videos))
  for video in videos:
    whole = frames.read_video(video.path, 25.0)
    side = min(whole.shape[1:3])
    starts = np.linspace(0, len(whole) - NUM_FRAMES, share).astype(int)
    lefts = np.linspace(0, whole.shape[2] - side, 3).astype(int)
    for index, start in enumerate(starts):
      left = lefts[index % 3]
      clip = whole[start : start + NUM_FRAMES, :side, left : left + side]
      yield frames.to_uint8(frames.area_resize(frames.to_float(clip), 128))


def clips_of_moving_shapes(count: int) -> Iterator[Clip]:
  """Clips of the endless world, at 128 pixels."""
  from lumiere.data import sources
  from lumiere.sections import DataConfig

  world = dict(num_frames=NUM_FRAMES, max_things=2, share_of_two=0.3, seed=0)
  source = sources.make_source(
    DataConfig(dataset="moving_shapes_endless", num_frames=NUM_FRAMES, resolution=128, moving_shapes_endless=world),
    "train",
  )  # fmt: skip
  for index in range(count):
    yield source[index]["video"]


def features_of(backbone, clips: Iterable[Clip], batch_size: int = 4) -> Float[np.ndarray, "n d"]:
  """I3D's features of any number of clips of one size."""
  from lumiere.evaluation.metrics import features

  rows, clips = [], iter(tqdm(clips, unit="clip", disable=None))
  while batch := list(itertools.islice(clips, batch_size)):
    rows.append(features.rows_of(backbone, np.stack(batch), batch_size, "tf1"))
  return np.concatenate(rows)


def main():
  """Computes features of all sets and prints the table."""
  from lumiere.evaluation.metrics import compare, i3d_weights
  from lumiere.evaluation.metrics.protocol import Protocol

  values = flags.FLAGS
  make = clips_of_footage if values.source == "footage" else clips_of_moving_shapes
  clips = list(make(2 * values.num_clips))
  rng = np.random.default_rng(0)
  order = rng.permutation(len(clips))
  reference, others = ([clips[i] for i in part] for part in np.array_split(order, 2))
  backbone = i3d_weights.load_backbone(user_cache.folder() / i3d_weights.NAME)
  begun = time.perf_counter()
  true = features_of(backbone, reference)
  rate = len(reference) / (time.perf_counter() - begun)
  print(f"{values.source}: {len(others)} clips against {len(reference)}, {NUM_FRAMES} frames of 128 pixels; {rate:.2f} clips/s")  # fmt: skip
  metrics = ("fvd", "kvd") if min(len(reference), len(others)) > true.shape[1] else ("kvd",)
  print(f"{'damage':<24}" + "".join(f"{metric:>12}" for metric in metrics))
  for name, damage in damages().items():
    rows = features_of(backbone, (damage(clip, rng) for clip in others))
    found = [compare.compare(m, rows, true, Protocol(), backbone.title).value for m in metrics]
    print(f"{name:<24}" + "".join(f"{value:>12.3f}" for value in found), flush=True)


if __name__ == "__main__":
  flags.DEFINE_enum("source", "footage", ("footage", "moving_shapes"), "Where clips come from.")
  flags.DEFINE_integer("num_clips", 48, "Clips of each half.", 2)
  cli.run(main)
