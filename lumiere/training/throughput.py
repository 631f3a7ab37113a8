"""The speed of a run between two reports."""

import contextlib
import time

import jax

from lumiere.training.flops import PEAK_FLOPS


class Throughput:
  """Counts steps and seconds; time that is spent on neither steps nor loading, such as evaluation, is excluded."""

  def __init__(self, frames_per_step: int, flops_per_step: float):
    """Frames (or images) and model operations of a step, over all devices."""
    self.frames, self.flops = frames_per_step, flops_per_step
    self.reset()

  def reset(self):
    """Starts counting from zero."""
    self._start, self._steps, self._loading, self._outside = time.perf_counter(), 0, 0.0, 0.0

  def next(self, batches):
    """The next batch; its step is counted from here on."""
    begun = time.perf_counter()
    batch = next(batches)
    self._loading += time.perf_counter() - begun
    self._steps += 1
    return batch

  @contextlib.contextmanager
  def outside(self):
    """Time in this block is not counted as training."""
    begun = time.perf_counter()
    yield
    self._outside += time.perf_counter() - begun

  def scalars(self) -> dict[str, float]:
    """Steps and frames per second, the share of time spent waiting for data, and the utilisation of the devices.

    Call it when the result of the last step is there. It starts counting from zero again.
    """
    seconds = time.perf_counter() - self._start - self._outside
    rate = self._steps / seconds
    per_device = rate * self.flops / jax.device_count()
    values = {
      "steps_per_second": rate,
      "frames_per_second": rate * self.frames,
      "data_wait_share": self._loading / seconds,
      "tflops_per_device": per_device / 1e12,
    }
    peak = PEAK_FLOPS.get(jax.devices()[0].device_kind)
    if peak:
      values["utilization"] = per_device / peak
    self.reset()
    return values
