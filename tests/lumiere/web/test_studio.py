"""What the page's buttons do: uploads, limits, drawings, cancelling, styles."""

import queue
import struct
import threading
import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from lumiere import Cascade
from lumiere.data import frames
from lumiere.web import studio as studios
from lumiere.web.studio import Cancelled, Job, Progress, Studio, drawn

PROMPT = "a red circle moves to the left on black"
# In seconds; the machine may be busy.
PATIENCE = 900
QUIET = lambda report: None


@pytest.fixture(scope="module")
def studio(runs, masked_run, style_run):
  """A conditional base, super-resolution and a style, trained on squares, for videos that are wider than high."""
  return Studio(Cascade.restore(masked_run, runs["ssr"]).of_size((32, 48)), style_run)


@pytest.fixture
def picture_file(tmp_path):
  image = np.zeros((40, 60, 3), np.uint8)
  image[10:30, 20:40] = (255, 0, 0)
  frames.write_image(tmp_path / "square.png", image)
  return tmp_path / "square.png"


def test_steps_are_shown_and_the_seed_is_all_it_takes(studio):
  shown = []
  job = Job(PROMPT, seed=3, num_frames=4, num_steps=2)
  video = studio.make(job, "me", shown.append)
  assert video.shape == (4, 32, 48, 3)
  titles = ["base video", "super-resolution"]
  steps = lambda compiling: [
    Progress(0, title, i, 2, compiling and i == 0) for title in titles for i in (0, 1)
  ]
  assert shown == [Progress(), *steps(compiling=True)]
  # The second video of the same kind needs no compilation.
  again = []
  np.testing.assert_array_equal(video, studio.make(job, "you", again.append))
  assert again == [Progress(), *steps(compiling=False)]
  # The micro runs take two steps by themselves.
  alone = studio.cascade.generate([PROMPT], num_frames=4, seed=3)
  np.testing.assert_array_equal(video, alone[0])


def test_only_what_is_painted_moves(studio, picture_file):
  picture = studio.read_picture(str(picture_file))
  assert picture.shape == (512, 768, 3)
  layer = np.zeros((512, 768, 4), np.uint8)
  layer[256:, :, 3] = 150
  video = studio.make(Job(PROMPT, picture, [layer], num_steps=2), "me", QUIET)
  small = picture[8::16, 8::16]
  np.testing.assert_array_equal(video[0], small)
  np.testing.assert_array_equal(video[:, :16], np.broadcast_to(small[:16], video[:, :16].shape))
  assert (video[1:, 16:] != small[16:]).any()
  whole = studio.make(Job(PROMPT, picture, [layer * 0], num_steps=2), "me", QUIET)
  np.testing.assert_array_equal(whole[0], small)
  assert (whole[1:, :16] != small[:16]).any()


def test_drawings_are_of_the_pictures_size():
  assert drawn([], (4, 4)) is None and drawn([np.zeros((4, 4, 4), np.uint8)], (4, 4)) is None
  with pytest.raises(ValueError, match="drawing has 4x5 pixels.* 4x4"):
    drawn([np.zeros((4, 5, 4), np.uint8)], (4, 4))


