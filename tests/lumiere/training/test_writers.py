"""TensorBoard's files, read back with TensorBoard's own reader."""

import subprocess
import sys

import numpy as np
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from lumiere.training.writers import metric_writers, summary_writer


def test_what_is_written_can_be_read(tmp_path):
  pictures = np.arange(2 * 4 * 6 * 3, dtype=np.uint8).reshape(2, 4, 6, 3)
  writer = metric_writers.create_default_writer(tmp_path)
  with metric_writers.ensure_flushes(writer):
    writer.write_scalars(3, {"train/loss": 0.25})
    writer.write_scalars(5, {"train/loss": np.float32(0.125), "train/frames": 7})
    writer.write_images(5, {"samples": pictures})
    writer.write_texts(5, {"protocol": "16 frames"})
  writer.close()
  found = EventAccumulator(str(tmp_path)).Reload()
  assert [(each.step, each.value) for each in found.Scalars("train/loss")] == [
    (3, 0.25),
    (5, 0.125),
  ]
  assert [each.value for each in found.Scalars("train/frames")] == [7]
  (image,) = found.Images("samples")
  assert (image.step, image.height, image.width) == (5, 4, 2 * 6)
  (text,) = found.Tensors("protocol/text_summary")
  assert text.tensor_proto.string_val == [b"16 frames"]


def test_a_bucket_is_written_to_by_tensorflow():
  import tensorflow as tf

  writer = summary_writer("ram://bucket/run")
  writer.write_scalars(3, {"train/loss": 0.25})
  writer.close()
  (path,) = tf.io.gfile.glob("ram://bucket/run/events*")
  *_, event = tf.compat.v1.train.summary_iterator(path)
  assert (event.step, event.summary.value[0].tag) == (3, "train/loss")


def test_a_training_does_not_import_tensorflow():
  code = "import sys, lumiere.training.loop; print('tensorflow' in sys.modules)"
  done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
  assert done.stdout == "False\n"
