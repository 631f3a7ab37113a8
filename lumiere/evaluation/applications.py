"""Benchmarks of the applications on moving shapes, where the truth is known. Each function returns figures by name.

Clips come from the test split. The base of the cascade has to be conditional.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np
from etils import epath
from jaxtyping import UInt8
from tqdm import tqdm

from lumiere.data import frames, sources
from lumiere.data.moving_shapes.captions import parse
from lumiere.data.moving_shapes.scene import family
from lumiere.evaluation import moving_shapes
from lumiere.evaluation.held_out import HeldOut
from lumiere.evaluation.seams import frame_change, seam_score
from lumiere.evaluation.tracking import track
from lumiere.sampling import given as givens
from lumiere.sampling.cascade import Cascade
from lumiere.sampling.given import Fitting, Given
from multidiffusion.windows import plan_windows

BATCH = 8


@dataclasses.dataclass(frozen=True)
class Clips:
  """Held-out clips at the cascade's resolution, with their captions."""

  videos: UInt8[np.ndarray, "n t h w 3"]
  captions: tuple[str, ...]

  @classmethod
  def load(cls, cascade: Cascade, count: int) -> "Clips":
    """The first `count` of the test split that show one thing."""
    data, size = cascade.base.experiment.data, cascade.resolution
    if data.dataset == "moving_shapes_endless":  # drawn at any size
      data = dataclasses.replace(data, resolution=size, buckets=())
      held_out = HeldOut.load(data, "test", count)
      return cls(held_out.videos[:, : data.num_frames], held_out.captions)
    source = sources.make_source(data, "test")
    examples = [source[index] for index in range(min(count, len(source)))]
    captions = tuple(example["caption"].decode() for example in examples)
    videos = [np.asarray(example["video"]) for example in examples]
    videos = [Fitting(video.shape[1:3], size).video(video) for video in videos]
    return cls(np.stack(videos)[:, : data.num_frames], captions)

  def moving(self) -> "Clips":
    """Those in which the thing's centre moves."""
    ways = ("moves", "circles", "bounces")
    keep = [
      i for i, text in enumerate(self.captions) if family(parse(text).things[0].motion) in ways
    ]
    return Clips(self.videos[keep], tuple(self.captions[i] for i in keep))


def generate(cascade: Cascade, captions: Sequence[str]):
  """`Cascade.generate` in batches."""
  parts = [
    cascade.generate(captions[first : first + BATCH], first_index=first)
    for first in tqdm(range(0, len(captions), BATCH), desc="clips")
  ]
  return np.concatenate(parts)


def complete(cascade: Cascade, captions: Sequence[str], given: Sequence[Given]):
  """`Cascade.complete` in batches."""
  parts = []
  for first in tqdm(range(0, len(captions), BATCH), desc="clips"):
    some = slice(first, first + BATCH)
    parts.append(cascade.complete(captions[some], given[some], first_index=first))
  return np.concatenate(parts)


def largest_error(videos, given: Sequence[Given]) -> int:
  """Largest difference, of 255, at pixels that were given."""
  return max(
    int(np.abs(video.astype(int) - each.video)[each.mask == 1].max(initial=0))
    for video, each in zip(videos, given, strict=True)
  )


def image_to_video(cascade: Cascade, clips: Clips) -> dict[str, dict[str, float]]:
  """The judge's scores for text-to-video and for image-to-video, and the error at the given frame."""
  fps, count = cascade.base.experiment.data.fps, cascade.num_frames
  text = generate(cascade, clips.captions)
  given = [givens.keyframes([v[0]], [0], count, cascade.resolution) for v in clips.videos]
  made = complete(cascade, clips.captions, given)
  judged = lambda videos: shares(moving_shapes.judge(list(videos), clips.captions, fps))
  return {
    "true clips": judged(clips.videos),
    "text to video": judged(text),
    "image to video": judged(made) | {"error at given pixels": largest_error(made, given)},
  }


def shares(verdicts: Sequence[moving_shapes.Verdict]) -> dict[str, float]:
  """The judge's report, and the share in which thing and motion are right together."""
  together = np.mean([v.colour and v.shape and v.motion for v in verdicts])
  return moving_shapes.report(verdicts) | {"colour, shape and motion": float(together)}


def styled(
  cascade: Cascade, style: epath.PathLike, clips: Clips, strengths=(0.5, 0.75, 1.0)
) -> dict[str, dict[str, float]]:
  """The judge's scores for text-to-video in a style that keeps the thing and its colour, by strength."""
  fps = cascade.base.experiment.data.fps
  judged = lambda videos: shares(moving_shapes.judge(list(videos), clips.captions, fps))
  results = {"true clips": judged(clips.videos)}
  for strength in strengths:
    results[f"strength {strength:g}"] = judged(
      generate(cascade.restyle(style, strength), clips.captions)
    )
  return results


