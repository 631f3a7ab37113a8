"""Videos and masks from files, fitted to a model's frames as they come."""

import numpy as np
import pytest

from lumiere.data import frames
from lumiere.sampling import inputs
from lumiere.sampling.given import Fitting

SIZE = 16


@pytest.fixture(scope="module")
def wide(tmp_path_factory):
  """A clip of 8 frames of 96x64: red on the left, green in the middle square, blue on the right."""
  path = tmp_path_factory.mktemp("wide") / "wide.gif"
  video = np.zeros((8, 64, 96, 3), np.uint8)
  video[:, :, :16, 0] = video[:, :, 16:80, 1] = video[:, :, 80:, 2] = 255
  video[:, -1, 0, 1] = np.arange(8)  # GIF has no two equal frames one after the other
  frames.write_video(path, video, 8)  # repeats pixels: 384x256
  return str(path)


def fitting(path, border=None, size=(SIZE, SIZE), fit="crop"):
  return Fitting(inputs.size_of_video(path), size, fit, inputs.read_border(border))


def test_a_box_is_fitted_as_the_video_is(wide, capsys):
  given = inputs.read_hole(wide, 8, fitting(wide), box=["64", "0", "192", "256"])
  assert given.video.shape == (8, SIZE, SIZE, 3) and (given.video == (0, 255, 0)).all()
  assert (given.mask[:, :, :8] == 0).all() and (given.mask[:, :, 8:] == 1).all()
  said = capsys.readouterr().out
  assert "8 frames at 8 fps, 8 used; 256x384 pixels (height x width), the middle 256x256" in said


def test_a_border_widens_the_frame_and_crops_nothing(wide, capsys):
  given = inputs.read_hole(wide, 8, fitting(wide, ["64", "0", "64", "0"]))
  # 384 + 128 wide, so 256 + 256 high: a pixel is 32 wide, all of the video is there.
  assert "widened to 512x512, resized to 16x16" in capsys.readouterr().out
  known = np.zeros((SIZE, SIZE), bool)
  known[4:12, 2:14] = True
  assert ((given.mask == 1) == known).all()
  shown = given.video[0, 4:12, 2:14]
  assert (shown[:, :2] == (255, 0, 0)).all() and (shown[:, -2:] == (0, 0, 255)).all()


@pytest.mark.parametrize(
  ("hole", "words"),
  [
    ({"box": ["0", "0", "60", "256"]}, "nothing is left to generate"),  # left of the middle square
    ({"box": ["100", "100", "101", "999"]}, "which is 384 pixels wide and 256 high"),
    ({"border": ["0", "0", "0", "0"]}, "one above 0"),
    ({"border": ["999999999", "0", "0", "0"]}, "leaves less than a pixel"),
    ({"border": ["1", "1"]}, "four whole numbers"),
    ({}, "one of --mask, --box and --border"),
  ],
)
def test_a_hole_that_cannot_be(wide, hole, words):
  with pytest.raises(ValueError, match=words):
    border = hole.pop("border", None)
    inputs.read_hole(wide, 8, fitting(wide, border), **hole)


def test_a_mask_of_another_size_or_with_nothing_white_in_it(wide, tmp_path):
  frames.write_image(tmp_path / "small.png", np.full((8, 8, 3), 255, np.uint8))
  with pytest.raises(ValueError, match="8x8 pixels .*, but its image or video has 256x384"):
    inputs.read_hole(wide, 8, fitting(wide), mask=str(tmp_path / "small.png"))
  frames.write_image(tmp_path / "black.png", np.zeros((256, 384, 3), np.uint8))
  with pytest.raises(ValueError, match="nothing is left to generate"):
    inputs.read_hole(wide, 8, fitting(wide), mask=str(tmp_path / "black.png"))


def test_a_video_is_cut_to_what_can_be_used(wide, capsys):
  some = inputs.read_video(wide, 8, fitting(wide, size=(8, 12)), lambda count: count // 3 * 3)
  assert some.shape == (6, 8, 12, 3)
  assert "8 frames at 8 fps, 6 used" in capsys.readouterr().out
  with pytest.raises(ValueError, match="is too short: it has 8 frames"):
    inputs.read_video(wide, 8, fitting(wide), lambda _: 0)
  with pytest.raises(ValueError, match="--video is missing"):
    inputs.size_of_video(None)
