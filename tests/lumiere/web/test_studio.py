"""What the page's buttons do: uploads, limits, drawings, cancelling, styles."""

import threading

import numpy as np
import pytest
from PIL import Image

from lumiere import Cascade
from lumiere.data import frames
from lumiere.web import studio as studios
from lumiere.web.studio import Cancelled, Order, Studio, drawn

PROMPT = "a red circle moves to the left on black"
QUIET = lambda step, desc: None


@pytest.fixture(scope="module")
def studio(runs, masked_run, style_run):
  """A conditional base of 8 pixels and super-resolution to 32, with a style."""
  return Studio(Cascade.restore(masked_run, runs["ssr"]), style_run)


@pytest.fixture
def picture_file(tmp_path):
  image = np.zeros((40, 60, 3), np.uint8)
  image[10:30, 20:40] = (255, 0, 0)
  frames.write_image(tmp_path / "square.png", image)
  return tmp_path / "square.png"


def test_steps_are_shown_and_the_seed_is_all_it_takes(studio):
  shown = []
  order = Order(PROMPT, seed=3, num_frames=4, num_steps=2)
  video = studio.make(order, "me", lambda step, desc: shown.append((step, desc)))
  assert video.shape == (4, 32, 32, 3)
  assert shown[:2] == [((0, 2), "base video"), ((1, 2), "base video")]
  assert {desc for _, desc in shown[2:]} == {"super-resolution"}
  np.testing.assert_array_equal(video, studio.make(order, "you", QUIET))
  # The micro runs take two steps by themselves.
  alone = studio.cascade.generate([PROMPT], num_frames=4, seed=3)
  np.testing.assert_array_equal(video, alone[0])


def test_only_what_is_painted_moves(studio, picture_file):
  picture = studio.read_picture(str(picture_file))
  assert picture.shape == (512, 512, 3)
  layer = np.zeros((512, 512, 4), np.uint8)
  layer[256:, :, 3] = 150
  video = studio.make(Order(PROMPT, picture, [layer], num_steps=2), "me", QUIET)
  small = picture[8::16, 8::16]
  np.testing.assert_array_equal(video[0], small)
  np.testing.assert_array_equal(video[:, :16], np.broadcast_to(small[:16], video[:, :16].shape))
  assert (video[1:, 16:] != small[16:]).any()
  whole = studio.make(Order(PROMPT, picture, [layer * 0], num_steps=2), "me", QUIET)
  np.testing.assert_array_equal(whole[0], small)
  assert (whole[1:, :16] != small[:16]).any()


def test_drawings_are_of_the_pictures_size():
  assert drawn([], (4, 4)) is None and drawn([np.zeros((4, 4, 4), np.uint8)], (4, 4)) is None
  with pytest.raises(ValueError, match="drawing has 5x4 pixels.* 4x4"):
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
  Image.new("L", (8, 8)).save(tmp_path / "other.tiff")
  for name, words in (
    ("text.png", "no picture"),
    ("empty.jpg", "no picture"),
    ("video.png", "no picture"),
    ("other.tiff", "PNG"),
    ("cut.png", "damaged"),
    ("large.png", "4001x4000 pixels"),
  ):
    with pytest.raises(ValueError, match=f"^{name} .*{words}"):
      studio.read_picture(str(tmp_path / name))
  monkeypatch.setattr(studios, "MAX_UPLOAD", 100)
  with pytest.raises(ValueError, match="square.png has .* MiB"):
    studio.read_picture(str(picture_file))


def test_orders_that_cannot_be_made_are_refused_before_anything_runs(studio):
  picture = np.zeros((512, 512, 3), np.uint8)
  for order, words in (
    (Order(" "), "blank"),
    (Order("a" * 501), "501 characters"),
    (Order(PROMPT, seed=-1), "seed"),
    (Order(PROMPT, seed=2**32), "seed"),
    (Order(PROMPT, num_frames=33), "up to 32 frames"),
    (Order(PROMPT, picture, num_frames=10), "animated for up to 8 frames"),
    (Order(PROMPT, num_steps=1001), "1001 steps"),
    (Order(PROMPT, num_frames=7), "num_frames=7"),
    (Order(PROMPT, strength=1.5), "between 0 and 1"),
  ):
    with pytest.raises(ValueError, match=words):
      studio.make(order, "me", QUIET)


def test_a_base_that_is_not_conditional_takes_no_picture(runs):
  plain = Studio(Cascade.restore(runs["stunet"]))
  assert not plain.animates
  with pytest.raises(ValueError, match="text only"):
    plain.make(Order(PROMPT, np.zeros((512, 512, 3), np.uint8)), "me", QUIET)


def test_cancelling_stops_between_steps_and_only_ones_own(studio):
  shown = []

  def show(step, desc):
    shown.append(step)
    studio.cancel("you")
    if step[0] == 1:
      studio.cancel("me")

  with pytest.raises(Cancelled):
    studio.make(Order(PROMPT, num_frames=4, num_steps=50), "me", show)
  assert shown == [(0, 50), (1, 50)]
  studio.cancel("me")  # nothing is being made: nothing happens
  assert studio.make(Order(PROMPT, num_frames=4, num_steps=2), "me", QUIET).shape[0] == 4


def test_one_order_at_a_time(studio):
  order, running, most = Order(PROMPT, num_frames=4, num_steps=2), set(), []

  def make(name):
    def show(step, desc):
      running.add(name)
      most.append(len(running))
      if step[0] + 1 == step[1] and desc == "super-resolution":
        running.remove(name)

    studio.make(order, name, show)

  threads = [threading.Thread(target=make, args=(name,)) for name in "ab"]
  for thread in threads:
    thread.start()
  for thread in threads:
    thread.join(120)
  assert most and max(most) == 1


def test_styles_are_kept_and_0_is_the_model_itself(studio, runs):
  assert studio.styled(0.0) is studio.cascade
  assert studio.styled(0.5) is studio.styled(0.5) is not studio.cascade
  with pytest.raises(ValueError):  # another architecture
    Studio(studio.cascade, runs["ssr"])
