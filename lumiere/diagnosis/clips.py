"""What is wrong with clips and captions, before any network sees them.

Whether captions belong to their clips is asked of a linear fit: from which words a caption has, it predicts the mean colours of the
clip's areas, for clips that the fit has not seen (cross-validation). Its explained variance is compared with that of the same
captions dealt out at random, and of each clip with the caption of its neighbour.
"""

import collections
import dataclasses
import re
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, UInt8

from lumiere.data import frames, sources
from lumiere.data.loader import ToClip
from lumiere.diagnosis.findings import Finding, judged
from lumiere.experiment import Experiment
from lumiere.sections import OF_ANY_SIZE
from lumiere.text.tokenize import cut_off

# Clips that are looked at: runs of neighbours from all over the split.
RUNS, RUN = 8, 32
# Mean change from frame to frame below which a clip is still, in levels of 255.
STILL = 0.1
GRID = 4  # areas along each side, whose colours are predicted
PERMUTATIONS = 40
FOLDS = 4


@dataclasses.dataclass(frozen=True)
class Sample:
  """Some examples of a dataset.

  Attributes:
    videos: clips as a training sees them, [t h w 3] each.
    captions: of the clips.
    runs: number of the run of neighbours that each belongs to.
    size: examples of the whole split.
  """

  videos: Sequence[UInt8[np.ndarray, "_t _h _w 3"]]
  captions: Sequence[str]
  runs: Sequence[int]
  size: int

  @classmethod
  def load(cls, experiment: Experiment, split: str = "train") -> "Sample":
    """Runs of neighbours from all over a split; all of it, if it is small."""
    source = sources.make_source(experiment.data, split)
    if len(source) <= RUNS * RUN:
      indices, runs = range(len(source)), [0] * len(source)
    else:
      firsts = np.linspace(0, len(source) - RUN, RUNS).astype(int).tolist()
      indices = [first + i for first in firsts for i in range(RUN)]
      runs = [run for run in range(RUNS) for _ in range(RUN)]
    data = experiment.data
    fitted = ToClip(data.num_frames, None if data.dataset in OF_ANY_SIZE else data.size)
    rows = []
    for index in indices:
      example = source[index]
      clip = fitted.random_map({"video": example["video"]}, np.random.default_rng(index))
      video = clip["video"] if "video" in clip else clip["image"][None]
      place = (example.get("source", b""), float(example.get("start", 0.0)))
      rows.append((place, frames.to_uint8(video), _text(example.get("caption", b""))))
    if not any(runs):
      # A small folder is stored in an order of its own: clips of one file, and files with neighbouring names, are neighbours again.
      rows.sort(key=lambda row: row[0])
    videos, captions = [row[1] for row in rows], [row[2] for row in rows]
    return cls(videos, captions, runs, len(source))


def _text(caption) -> str:
  caption = np.asarray(caption).item()
  return caption.decode("utf-8", "replace") if isinstance(caption, bytes) else str(caption)


def look(experiment: Experiment, sample: Sample) -> list[Finding]:
  """All findings of a sample."""
  found = [number(sample), repeats(sample)]
  if experiment.is_video:
    found += [motion(sample), order(sample)]
  if experiment.text is not None:
    found += [lengths(experiment, sample), pairs(sample)]
  if left := sources.left_out(experiment.data):
    found.append(
      Finding("buckets", "look", left, "add a bucket of their shape, or raise data.max_cut")
    )
  return found


def number(sample: Sample) -> Finding:
  """How many clips there are, and of which sizes."""
  shapes = collections.Counter(f"{v.shape[1]}x{v.shape[2]}" for v in sample.videos)
  sizes = ", ".join(
    f"{size} ({count / len(sample.videos):.0%})" for size, count in shapes.most_common()
  )
  return judged(
    "clips",
    "look" if sample.size < 100 else "fine",
    f"{sample.size} in the train split, {len(sample.videos)} looked at, of {sizes} pixels",
    "so few clips are learnt by heart; fine for a try, too few for a model",
  )


def repeats(sample: Sample) -> Finding:
  """Clips that are there more than once."""
  seen = collections.Counter(video.tobytes() for video in sample.videos)
  share = 1 - len(seen) / len(sample.videos)
  return judged(
    "repeated clips",
    "wrong" if share > 0.5 else "look" if share > 0.02 else "fine",
    f"{share:.0%} of the clips that were looked at are the same as another one",
    "remove them: python -m lumiere.curate finds near-duplicates",
  )


def motion(sample: Sample) -> Finding:
  """Clips in which nothing changes."""
  changes = [change(video) for video in sample.videos]
  share = float(np.mean([value < STILL for value in changes]))
  return judged(
    "motion",
    "wrong" if share > 0.9 else "look" if share > 0.3 else "fine",
    f"{share:.0%} of the clips are still; frames change by {np.median(changes):.2f} of 255 from one to the next (median)",
    "a video model learns nothing from stills: look at the clips, and at the frame rate (data.fps) that they are read at; "
    "python -m lumiere.curate leaves still ones out",
  )


def change(video: UInt8[np.ndarray, "t h w 3"]) -> float:
  """Mean change from a frame to the next, in levels of 255."""
  return float(np.abs(np.diff(video.astype(np.float32), axis=0)).mean()) if len(video) > 1 else 0.0


