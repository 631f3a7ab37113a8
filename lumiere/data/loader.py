"""Batches from a random-access source of examples, with Grain.

The source is put in one global order, the same in every process: shuffled anew in each epoch, epochs one after another.
Examples of several sizes are in groups, and each batch is of one group (`buckets.py`).
Of each `batch_size` consecutive examples of that order, process p of P takes the p-th of P equal runs. So

- the examples of a batch, and their rows in it, depend neither on the number of processes nor on the number of workers;
  nor do the random choices in its transforms, which Grain seeds by the place in the order;
- the state of an iterator is that place, one number, and the same in every process.

Examples are dicts of numpy arrays and bytes. Batches hold what networks take and nothing else:

    video [b t h w 3] or image [b h w 3]         float32 in [-1, 1]
    tokens [b l] and mask [b l]                  int32 and bool
    text [b l d] and text_mask [b l]   instead of tokens, where the dataset brings them
"""

import dataclasses
import functools
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import grain
import jax
import numpy as np

from lumiere.data import frames
from lumiere.data.buckets import GroupedOrder, Indices
from lumiere.sizes import Size, as_text
from lumiere.text import TEXT_KEYS
from lumiere.text.tokenize import ByteTokenizer

BATCH_KEYS = ("video", "image", "tokens", "mask", *TEXT_KEYS)
Element = Mapping[str, Any]

# Batches that are made ahead: few, for one of clips may take a gigabyte.
READING = grain.ReadOptions(num_threads=2, prefetch_buffer_size=2)


class Batches(grain.DatasetIterator):
  """Batches of one process. `get_state()` is the place in the global order, which `set_state` goes to."""

  def __init__(
    self, examples: grain.MapDataset, batch_size: int, index: int, count: int, num_workers: int
  ):
    super().__init__()
    self._examples, self._batch_size, self._num_workers = examples, batch_size, num_workers
    self._index, self._count = index, count
    self._next_example = 0

  @functools.cached_property
  def _iterator(self) -> Iterator[dict[str, np.ndarray]]:
    runs = self._examples[self._next_example :].batch(
      self._batch_size // self._count, drop_remainder=True
    )
    mine = runs[self._index :: self._count].to_iter_dataset(READING)
    if self._num_workers:
      workers = grain.MultiprocessingOptions(num_workers=self._num_workers)
      mine = mine.mp_prefetch(workers, worker_init_fn=follow_parent)
    return iter(mine)

  def __next__(self) -> dict[str, np.ndarray]:
    batch = next(self._iterator)
    self._next_example += self._batch_size
    return batch

  def get_state(self) -> dict[str, int]:
    """One number, the same in every process."""
    return {"next_example": self._next_example}

  def set_state(self, state: Mapping[str, int]):
    """Goes to the place of an earlier `get_state()`."""
    self.close()
    self._next_example = state["next_example"]

  def close(self):
    """Ends the workers, if there are any; the next batch starts others."""
    if iterator := self.__dict__.pop("_iterator", None):
      iterator.close()


def follow_parent(_worker: int, _workers: int):
  """The first thing in a worker: signals are left to the process that trains, and when that ends, so does this.

  A terminal's Ctrl-C and a machine's shutdown signal all processes at once: the one that trains still takes batches until
  its step is saved. One that is killed takes nobody with it, and its workers would wait for it for ever.
  """
  for number in (signal.SIGTERM, signal.SIGINT):
    signal.signal(number, signal.SIG_IGN)

  def leave():
    multiprocessing.parent_process().join()
    os._exit(1)

  threading.Thread(target=leave, daemon=True).start()


class Loader:
  """Batches of this process; every `iter()` begins at the first one."""

  def __init__(
    self, examples: grain.MapDataset, batch_size: int, index: int, count: int, num_workers: int
  ):
    self._settings = (examples, batch_size, index, count, num_workers)

  def __iter__(self) -> Batches:
    return Batches(*self._settings)


