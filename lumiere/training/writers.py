"""CLU's writers and hooks, also where TensorFlow is not installed.

CLU writes TensorBoard's files with TensorFlow and cannot be imported without it, although its other writers need none. An endless
world needs no TensorFlow either, and a bare GPU machine has none: there, scalars go to the log only.
"""

import importlib.util
import sys
import types

from absl import logging


class NoSummaries:
  """In place of CLU's `SummaryWriter`, with its methods: takes everything and writes nothing."""

  def __init__(self, logdir: str):
    logging.warning("TensorFlow is not installed: no TensorBoard files are written to %s", logdir)

  def _nothing(self, *args, **kwargs):
    pass

  write_summaries = write_scalars = write_images = write_videos = write_audios = _nothing
  write_texts = write_histograms = write_hparams = flush = close = _nothing


if importlib.util.find_spec("tensorflow") is None:
  stand_in = types.ModuleType("clu.metric_writers.tf.summary_writer")
  stand_in.SummaryWriter = NoSummaries
  sys.modules[stand_in.__name__] = stand_in

from clu import metric_writers, periodic_actions  # noqa: E402

__all__ = ["metric_writers", "periodic_actions"]
