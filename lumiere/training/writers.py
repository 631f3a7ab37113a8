"""CLU's writers and hooks, without importing TensorFlow.

CLU's own writer of TensorBoard's files is the one thing in a training that needs TensorFlow, and `clu.metric_writers` imports it
at once: two thirds of a training's imports. tensorboardX writes the same files. TensorFlow is left to what it alone does
here, which is to write to a bucket.
"""

import importlib
import sys
import types
from collections.abc import Mapping

import numpy as np
import tensorboardX

CLU_MODULE = "clu.metric_writers.tf.summary_writer"


class EventWriter:
  """In place of CLU's `SummaryWriter`, with the methods that are used here.

  Attributes:
    logdir: the folder on this machine that events go to.
  """

  def __init__(self, logdir: str):
    self._writer = tensorboardX.SummaryWriter(logdir)

  def write_scalars(self, step: int, scalars: Mapping[str, float | np.number | np.ndarray]):
    """Numbers by tag."""
    for tag, value in scalars.items():
      self._writer.add_scalar(tag, np.asarray(value), step)

  def write_images(self, step: int, images: Mapping[str, np.ndarray]):
    """Pictures by tag, n h w c, uint8 or floats in [0, 1]."""
    for tag, pictures in images.items():
      self._writer.add_images(tag, np.asarray(pictures), step, dataformats="NHWC")

  def write_texts(self, step: int, texts: Mapping[str, str]):
    """Markdown by tag."""
    for tag, text in texts.items():
      self._writer.add_text(tag, text, step)

  def flush(self):
    """Writes what waits to the disk."""
    self._writer.flush()

  def close(self):
    """Closes the file."""
    self._writer.close()


def summary_writer(logdir: str):
  """The writer of a folder: on this machine, or in a bucket (gs://...)."""
  if "://" not in logdir:
    return EventWriter(logdir)
  sys.modules.pop(CLU_MODULE, None)
  return importlib.import_module(CLU_MODULE).SummaryWriter(logdir)


# What `clu.metric_writers` finds where its own module would be.
sys.modules[CLU_MODULE] = types.ModuleType(CLU_MODULE)
sys.modules[CLU_MODULE].SummaryWriter = summary_writer

from clu import metric_writers, periodic_actions  # noqa: E402

__all__ = ["metric_writers", "periodic_actions"]
