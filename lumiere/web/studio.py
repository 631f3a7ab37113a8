"""What the page's buttons do, without the page: checks what came in, asks the cascade, stops when told to."""

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
from lumiere.sampling.given import check_same_size, fit_video

MAX_UPLOAD = 10 * 2**20
MAX_PIXELS = 16_000_000
MAX_PROMPT = 500
MAX_STEPS = 1000
MAX_WAITING = 16
# Clips of text may be so many times longer than those that the base was trained on.
MAX_LENGTH = 4
# Pictures are shown this wide or wider to be painted on.
CANVAS = 512


class Cancelled(Exception):
  """Somebody wants it no longer."""


class Order(NamedTuple):
  """What somebody asks for.

  Attributes:
    prompt: what to show.
    picture: as `Studio.read_picture` gave it, to be animated; None for text to video.
    layers: drawings over the picture, [h w 4]: only where something is drawn it moves; if nothing is drawn, all of it does.
    seed: of all noise.
    num_frames: frames of the video.
    num_steps: sampler steps of the base.
    strength: of the style, in [0, 1].
  """

  prompt: str
  picture: UInt8[np.ndarray, "side side 3"] | None = None
  layers: Sequence[UInt8[np.ndarray, "_h _w 4"]] = ()
  seed: int = 0
  num_frames: int | None = None
  num_steps: int | None = None
  strength: float | int = 0.0


class Report(NamedTuple):
  """How far an order has come.

  Attributes:
    before: orders that are made first; 0 when it is this one's turn.
    title: what is being made of it.
    done: steps of that which are done.
    total: of how many.
    compiles: whether the next step waits for a program to be compiled.
    stops: whether the order was cancelled; it ends before its next step.
  """

  before: int = 0
  title: str = ""
  done: int = 0
  total: int = 0
  compiles: bool = False
  stops: bool = False


class _Place(NamedTuple):
  """A session's place in the line: what it is shown, and what stops its order."""

  show: Callable[[Report], Any]
  stop: threading.Event


