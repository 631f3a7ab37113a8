"""FVD and KVD while a base trains: what its averaged weights make of held-out captions, against the clips they belong to.

The same captions are sampled with the same noise every time, with `config.sampling`. Videos are compared as the network makes
them: all frames, no other size.
"""

import dataclasses

import jax
import numpy as np
from absl import logging
from jaxtyping import Float

from lumiere import processes, user_cache
from lumiere.data import frames, sources
from lumiere.evaluation.metrics import compare, features, i3d_weights
from lumiere.evaluation.metrics.protocol import Protocol
from lumiere.experiment import Experiment
from lumiere.sampling import cascade
from lumiere.sampling.generator import Generator, SamplingError
from lumiere.training import samples
from lumiere.training.log import say
from lumiere.training.writers import metric_writers


class Evaluator:
  """Evaluates a run, as its config says."""

  def __init__(self, experiment: Experiment):
    """Raises ValueError if I3D's weights are not there, the held-out split has too few clips, or clips are too short."""
    config, data = experiment.evaluation, experiment.data
    source = sources.make_source(data, "validation")
    if len(source) < config.num_videos:
      raise ValueError(
        f"config.evaluation.num_videos={config.num_videos}: the held-out split has {len(source)} clips"
      )
    self._experiment, self._reference = experiment, None
    self._protocol = Protocol(num_frames=data.num_frames, crop=False)
    path = config.i3d or user_cache.folder() / i3d_weights.NAME
    self._backbone = i3d_weights.load_backbone(path)
    shape = (1, data.num_frames, *data.size, 3)
    compute = lambda clips: self._backbone.compute(clips, self._protocol.resize)
    try:
      jax.eval_shape(compute, jax.ShapeDtypeStruct(shape, np.float32))
    except ValueError as error:
      raise ValueError(f"config.evaluation.every={config.every} must be 0 here: {error}") from error

  def report(self, generator: Generator, writer: metric_writers.MetricWriter):
    """Samples in all processes; the first one compares, prints each figure with its protocol, and writes it.

    Where samples are not finite there are no figures, and training goes on.
    """
    try:
      rows = self._sampled_rows(generator)
    except SamplingError as error:  # in all processes
      logging.warning("No evaluation at step %d: %s", generator.step, error)
      return
    if not processes.is_first():
      return
    if self._reference is None:
      self._reference = self._true_rows()
    for metric in self._experiment.evaluation.metrics:
      figure = compare.compare(metric, rows, self._reference, self._protocol, self._backbone.title)
      figure = dataclasses.replace(figure, protocol=f"{figure.protocol}; uncompressed")
      say(f"step {generator.step}: {figure}")
      writer.write_scalars(generator.step, {f"evaluation/{metric}": figure.value})
      writer.write_texts(generator.step, {f"evaluation/{metric}_protocol": figure.protocol})

  def _sampled_rows(self, generator: Generator) -> Float[np.ndarray, "n d"] | None:
    """Features of samples, in the first process."""
    rows = []
    for first, batch in self._batches():
      shape = batch["video"].shape
      keys = cascade.example_keys(self._experiment.seed, first, shape[0])
      sampled = generator.sample(generator.encode_batch(batch), shape[1:], keys)
      made = processes.whole(sampled)
      if processes.is_first():
        rows.append(self._rows(made))
    return self._cut(rows) if rows else None

  def _true_rows(self) -> Float[np.ndarray, "n d"]:
    """Features of the held-out clips."""
    return self._cut([self._rows(batch["video"]) for _, batch in self._batches()])

  def _cut(self, rows: list) -> Float[np.ndarray, "n d"]:
    return np.concatenate(rows)[: self._experiment.evaluation.num_videos]

  def _batches(self):
    """(index of its first clip, batch) of the held-out split, the same in every process."""
    count = self._experiment.evaluation.num_videos
    size = min(self._experiment.train.batch_size, count)
    batches = samples.held_out_batches(self._experiment, size)
    return zip(range(0, count, size), batches, strict=False)

  def _rows(self, clips: Float[np.ndarray, "b t h w 3"]) -> Float[np.ndarray, "b d"]:
    """Features of clips in [-1, 1], rounded as files would have them."""
    pictures = frames.to_uint8(np.asarray(clips))
    return features.rows_of(self._backbone, pictures, len(pictures), self._protocol.resize)
