"""Features of many videos: batches over all devices of a process, and what was computed once is kept by checksum.

Files of the cache are `FOLDER/KEY/SHARD.npz`, where KEY stands for the backbone and for the part of the protocol that features
depend on. Several processes that see one cache folder may share the work (`shard`): the one that compares finds their rows.
"""

import dataclasses
import itertools

import jax
import numpy as np
from absl import logging
from etils import epath
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Float
from tqdm import tqdm

from lumiere import checksums
from lumiere.evaluation.metrics.backbone import Backbone
from lumiere.evaluation.metrics.folder import Video
from lumiere.evaluation.metrics.prepared import Prepared, Stored
from lumiere.evaluation.metrics.protocol import Protocol

# Rows are written this often, in batches: so much is lost with a process.
KEPT_EVERY = 20


@dataclasses.dataclass(frozen=True)
class Features:
  """Vectors of the videos that could be read.

  Attributes:
    videos: in the order of the rows.
    rows: one vector each.
    skipped: names of the others, with the reasons.
  """

  videos: tuple[Video | Stored, ...]
  rows: Float[np.ndarray, "n d"]
  skipped: dict[str, str]


def compute(
  videos: list[Video] | Prepared,
  backbone: Backbone,
  protocol: Protocol,
  *,
  batch_size: int = 8,
  cache: epath.PathLike | None = None,
  skip: bool = True,
  shard: tuple[int, int] = (0, 1),
) -> Features:
  """Features of videos, of which only one batch is in memory at a time.

  Args:
    videos: files, or a dataset.
    backbone: the network.
    protocol: which frames, and how they are resized.
    batch_size: videos at a time, over all devices.
    cache: folder of features that were computed before; None keeps none.
    skip: whether videos that cannot be read are left out with a warning; otherwise the first one raises.
    shard: (i, n): only the videos i, i + n, i + 2n, ...

  Raises:
    ValueError: if a video cannot be read and `skip` is false, or if none can.
  """
  count = len(range(shard[0], len(videos), shard[1]))
  kept = _Cache(cache, backbone, protocol, f"{shard[0]}_of_{shard[1]}")
  sums, skipped, waiting = {}, {}, []

  def make():
    if waiting:
      clips = np.stack([clip for _, clip in waiting])
      rows = rows_of(backbone, clips, batch_size, protocol.resize)
      kept.add([checksum for checksum, _ in waiting], rows)
      waiting.clear()

  for video in tqdm(
    itertools.islice(videos, shard[0], None, shard[1]), total=count, unit="video", disable=None
  ):
    try:
      checksum = video.checksum()
      if checksum not in kept.rows and checksum not in [known for known, _ in waiting]:
        clip = video.clip(protocol)
        if waiting and clip.shape != waiting[0][1].shape:
          make()  # one size at a time
        waiting.append((checksum, clip))
      sums[video.named()] = checksum
    except (ValueError, OSError) as error:
      if not skip:
        raise ValueError(str(error)) from error
      logging.warning("left out: %s", error)
      skipped[video.name] = str(error)
    if len(waiting) == batch_size:
      make()
  make()
  kept.write()
  if not sums:
    why = next(iter(skipped.values()), "there are fewer videos than shards")
    raise ValueError(f"none of the {count} videos can be used: {why}")
  return Features(
    tuple(sums), np.stack([kept.rows[checksum] for checksum in sums.values()]), skipped
  )


def rows_of(backbone: Backbone, clips, batch_size: int, kind: str):
  """Rows of a batch that is filled up to one size, so that it is compiled once, and split over the devices."""
  devices = jax.local_devices()
  size = -(-max(batch_size, len(clips)) // len(devices)) * len(devices)
  padded = np.concatenate([clips, np.repeat(clips[-1:], size - len(clips), axis=0)])
  sharding = NamedSharding(Mesh(np.array(devices), ("data",)), PartitionSpec("data"))
  rows = backbone.compute(jax.device_put(padded.astype(np.float32), sharding), kind)
  return np.asarray(rows)[: len(clips)]


class _Cache:
  """Rows by the checksums of the videos: those of all files, of which this process writes its own."""

  def __init__(
    self, folder: epath.PathLike | None, backbone: Backbone, protocol: Protocol, part: str
  ):
    self.rows, self._own, self._new, self._path = {}, {}, 0, None
    if folder is None:
      return
    what = [backbone.name, backbone.checksum, dataclasses.asdict(protocol.of_features)]
    folder = epath.Path(folder) / checksums.digest(what)
    folder.mkdir(parents=True, exist_ok=True)
    self._path = folder / f"{part}.npz"
    for path in sorted(folder.glob("*.npz")):
      with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
        rows = dict(zip(stored["checksums"].tolist(), stored["rows"], strict=True))
      self.rows |= rows
      if path == self._path:
        self._own = rows

  def add(self, names: list[str], rows: Float[np.ndarray, "n d"]):
    made = dict(zip(names, rows, strict=True))
    self.rows |= made
    self._own |= made
    self._new += 1
    if self._new % KEPT_EVERY == 0:
      self.write()

  def write(self):
    """Writes the own rows, beside the file first."""
    if self._path is None or not self._new:
      return
    beside = self._path.parent / f".{self._path.name}"
    with beside.open("wb") as file:
      np.savez(file, checksums=np.array(list(self._own)), rows=np.stack(list(self._own.values())))
    beside.replace(self._path)