class Studio:
  """A cascade that works on one order at a time; the others wait in line."""

  def __init__(self, cascade: Cascade, style: epath.PathLike | None = None):
    """A studio around a cascade.

    Args:
      cascade: what makes the videos.
      style: workdir of a style for its base.

    Raises:
      ValueError: if the style's network is not that of the base.
    """
    self.cascade, self.style = cascade, style
    # Sessions in the order in which they came; it is the first one's turn.
    self._line: dict[str, _Place] = {}
    self._moves = threading.Condition()
    self._compiled = set()
    if style is not None:
      self.styled(0.5)  # a style that does not fit is known before anybody waits for it

  @property
  def animates(self) -> bool:
    """Whether the base can be given pictures."""
    return self.cascade.base.experiment.masks is not None

  @property
  def style_name(self) -> str:
    """What the style is called: the name of its workdir; "" without one."""
    return epath.Path(self.style).name if self.style else ""

  # A styled base is as large as the base: the last two are kept, to go back and forth between.
  @functools.lru_cache(maxsize=2)  # noqa: B019 (a studio lives as long as its process)
  def styled(self, strength: float | int) -> Cascade:
    """The cascade at a strength of the style; at 0 it is the cascade itself."""
    if self.style is None or strength == 0:
      return self.cascade
    return self.cascade.restyle(self.style, strength)

  def read_picture(self, path: str) -> UInt8[np.ndarray, "side side 3"]:
    """An uploaded file as the cascade will see it, its middle square at the videos' resolution, with pixels enlarged to be seen.

    Raises:
      ValueError: if it is too large or no picture.
    """
    name = os.path.basename(path)
    if (size := os.path.getsize(path)) > MAX_UPLOAD:
      raise ValueError(
        f"{name} has {size / 2**20:.1f} MiB; pictures of up to {MAX_UPLOAD // 2**20} MiB are taken"
      )
    try:
      with pictures.open_file(path) as file:
        image = pictures.identify(file)
        if image is None:
          raise frames.UnreadableError(
            f"there is none in it, whatever its name says; one of {', '.join(pictures.FORMATS)} is needed"
          )
        width, height = image.size
        if width * height > MAX_PIXELS:
          raise frames.UnreadableError(
            f"it has {width}x{height} pixels; up to {MAX_PIXELS / 1e6:g} million are taken"
          )
        picture = pictures.to_rgb(image, name)
    except frames.UnreadableError as error:
      raise ValueError(f"{name} cannot be read as a picture: {error}") from error
    return frames.enlarge(fit_video(picture[None], self.cascade.resolution)[0], CANVAS)

  def make(
    self, order: Order, session: str, show: Callable[[Report], Any]
  ) -> UInt8[np.ndarray, "t h w 3"]:
    """Makes a video; who comes while another is made waits.

    Args:
      order: what to make.
      session: whose order it is, for `cancel`.
      show: is called whenever the line moves, and before every sampler step; not to wait for anything.

    Raises:
      ValueError: if it cannot be made, too many wait, or the session has an order already.
      Cancelled: if it was cancelled; between two steps at the latest.
    """
    self.check(order)
    with self._turn(session, show) as stop:

      def progress(steps: Iterable[int], desc: str) -> Iterator[int]:
        steps = list(steps)
        # What the shapes of a program's arrays depend on.
        program = (desc, self.count(order), order.picture is not None)
        for done, step in enumerate(steps):
          with self._moves:  # whose order is cancelled is shown no step after that
            if stop.is_set():
              raise Cancelled
            show(Report(0, desc, done, len(steps), program not in self._compiled))
          yield step
          self._compiled.add(program)

      return self._make(self.styled(order.strength), order, progress)

  def cancel(self, session: str) -> bool:
    """Takes the session's order out of the line, or stops it before its next step; whether there was one."""
    with self._moves:
      if (place := self._line.get(session)) is None:
        return False
      place.stop.set()
      place.show(Report(stops=True))
      self._moves.notify_all()
      return True

  def close(self):
    """Cancels all orders."""
    with self._moves:
      for session in self._line:
        self.cancel(session)

  def count(self, order: Order) -> int:
    """Frames of the video that is ordered."""
    return order.num_frames or self.cascade.num_frames

  def describe(self, order: Order) -> str:
    """What an order asks for, in one line: shown while it is made and beside the video."""
    side = self.cascade.resolution
    about = f"{self.count(order)} frames of {side}x{side} pixels, seed {order.seed}"
    if self.style is not None:
      about += f", style {self.style_name} at {order.strength:g}"
    if rest := self.cascade.base.cut_off(order.prompt):
      about += f"; the prompt is too long for the model, its end is not read: {rest!r}"
    return about

  def check(self, order: Order):
    """Raises ValueError, in words for the page, if the order cannot be made."""
    if not order.prompt.strip():
      raise ValueError("the prompt is blank: write what the video is to show")
    if len(order.prompt) > MAX_PROMPT:
      raise ValueError(
        f"the prompt has {len(order.prompt)} characters; up to {MAX_PROMPT} are taken"
      )
    if not 0 <= order.seed < 2**32:
      raise ValueError(f"the seed {order.seed} must be between 0 and {2**32 - 1}")
    trained, count = self.cascade.num_frames, self.count(order)
    most = trained * (1 if order.picture is not None else MAX_LENGTH)
    if not 1 <= count <= most:
      what = "a picture is animated" if order.picture is not None else "a video is made"
      raise ValueError(f"{what} for up to {most} frames; {count} are too many")
    if order.num_steps is not None and not 1 <= order.num_steps <= MAX_STEPS:
      raise ValueError(f"{order.num_steps} steps: 1 to {MAX_STEPS} can be made")
    if order.picture is not None and not self.animates:
      raise ValueError("this model makes videos from text only: it cannot be given a picture")

  @contextlib.contextmanager
  def _turn(self, session: str, show: Callable[[Report], Any]) -> Iterator[threading.Event]:
    """Gets in line and waits until it is the session's turn; gives what is set when it is cancelled."""
    stop = threading.Event()
    with self._moves:
      if session in self._line:
        raise ValueError("a video of yours is being made: wait for it or cancel it")
      if len(self._line) > MAX_WAITING:
        raise ValueError(f"{MAX_WAITING} videos wait to be made already: try again later")
      self._line[session] = _Place(show, stop)
    try:
      with self._moves:
        before = None
        while before != 0 and not stop.is_set():
          if (now := list(self._line).index(session)) != before:
            show(Report(before := now))
          if before != 0:
            self._moves.wait()
      if not stop.is_set():
        yield stop
    finally:
      with self._moves:
        del self._line[session]
        self._moves.notify_all()
    if stop.is_set():
      raise Cancelled

  def _make(self, cascade: Cascade, order: Order, progress) -> UInt8[np.ndarray, "t h w 3"]:
    own = cascade.base.experiment.sampling
    sampling = dataclasses.replace(own, num_steps=order.num_steps or own.num_steps)
    options = {"seed": order.seed, "sampling": sampling, "progress": progress}
    count = self.count(order)
    if order.picture is None:
      return cascade.extend([order.prompt], count, **options)[0]
    moving = drawn(order.layers, order.picture.shape[:2])
    options |= {"moving": moving, "num_frames": count}
    return cascade.animate([order.prompt], [order.picture], **options)[0]


def drawn(
  layers: Sequence[UInt8[np.ndarray, "_h _w 4"]], size: Sequence[int]
) -> Bool[np.ndarray, "h w"] | None:
  """Where a picture was painted on; None if nowhere.

  Raises:
    ValueError: if a layer has not the picture's size.
  """
  region = np.zeros(tuple(size), bool)
  for layer in layers:
    check_same_size("drawing", layer.shape[:2], size)
    region |= layer[..., 3] > 0
  return region if region.any() else None