def order(sample: Sample) -> Finding:
  """Whether neighbouring frames are more alike than others of a clip; they are not if frames come in any order."""
  ratios = []
  for video in sample.videos:
    if len(video) > 3 and change(video) >= STILL:
      flat = video.reshape(len(video), -1).astype(np.float32)
      apart = [np.abs(flat[lag:] - flat[:-lag]).mean() for lag in range(1, len(flat))]
      pairs = np.arange(len(flat) - 1, 0, -1)
      ratios.append(apart[0] / np.average(apart, weights=pairs))
  if len(ratios) < 8:
    return Finding(
      "order of frames", "skipped", f"only {len(ratios)} clips of four frames or more move"
    )
  ratio = float(np.median(ratios))
  return judged(
    "order of frames",
    "wrong" if ratio > 0.95 else "fine",
    f"neighbouring frames differ {ratio:.2f} times as much as any two frames of a clip",
    "frames seem to be out of order: neighbours are no more alike than others. Look at how the videos were made, or at how a "
    "dataset of your own reads them",
  )


def lengths(experiment: Experiment, sample: Sample) -> Finding:
  """Captions that are empty, all alike, or longer than what is read."""
  empty = float(np.mean([not caption.strip() for caption in sample.captions]))
  most = collections.Counter(sample.captions).most_common(1)[0][1] / len(sample.captions)
  measured = f"{empty:.0%} are empty, {most:.0%} are the most frequent one"
  cut = 0.0
  if experiment.text.encoder:
    tokenizer = experiment.text.make_tokenizer()
    cut = float(np.mean([bool(cut_off(tokenizer, caption)) for caption in sample.captions]))
    measured += f", {cut:.0%} are longer than text.max_length={experiment.text.max_length} tokens"
  wrong = empty > 0.5 or most > 0.9
  return judged(
    "captions",
    "wrong" if wrong else "look" if empty > 0.1 or cut > 0.1 or most > 0.5 else "fine",
    measured,
    "the model cannot follow what captions do not say: write them, or raise text.max_length",
  )


def pairs(sample: Sample) -> Finding:
  """Whether captions belong to their clips; see the head of this file."""
  words = bag_of_words(sample.captions)
  if words.shape[1] < 2:
    return Finding("captions and clips", "skipped", "captions share no words")
  colours = np.stack([_colours(video) for video in sample.videos])
  found = explained(words, colours)
  rng = np.random.default_rng(0)
  chance = np.array(
    [explained(words[rng.permutation(len(words))], colours) for _ in range(PERMUTATIONS)]
  )
  limit = float(chance.max() + chance.std())
  shifted = {
    way: explained(*_neighbours(words, colours, sample.runs, step))
    for way, step in (("before", 1), ("after", -1))
  }
  way, best = max(shifted.items(), key=lambda item: item[1])
  measured = f"words explain {max(found, 0):.0%} of how the clips' colours vary, at most {max(limit, 0):.0%} if captions are dealt out at random"
  if best > limit and best > 2 * max(found, 0):
    return Finding(
      "captions and clips",
      "wrong",
      f"{measured}, and {best:.0%} with the caption of the clip {way}",
      f"captions are shifted by one: they belong to the clip {way}. Look at how files and captions are joined",
    )
  return judged(
    "captions and clips",
    "fine" if found > limit else "look",
    measured,
    "captions may not belong to their clips, or say nothing of colours: look at some (WORKDIR/samples, or the page of "
    "lumiere.curate --report)",
  )


def bag_of_words(captions: Sequence[str]) -> Float[np.ndarray, "n words"]:
  """Which words each caption has, of those that some have and some have not."""
  texts = [set(re.findall(r"\w+", caption.lower())) for caption in captions]
  counts = collections.Counter(word for text in texts for word in text)
  least = max(3, len(texts) // 100)
  known = sorted(word for word, count in counts.items() if least <= count <= len(texts) - least)
  return np.array([[float(word in text) for word in known] for text in texts]).reshape(
    len(texts), -1
  )


def _colours(video: UInt8[np.ndarray, "t h w 3"]) -> Float[np.ndarray, " areas"]:
  mean = video.astype(np.float32).mean(axis=0)[None]
  return frames.area_resize(mean, GRID, GRID).ravel()


def _neighbours(words, colours, runs, step: int):
  """Each clip with the words of the clip `step` before it in its run."""
  runs = np.asarray(runs)
  places = np.arange(len(words))
  inside = (places - step >= 0) & (places - step < len(words))
  places = places[inside]
  places = places[runs[places] == runs[places - step]]
  return words[places - step], colours[places]


def explained(words: Float[np.ndarray, "n p"], colours: Float[np.ndarray, "n q"]) -> float:
  """Share of the variance of clips that a ridge regression predicts which has not seen them."""
  errors, total = 0.0, 0.0
  for fold in range(FOLDS):
    held = np.arange(len(words)) % FOLDS == fold
    x, y = words[~held], colours[~held]
    mean_x, mean_y = x.mean(axis=0), y.mean(axis=0)
    gram = (x - mean_x).T @ (x - mean_x)
    slope = np.linalg.solve(gram + np.eye(len(gram)), (x - mean_x).T @ (y - mean_y))
    predicted = mean_y + (words[held] - mean_x) @ slope
    errors += float(np.sum((colours[held] - predicted) ** 2))
    total += float(np.sum((colours[held] - mean_y) ** 2))
  return 1 - errors / max(total, 1e-9)
