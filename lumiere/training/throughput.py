"""How fast a run is, between two reports: what every line of the log says beside the loss."""

import contextlib
import time

import jax

from lumiere.training.flops import PEAK_FLOPS


class Throughput:
  """Counts steps and seconds; time that is neither stepping nor loading, such as evaluation, is left out."""

  def __init__(self, frames_per_step: int, flops_per_step: float):
    """A step's frames (pictures, for an image stage) and the operations of its model, over all devices."""
    self.frames, self.flops = frames_per_step, flops_per_step
    self.reset()

  def reset(self):
    """Begins anew."""
    self._start, self._steps, self._loading, self._outside = time.perf_counter(), 0, 0.0, 0.0

  def next(self, batches):
    """The next batch; the step that it is for counts from here."""
    begun = time.perf_counter()
    batch = next(batches)
    self._loading += time.perf_counter() - begun
    self._steps += 1
    return batch

  @contextlib.contextmanager
  def outside(self):
    """What happens in this block is not training."""
    begun = time.perf_counter()
    yield
    self._outside += time.perf_counter() - begun

  def scalars(self) -> dict[str, float]:
    """Steps and frames a second, the share of time that was spent waiting for data, and the use of the devices.

    To be called when the last step's result is there; begins anew.
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
