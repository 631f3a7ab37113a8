"""The speed of a run between two reports."""

import contextlib
import time
from collections.abc import Iterator, Mapping

import jax

from lumiere.sizes import Size
from lumiere.training.flops import PEAK_FLOPS


class Throughput:
  """Counts steps and seconds; time that is spent on neither steps nor loading, such as evaluation, is excluded."""

  def __init__(self, frames_per_step: int, flops_per_step: Mapping[Size, float]):
    """Frames (or images) of a step, and model operations by the size of its frames; both over all devices."""
    self.frames, self.flops = frames_per_step, flops_per_step
    self.reset()

  def reset(self):
    """Starts counting from zero."""
    self._start, self._steps, self._operations = time.perf_counter(), 0, 0.0
    self._loading, self._outside = 0.0, 0.0

  @contextlib.contextmanager
  def loading(self) -> Iterator[None]:
    """Time in this block is spent waiting for data."""
    begun = time.perf_counter()
    yield
    self._loading += time.perf_counter() - begun

  def count(self, size: Size):
    """Counts a step on frames of that size."""
    self._steps += 1
    self._operations += self.flops[size]

  @contextlib.contextmanager
  def outside(self) -> Iterator[None]:
    """Time in this block is not counted as training."""
    begun = time.perf_counter()
    yield
    self._outside += time.perf_counter() - begun

  def scalars(self) -> dict[str, float]:
    """Steps and frames per second, the share of time spent waiting for data, and the utilisation of the devices.

    Call it when the result of the last step is there. It starts counting from zero again. Without a step there is nothing.
    """
    seconds, steps = time.perf_counter() - self._start - self._outside, self._steps
    per_device = self._operations / seconds / jax.device_count()
    values = {
      "steps_per_second": steps / seconds,
      "frames_per_second": steps * self.frames / seconds,
      "data_wait_share": self._loading / seconds,
      "tflops_per_device": per_device / 1e12,
    }
    peak = PEAK_FLOPS.get(jax.devices()[0].device_kind)
    if peak:
      values["utilization"] = per_device / peak
    self.reset()
    return values if steps else {}
