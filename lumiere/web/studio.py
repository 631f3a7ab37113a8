"""What the page does, without the page: checks uploads and jobs, queues jobs, runs the cascade, cancels."""

import contextlib
import dataclasses
import functools
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from etils import epath
from jaxtyping import Bool, UInt8

from lumiere.data import frames
from lumiere.data.frames import pictures
from lumiere.sampling.cascade import Cascade
from lumiere.sampling.given import Fitting, check_same_size
from lumiere.sizes import as_text

MAX_UPLOAD = 10 * 2**20
MAX_PIXELS = 16_000_000
MAX_PROMPT = 500
MAX_STEPS = 1000
MAX_WAITING = 16
# Text-to-video clips may be this many times longer than the training clips.
MAX_LENGTH = 4
# Shortest side of an image in the editor, in pixels.
CANVAS = 512


class Cancelled(Exception):
  """A job was cancelled."""


class Job(NamedTuple):
  """A request for a video.

  Attributes:
    prompt: the caption.
    picture: an image to animate, from `Studio.read_picture`; None for text to video.
    layers: drawings over the image, [h w 4]; only what they cover moves. Without any, all of the image may move.
    seed: random seed.
    num_frames: frames of the video; None for the length of the training clips.
    num_steps: sampler steps of the base; None for the steps in its config.
    strength: of the style, in [0, 1].
  """

  prompt: str
  picture: UInt8[np.ndarray, "h w 3"] | None = None
  layers: Sequence[UInt8[np.ndarray, "_h _w 4"]] = ()
  seed: int = 0
  num_frames: int | None = None
  num_steps: int | None = None
  strength: float | int = 0.0


class Progress(NamedTuple):
  """The state of a job.

  Attributes:
    ahead: jobs that run before this one; 0 once it runs.
    title: the stage of the cascade.
    done: finished steps of that stage.
    total: all steps of that stage; 0 before the first stage.
    compiling: whether the current step has to be compiled first.
    cancelling: whether the job was cancelled and ends after the current step.
  """

  ahead: int = 0
  title: str = ""
  done: int = 0
  total: int = 0
  compiling: bool = False
  cancelling: bool = False


class _Queued(NamedTuple):
  """A job in the queue: the function that reports its progress, and the event that cancels it."""

  show: Callable[[Progress], Any]
  stop: threading.Event


