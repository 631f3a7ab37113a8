"""How a figure was made: everything that changes it, in one value that is printed beside it."""

import dataclasses

from lumiere.evaluation.metrics import distances, resizing

FRAMES = ("centre", "first")


@dataclasses.dataclass(frozen=True)
class Protocol:
  """See the module docstring. The defaults are those of the zero-shot evaluations on UCF101 but for the videos' number.

  Attributes:
    num_frames: of each video.
    frames: which: those in the "centre", or the "first" ones.
    fps: frames per second that videos are read at; 0 takes the frames as they lie in the files.
    crop: whether the square in the middle is cut out.
    size: height and width that videos are brought to before the backbone's own resizing, averaged over areas: the size that they
      are compared at; 0 leaves them as they are.
    resize: how frames are brought to the backbone's size.
    divisor: of the covariance.
    num_videos: drawn from each set; 0 takes all.
    repeats: how often they are drawn.
    seed: of the draws.
  """

  num_frames: int = 16
  frames: str = "centre"
  fps: float = 0.0
  crop: bool = True
  size: int = 0
  resize: str = "tf1"
  divisor: str = "n-1"
  num_videos: int = 0
  repeats: int = 1
  seed: int = 0

  def __post_init__(self):
    for name, kinds in (
      ("frames", FRAMES),
      ("resize", resizing.KINDS),
      ("divisor", distances.DIVISORS),
    ):
      if getattr(self, name) not in kinds:
        raise ValueError(f"{name}={getattr(self, name)!r} must be one of {', '.join(kinds)}")
    for name, least in (
      ("num_frames", 1),
      ("fps", 0),
      ("size", 0),
      ("num_videos", 0),
      ("repeats", 1),
      ("seed", 0),
    ):
      if getattr(self, name) < least:
        raise ValueError(f"{name}={getattr(self, name)} must be {least} or more")
    if self.repeats > 1 and not self.num_videos:
      raise ValueError(
        f"repeats={self.repeats} needs num_videos: how many videos are drawn from each set every time"
      )

  @property
  def of_features(self) -> "Protocol":
    """The part that a video's features depend on; the rest has its default."""
    default = Protocol()
    rest = ("divisor", "num_videos", "repeats", "seed")
    return dataclasses.replace(self, **{name: getattr(default, name) for name in rest})

  def text(self, metric: str, backbone: str, counts: tuple[int, int]) -> str:
    """Everything in one line.

    Args:
      metric: "fvd", ...
      backbone: its name and checksum.
      counts: videos in the first and in the second set, of those that could be read; 0 where there is no second.
    """
    rate = f"{self.fps:g} fps" if self.fps else "own fps"
    size = f"{self.size} pixels" if self.size else "own size"
    resize = {"fvd": self.resize, "kvd": self.resize, "is": "aligned"}.get(
      metric, "cubic antialiased"
    )
    parts = [
      metric,
      backbone,
      f"{counts[0]} against {counts[1]} videos" if counts[1] else f"{counts[0]} videos",
      f"{self.frames} {self.num_frames} frames at {rate}",
      f"{'square crop' if self.crop else 'no crop'}, {size}, then {resize}",
    ]
    if metric == "fvd":
      parts.append(f"covariance / ({self.divisor})")
    if metric == "is":
      parts.append("10 parts")
    if self.num_videos and counts[1]:
      parts.append(f"{self.repeats} draws of {self.num_videos}, seed {self.seed}")
    return "; ".join(parts)