def inpainting(cascade: Cascade, clips: Clips) -> dict[str, dict[str, float]]:
  """For holes of two lengths in time: centroid errors of the inpainted video and of a copy, in shorter sides.

  The square that the thing moves in is hidden during the middle half of a clip, and then during three quarters of it. The copy
  fills it from the nearest frame that is not hidden.
  """
  clips = clips.moving()
  t = clips.videos.shape[1]
  results = {}
  for known in (t // 4, t // 8):
    hidden = np.arange(known, t - known)
    given, copies = zip(*(_hide(video, hidden) for video in clips.videos), strict=True)
    made = complete(cascade, clips.captions, given)
    results[f"{len(hidden)} of {t} frames hidden"] = {
      "made": centroid_error(made, clips.videos, hidden),
      "nearest known frame": centroid_error(copies, clips.videos, hidden),
      "error at given pixels": largest_error(made, given),
      "clips": len(made),
    }
  return results


def _hide(video, hidden):
  """(What is left of a clip without the square that its thing moves in, that clip with the nearest known frames there)."""
  t, *size = video.shape[:3]
  path, unit, limits = track(video).centre, min(size), size[::-1]
  low, high = (np.nanmin(path, axis=0) - 0.28) * unit, (np.nanmax(path, axis=0) + 0.28) * unit
  (left, top), (right, bottom) = (
    np.clip(np.floor(low), 0, limits),
    np.clip(np.ceil(high), 0, limits),
  )
  new = np.zeros((t, *size), bool)
  new[hidden, int(top) : int(bottom), int(left) : int(right)] = True
  nearest = np.where(hidden - hidden[0] < len(hidden) / 2, hidden[0] - 1, hidden[-1] + 1)
  copy = video.copy()
  copy[hidden] = np.where(new[hidden][..., None], video[nearest], video[hidden])
  return givens.with_hole(video, new, tuple(size)), copy


def centroid_error(videos, truth, where) -> float:
  """Mean distance of the thing from its true position, in shorter sides of the frame; half of one where it is not found."""
  distances = []
  for video, real in zip(videos, truth, strict=True):
    apart = np.linalg.norm(track(video).centre - track(real).centre, axis=1)[where]
    distances.append(np.nan_to_num(apart, nan=0.5))
  return float(np.mean(distances))


def cinemagraphs(cascade: Cascade, clips: Clips) -> dict[str, float]:
  """Largest change in the fixed region, and mean change in the moving one, the left half; both of 255."""
  size, count = cascade.resolution, cascade.num_frames
  moving = np.zeros(size, bool)
  moving[:, : size[1] // 2] = True
  given = [givens.cinemagraph(video[0], moving, count, size) for video in clips.videos]
  made = complete(cascade, clips.captions, given)
  change = np.abs(made.astype(int) - made[:, :1])
  return {
    "largest change where still": int(change[:, :, ~moving].max()),
    "mean change where moving": float(change[:, :, moving].mean()),
  }


def long_video(cascade: Cascade, captions: Sequence[str], times: int = 8) -> dict[str, dict]:
  """Clips of `times` the training length: in reconciled windows, in independent windows, and frame by frame.

  `seams` is the change at the borders of independent windows relative to that elsewhere, `jump` the largest change relative to
  the median, `last` the share of clips whose last part still shows the caption's background, colour and shape.
  """
  base = cascade.without_ssr()
  length = base.num_frames
  total = times * length
  own = base.base.experiment.sampling
  borders = plan_windows(total, length, length).borders()
  apart = dataclasses.replace(own, window=length, stride=length, window_weights="uniform")
  videos = {
    "MultiDiffusion": base.extend(captions, total),
    "independent windows": base.extend(captions, total, sampling=apart),
    "frame by frame": frame_by_frame(base, captions, total),
  }
  return {name: steadiness(made, captions, borders, length) for name, made in videos.items()}


def frame_by_frame(base: Cascade, captions: Sequence[str], total: int):
  """Autoregression: each frame is generated from as many frames before it as the network takes."""
  made = base.generate(captions)
  length = base.num_frames
  for index in tqdm(range(length, total), desc="frame by frame"):
    given = [
      givens.keyframes(list(v[1 - length :]), range(length - 1), length, base.resolution)
      for v in made
    ]
    following = base.complete(captions, given, seed=index)[:, -1:]
    made = np.concatenate([made, following], axis=1)
  return made


def steadiness(videos, captions, borders, length: int) -> dict[str, float]:
  """See `long_video`."""
  changes = [frame_change(frames.to_float(video)) for video in videos]
  verdicts = moving_shapes.judge([video[-length:] for video in videos], captions, 8.0)
  return {
    "seams": float(np.mean([seam_score(frames.to_float(v), borders) for v in videos])),
    "jump": float(np.mean([c.max() / max(np.median(c), 1e-6) for c in changes])),
    "last": float(np.mean([v.background and v.colour and v.shape for v in verdicts])),
  }


def two_prompts(cascade: Cascade, pairs: Sequence[tuple[str, str]]) -> dict[str, float]:
  """Scores of clips with one prompt for the first half and another for the second.

  `first` and `second` are the shares of clips whose first and last window show that prompt's colour and background. `no jump` is
  the share in which no change from frame to frame exceeds the largest one inside the first or the last window.
  """
  length = cascade.num_frames
  total = 4 * length
  made = [cascade.generate([{0: a, total // 2: b}], num_frames=total, seed=i)[0] for i, (a, b) in enumerate(pairs)]  # fmt: skip
  seen = {"first": (slice(length), 0), "second": (slice(-length, None), 1)}
  shares = {}
  for name, (part, which) in seen.items():
    captions = [pair[which] for pair in pairs]
    verdicts = moving_shapes.judge([video[part] for video in made], captions, 8.0)
    shares[name] = float(np.mean([v.colour and v.background for v in verdicts]))
  changes = [frame_change(frames.to_float(video)) for video in made]
  inside = [max(c[: length - 1].max(), c[1 - length :].max()) for c in changes]
  shares["no jump"] = float(np.mean([c.max() <= i for c, i in zip(changes, inside, strict=True)]))
  return shares