class Studio:
  """A cascade that runs one job at a time and queues the others."""

  def __init__(self, cascade: Cascade, style: epath.PathLike | None = None):
    """Wraps a cascade.

    Args:
      cascade: generates the videos.
      style: workdir of a style for its base.

    Raises:
      ValueError: if the style has another network than the base.
    """
    self.cascade, self.style = cascade, style
    # One job per session, in order of arrival; the first one runs.
    self._queue: dict[str, _Queued] = {}
    self._changed = threading.Condition()
    self._compiled = set()
    if style is not None:
      self.styled(0.5)  # fails here, not at the first job, if the style does not fit

  @property
  def animates(self) -> bool:
    """Whether the base can animate images."""
    return self.cascade.base.experiment.masks is not None

  @property
  def style_name(self) -> str:
    """The name of the style's workdir; "" without a style."""
    return epath.Path(self.style).name if self.style else ""

  # A styled base is as large as the base: keep two, to switch between them.
  @functools.lru_cache(maxsize=2)  # noqa: B019 (a studio lives as long as its process)
  def styled(self, strength: float | int) -> Cascade:
    """The cascade with a style of this strength; at 0 the cascade itself."""
    if self.style is None or strength == 0:
      return self.cascade
    return self.cascade.restyle(self.style, strength)

  def read_picture(self, path: str) -> UInt8[np.ndarray, "h w 3"]:
    """An uploaded image as the cascade sees it: the middle at the cascade's resolution, enlarged for the editor.

    Raises:
      ValueError: if the file is too large or not a readable image.
    """
    name = os.path.basename(path)
    if (size := os.path.getsize(path)) > MAX_UPLOAD:
      raise ValueError(f"{name} has {size / 2**20:.1f} MiB; the limit is {MAX_UPLOAD // 2**20} MiB")
    try:
      with pictures.open_file(path) as file:
        image = pictures.identify(file)
        if image is None:
          formats = ", ".join(pictures.FORMATS)
          raise frames.UnreadableError(f"no picture in it; one of {formats} is needed")
        width, height = image.size
        if width * height > MAX_PIXELS:
          raise frames.UnreadableError(
            f"it has {height}x{width} pixels; the limit is {MAX_PIXELS / 1e6:g} million"
          )
        picture = pictures.to_rgb(image, name)
    except frames.UnreadableError as error:
      raise ValueError(f"{name} cannot be read as a picture: {error}") from error
    fitting = Fitting(picture.shape[:2], self.cascade.resolution)
    return frames.enlarge(fitting.frame(picture), CANVAS)

  def make(
    self, job: Job, session: str, show: Callable[[Progress], Any]
  ) -> UInt8[np.ndarray, "t h w 3"]:
    """Generates a video, after the jobs that came earlier.

    Args:
      job: what to generate.
      session: identifies the job for `cancel`.
      show: called when the job moves up in the queue and before every sampler step; must not block.

    Raises:
      ValueError: if the job is invalid, the queue is full, or the session has a job already.
      Cancelled: if the job was cancelled, after the current step.
    """
    self.check(job)
    with self._turn(session, show) as stop:

      def progress(steps: Iterable[int], desc: str) -> Iterator[int]:
        steps = list(steps)
        program = (
          desc,
          self.count(job),
          job.picture is not None,
        )  # all that array shapes depend on
        for done, step in enumerate(steps):
          with self._changed:  # no step is shown after a cancellation
            if stop.is_set():
              raise Cancelled
            show(Progress(0, desc, done, len(steps), program not in self._compiled))
          yield step
          self._compiled.add(program)

      return self._make(self.styled(job.strength), job, progress)

  def cancel(self, session: str) -> bool:
    """Cancels the session's job, waiting or running; returns whether there was one."""
    with self._changed:
      if (queued := self._queue.get(session)) is None:
        return False
      queued.stop.set()
      queued.show(Progress(cancelling=True))
      self._changed.notify_all()
      return True

  def close(self):
    """Cancels all jobs."""
    with self._changed:
      for session in self._queue:
        self.cancel(session)

  def count(self, job: Job) -> int:
    """Frames of the job's video."""
    return job.num_frames or self.cascade.num_frames

  def describe(self, job: Job) -> str:
    """What a job generates, and what it ignores, in one line."""
    size = as_text(self.cascade.resolution)
    about = f"{self.count(job)} frames of {size} pixels, seed {job.seed}"
    if self.style is not None:
      about += f", style {self.style_name} at {job.strength:g}"
    if rest := self.cascade.base.cut_off(job.prompt):
      about += f"; the prompt is too long for the model, its end is not read: {rest!r}"
    return about

  def check(self, job: Job):
    """Raises ValueError if a job cannot be run."""
    if not job.prompt.strip():
      raise ValueError("the prompt is blank: describe the video")
    if len(job.prompt) > MAX_PROMPT:
      raise ValueError(f"the prompt has {len(job.prompt)} characters; the limit is {MAX_PROMPT}")
    if not 0 <= job.seed < 2**32:
      raise ValueError(f"the seed {job.seed} must be between 0 and {2**32 - 1}")
    most = self.cascade.num_frames * (1 if job.picture is not None else MAX_LENGTH)
    if not 1 <= (count := self.count(job)) <= most:
      what = "an animated image" if job.picture is not None else "a video"
      raise ValueError(f"{what} has up to {most} frames, not {count}")
    if job.num_steps is not None and not 1 <= job.num_steps <= MAX_STEPS:
      raise ValueError(f"{job.num_steps} steps: must be between 1 and {MAX_STEPS}")
    if job.picture is not None and not self.animates:
      raise ValueError("this model generates from text only, it cannot animate images")

  @contextlib.contextmanager
  def _turn(self, session: str, show: Callable[[Progress], Any]) -> Iterator[threading.Event]:
    """Queues a job and waits for its turn; gives the event that cancels it."""
    stop = threading.Event()
    with self._changed:
      if session in self._queue:
        raise ValueError("your previous video is not finished: wait for it or cancel it")
      if len(self._queue) > MAX_WAITING:
        raise ValueError(f"the queue is full, {MAX_WAITING} videos are waiting: try again later")
      self._queue[session] = _Queued(show, stop)
    try:
      with self._changed:
        ahead = None
        while ahead != 0 and not stop.is_set():
          if (now := list(self._queue).index(session)) != ahead:
            show(Progress(ahead := now))
          if ahead != 0:
            self._changed.wait()
      if not stop.is_set():
        yield stop
    finally:
      with self._changed:
        del self._queue[session]
        self._changed.notify_all()
    if stop.is_set():
      raise Cancelled

  def _make(self, cascade: Cascade, job: Job, progress) -> UInt8[np.ndarray, "t h w 3"]:
    own = cascade.base.experiment.sampling
    sampling = dataclasses.replace(own, num_steps=job.num_steps or own.num_steps)
    options = {"seed": job.seed, "sampling": sampling, "progress": progress}
    count = self.count(job)
    if job.picture is None:
      return cascade.extend([job.prompt], count, **options)[0]
    moving = drawn(job.layers, job.picture.shape[:2])
    options |= {"moving": moving, "num_frames": count}
    return cascade.animate([job.prompt], [job.picture], **options)[0]


def drawn(
  layers: Sequence[UInt8[np.ndarray, "_h _w 4"]], size: Sequence[int]
) -> Bool[np.ndarray, "h w"] | None:
  """The part of an image that is painted over; None if there is none.

  Raises:
    ValueError: if a layer has another size than the image.
  """
  region = np.zeros(tuple(size), bool)
  for layer in layers:
    check_same_size("drawing", layer.shape[:2], size)
    region |= layer[..., 3] > 0
  return region if region.any() else None