def test_uploads_that_are_not_what_they_say_are_refused(
  studio, picture_file, tmp_path, monkeypatch
):
  (tmp_path / "text.png").write_text("not a picture")
  (tmp_path / "empty.jpg").write_bytes(b"")
  (tmp_path / "cut.png").write_bytes(picture_file.read_bytes()[:90])
  Image.new("L", (studios.MAX_PIXELS // 4000 + 1, 4000)).save(tmp_path / "large.png")
  frames.write_video(tmp_path / "video.mp4", np.zeros((4, 32, 32, 3), np.uint8), 8)
  (tmp_path / "video.mp4").rename(tmp_path / "video.png")
  # Small files that unpack to large ones: more and fewer pixels than Pillow refuses, and a text chunk.
  write_png(tmp_path / "bomb.png", 60_000, 60_000)
  write_png(tmp_path / "warned.png", 10_000, 10_000)
  text = zlib.compress(b"a" * 2**21)
  write_png(tmp_path / "text_bomb.png", 8, 8, (b"zTXt", b"a\0\0" + text))
  for name, words in (
    ("bomb.png", "bomb.* more than 179 million pixels"),
    ("warned.png", "10000x10000 pixels; the limit is 16 million"),
    ("text_bomb.png", "Decompressed data too large"),
    ("text.png", "no picture in it.* PNG"),
    ("empty.jpg", "it is empty"),
    ("video.png", "no picture in it"),
    ("cut.png", "damaged"),
    ("large.png", "4000x4001 pixels; the limit is 16 million"),
  ):
    with pytest.raises(ValueError, match=f"^{name} cannot be read as a picture: .*{words}"):
      studio.read_picture(str(tmp_path / name))
  monkeypatch.setattr(studios, "MAX_UPLOAD", 100)
  with pytest.raises(ValueError, match="square.png has .* MiB"):
    studio.read_picture(str(picture_file))


def write_png(path, width, height, *chunks):
  """A PNG with a header and further chunks but no pixels."""
  header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
  with path.open("wb") as file:
    file.write(b"\x89PNG\r\n\x1a\n")
    for name, data in ((b"IHDR", header), *chunks, (b"IDAT", b""), (b"IEND", b"")):
      check = struct.pack(">I", zlib.crc32(name + data))
      file.write(struct.pack(">I", len(data)) + name + data + check)


def test_invalid_jobs_are_refused_before_anything_runs(studio):
  picture = np.zeros((512, 512, 3), np.uint8)
  for job, words in (
    (Job(" "), "blank"),
    (Job("a" * 501), "501 characters"),
    (Job(PROMPT, seed=-1), "seed"),
    (Job(PROMPT, seed=2**32), "seed"),
    (Job(PROMPT, num_frames=33), "a video has up to 32 frames"),
    (Job(PROMPT, picture, num_frames=10), "an animated image has up to 8 frames"),
    (Job(PROMPT, num_steps=1001), "1001 steps"),
    (Job(PROMPT, num_frames=7), "num_frames=7"),
    (Job(PROMPT, strength=1.5), "between 0 and 1"),
  ):
    with pytest.raises(ValueError, match=words):
      studio.make(job, "me", QUIET)


def test_a_base_that_is_not_conditional_takes_no_picture(runs):
  plain = Studio(Cascade.restore(runs["stunet"]))
  assert not plain.animates
  with pytest.raises(ValueError, match="text only"):
    plain.make(Job(PROMPT, np.zeros((512, 512, 3), np.uint8)), "me", QUIET)


def test_cancelling_stops_between_steps_and_only_ones_own(studio):
  shown = []

  def show(report):
    shown.append(report)
    assert not studio.cancel("you")
    if report.done == 1 and not report.cancelling:
      assert studio.cancel("me")

  with pytest.raises(Cancelled):
    studio.make(Job(PROMPT, num_frames=4, num_steps=50), "me", show)
  assert [report.done for report in shown[:-1]] == [0, 0, 1] and shown[-1] == Progress(
    cancelling=True
  )
  assert not studio.cancel("me")  # nothing is being made: nothing happens
  assert studio.make(Job(PROMPT, num_frames=4, num_steps=2), "me", QUIET).shape[0] == 4


@pytest.fixture
def held(monkeypatch):
  """Replaces sampling by three steps, each of which waits for this event."""
  go = threading.Event()

  def extend(cascade, prompts, num_frames, *, progress, **options):
    for _ in progress(range(3), desc="base video"):
      assert go.wait(PATIENCE)
    return np.zeros((1, num_frames, 8, 8, 3), np.uint8)

  monkeypatch.setattr(Cascade, "extend", extend)
  yield go
  go.set()


class Submitted:
  """A job that runs in a thread, and its progress."""

  def __init__(self, studio: Studio, session: str):
    self.reports, self.pool = queue.SimpleQueue(), ThreadPoolExecutor(1)
    self.video = self.pool.submit(studio.make, Job(PROMPT), session, self.reports.put)
    self.pool.shutdown(wait=False)

  def sees(self, *reports):
    assert [self.reports.get(timeout=PATIENCE) for _ in reports] == list(reports)


def test_who_waits_is_told_the_place_and_takes_ones_queued(studio, held):
  studio = Studio(studio.cascade)
  first = Submitted(studio, "first")
  first.sees(Progress(), Progress(0, "base video", 0, 3, compiling=True))
  second = Submitted(studio, "second")
  second.sees(Progress(ahead=1))
  third = Submitted(studio, "third")
  third.sees(Progress(ahead=2))
  fourth = Submitted(studio, "fourth")
  fourth.sees(Progress(ahead=3))
  # A cancelled job leaves the queue, and those behind move up.
  assert studio.cancel("second")
  second.sees(Progress(cancelling=True))
  with pytest.raises(Cancelled):
    second.video.result(PATIENCE)
  third.sees(Progress(ahead=1))
  fourth.sees(Progress(ahead=2))
  with pytest.raises(ValueError, match="your previous video is not finished"):
    studio.make(Job(PROMPT), "third", QUIET)
  held.set()
  third.sees(Progress(), *(Progress(0, "base video", step, 3) for step in range(3)))
  for job in (first, third, fourth):
    assert job.video.result(PATIENCE).shape == (8, 8, 8, 3)


def test_a_full_queue_takes_no_more(studio, held, monkeypatch):
  studio = Studio(studio.cascade)
  monkeypatch.setattr(studios, "MAX_WAITING", 1)
  jobs = []
  for session, report in (("first", Progress()), ("second", Progress(ahead=1))):
    jobs.append(Submitted(studio, session))
    jobs[-1].sees(report)
  with pytest.raises(ValueError, match="queue is full, 1 videos are waiting"):
    studio.make(Job(PROMPT), "third", QUIET)
  studio.close()
  held.set()
  for job in jobs:
    with pytest.raises(Cancelled):
      job.video.result(PATIENCE)


def test_what_is_cancelled_during_its_last_step_is_cancelled(studio, monkeypatch):
  def extend(cascade, prompts, num_frames, **options):
    assert studio.cancel("me")
    return np.zeros((1, num_frames, 8, 8, 3), np.uint8)

  monkeypatch.setattr(Cascade, "extend", extend)
  with pytest.raises(Cancelled):
    studio.make(Job(PROMPT), "me", QUIET)


def test_what_the_model_does_not_read_of_a_prompt_is_said(studio):
  length = studio.cascade.base.experiment.text.max_length
  assert "not read" not in studio.describe(Job("a" * (length - 1)))
  assert studio.describe(Job("a" * length + " last")).endswith("its end is not read: 'a last'")


def test_styles_are_kept_and_0_is_the_model_itself(studio, runs):
  assert studio.styled(0.0) is studio.cascade
  assert studio.styled(0.5) is studio.styled(0.5) is not studio.cascade
  assert studio.style_name == "style"
  assert studio.describe(Job(PROMPT, seed=3, strength=0.5)) == (
    "8 frames of 32x48 pixels, seed 3, style style at 0.5"
  )
  with pytest.raises(ValueError):  # another architecture
    Studio(studio.cascade, runs["ssr"])