def make_loader(
  source: Sequence,
  *,
  batch_size: int,
  seed: int,
  shuffle: bool,
  groups: Sequence[Indices] | None = None,
  num_workers: int = 0,
  transforms: Sequence[grain.transforms.Map | grain.transforms.RandomMap] = (),
  process_index: int | None = None,
  process_count: int | None = None,
) -> Loader:
  """Builds the loader that the head of this file describes.

  Args:
    source: examples by index, with a length; `builder.as_data_source(split)` is one. It is gone through again and again.
    batch_size: examples of a batch over all processes; this process gets its part.
    seed: of the order and of the random transforms.
    shuffle: whether the order is a new permutation in each epoch, or the source's own.
    groups: indices of the examples that may share a batch; None if all may.
    num_workers: processes that make batches ahead; 0 uses threads of this one. Workers need parsed absl flags and a main
      module that does its work under `if __name__ == "__main__"`.
    transforms: applied to each example, in turn; picklable if there are workers.
    process_index: by default this JAX process.
    process_count: by default the number of JAX processes.

  Raises:
    ValueError: if there is no example, or batches cannot be shared out evenly.
  """
  index = jax.process_index() if process_index is None else process_index
  count = jax.process_count() if process_count is None else process_count
  if batch_size < 1 or batch_size % count:
    raise ValueError(
      f"batch_size={batch_size} must be a positive multiple of the {count} processes"
    )
  if num_workers < 0:
    raise ValueError(f"num_workers={num_workers} must be 0 or more")
  order = GroupedOrder(groups or [range(len(source))], batch_size, seed, shuffle)
  examples = grain.MapDataset.source(order).seed(seed).map(source.__getitem__)
  examples = grain.experimental.apply_transformations(examples, [*transforms, KeepInputs()])
  return Loader(examples, batch_size, index, count, num_workers)


@dataclasses.dataclass(frozen=True)
class ToClip(grain.transforms.RandomMap):
  """uint8 `video` [t h w 3] -> a random run of `num_frames` frames, as float32 in [-1, 1].

  With one frame the entry becomes `image` [h w 3]: a random frame, for the image stages.

  Attributes:
    num_frames: of the run.
    size: height and width that clips are fitted to: the middle is kept, and area-averaged. None: clips have theirs.
  """

  num_frames: int
  size: Size | None = None

  def random_map(self, element: Element, rng: np.random.Generator) -> dict[str, Any]:
    """Raises ValueError if the clip is too short or too small."""
    rest = dict(element)
    video = rest.pop("video")  # an array, or an `EncodedClip`
    spare = len(video) - self.num_frames
    if spare < 0:
      raise ValueError(
        f"num_frames={self.num_frames} must be at most {len(video)}, the length of the dataset's clips"
      )
    start = rng.integers(spare + 1)
    clip = frames.to_float(video[start : start + self.num_frames])
    if self.size is not None:
      if any(np.greater(self.size, clip.shape[1:3])):
        raise ValueError(
          f"resolution={as_text(self.size)} must be at most {as_text(clip.shape[1:3])}, the size of the dataset's clips"
        )
      clip = frames.area_resize(frames.middle(clip, *self.size), *self.size)
    return rest | ({"image": clip[0]} if self.num_frames == 1 else {"video": clip})


@dataclasses.dataclass(frozen=True)
class Tokenize(grain.transforms.Map):
  """`caption`, text or UTF-8 bytes -> `tokens` and `mask`; an example with `text`, its states, stays as it is."""

  tokenizer: ByteTokenizer

  def map(self, element: Element) -> dict[str, Any]:
    """Tokenizes one caption."""
    rest = dict(element)
    if "text" in rest:
      return rest
    caption = rest.pop("caption")
    tokens = self.tokenizer(
      [caption.decode("utf-8") if isinstance(caption, bytes) else str(caption)]
    )
    return rest | {name: rows[0] for name, rows in tokens.items()}


class KeepInputs(grain.transforms.Map):
  """Leaves out captions and metadata: what is no input of a network."""

  def map(self, element: Element) -> dict[str, Any]:
    """Keeps the entries that the head of this file names."""
    return {name: element[name] for name in BATCH_KEYS if name in element}
