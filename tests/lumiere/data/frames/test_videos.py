"""Videos are read as a player shows them: which frame, which way up, of which shape, in which colours."""

import fractions
import gc
import os
import weakref

import av
import numpy as np
import pytest
from PIL import Image

from lumiere.data import frames
from lumiere.data.frames import pixels
from tests.lumiere.data.frames.test_pictures import is_scene
from tests.lumiere.data.media import CASES, CODECS, plain, ramp, write, write_sound

SIZE = 32
LOSSLESS = ("ffv1", "bgr0", {})


def raw(path):
  """(time, pixels) of each frame as it is stored, without any of our code."""
  with av.open(str(path)) as container:
    return [(frame.time, frame.to_ndarray(format="rgb24")) for frame in container.decode(video=0)]


def indices(video, step=4):
  """Which frames of a `ramp` are seen."""
  return np.rint(video.mean((1, 2, 3)) / step).astype(int).tolist()


# Times.


@pytest.mark.parametrize("rate", [8, 25, 30])
def test_exactly_two_seconds_are_sixteen_frames(rate):
  path = CASES / f"two_seconds_{rate}fps.mp4"
  stored = [frame for _, frame in raw(path)]
  assert len(stored) == 2 * rate
  expected = np.stack([stored[i * rate // 8] for i in range(16)])
  assert np.array_equal(frames.read_video(path, 8), expected)


def test_eight_seconds():
  assert len(frames.read_video(CASES / "eight_seconds.mp4", 8)) == 64


@pytest.mark.parametrize("suffix", [suffix for suffix in CODECS if suffix != ".gif"])
def test_every_container_has_its_true_length(tmp_path, suffix):
  path = tmp_path / f"a{suffix.upper()}"
  write(path, ramp(48, step=5), 24)
  assert indices(frames.read_video(path, 8), 5) == list(range(0, 48, 3))
  assert indices(frames.read_video(path, 24), 5) == list(range(48))


@pytest.mark.parametrize("fps", [30, 60, fractions.Fraction(30000, 1001)])
def test_times_in_whole_milliseconds_move_no_frame(tmp_path, fps):
  count = round(2 * fps)
  for suffix in (".mkv", ".webm"):
    write(tmp_path / f"a{suffix}", ramp(count, step=2), fps)
    assert indices(frames.read_video(tmp_path / f"a{suffix}", float(fps)), 2) == list(range(count))


def test_variable_frame_rate():
  stored = raw(CASES / "vfr.mp4")
  video = frames.read_video(CASES / "vfr.mp4", 8)
  assert len(video) == 56  # 7 s
  for i, frame in enumerate(video):
    shown = [pixels for time, pixels in stored if time <= i / 8 + 1e-9][-1]
    assert np.array_equal(frame, shown)


def test_the_last_slide_is_held():
  video = frames.read_video(CASES / "slides_last_held.gif", 8)
  assert video[:, 0, 0].tolist() == [[255, 0, 0]] * 2 + [[0, 128, 0]] * 2 + [[0, 0, 255]] * 16


@pytest.mark.parametrize("suffix", ["webp", "png", "gif"])
def test_animations_last_as_long_as_they_say(tmp_path, suffix):
  pages = [Image.new("RGB", (16, 16), colour) for colour in ("red", "lime", "blue")]
  options = dict(append_images=pages[1:], duration=[250, 500, 1250], loop=0)
  pages[0].save(tmp_path / f"a.{suffix}", save_all=True, lossless=True, **options)
  video = frames.read_video(tmp_path / f"a.{suffix}", 8)
  assert video.argmax(-1)[:, 0, 0].tolist() == [0] * 2 + [1] * 4 + [2] * 10
  assert frames.read_video(tmp_path / f"a.{suffix}", 2).argmax(-1)[:, 0, 0].tolist() == [0, 1, 2, 2]


def test_an_animated_webp_is_a_video():
  with Image.open(CASES / "anim.webp") as image:
    count, duration = image.n_frames, 0
    for index in range(count):
      image.seek(index)
      image.load()
      duration += image.info["duration"]
  video = frames.read_video(CASES / "anim.webp", 8)
  assert len(video) == round(duration / 125) and is_scene(video[0])
  moved = np.abs(video[0].astype(int) - video[-1]).max(-1) > 60
  assert moved.any() and not moved[:40].any()  # the ball rolls, the sky stays


def test_animations_without_a_speed_play_as_in_a_browser(tmp_path):
  pages = [Image.new("RGB", (16, 16), colour) for colour in ("red", "lime", "blue")]
  pages[0].save(tmp_path / "a.gif", save_all=True, append_images=pages[1:], duration=0)
  assert len(frames.read_video(tmp_path / "a.gif", 10)) == 3


def test_what_is_written_is_read_back_frame_by_frame(tmp_path):
  for suffix in ("mp4", "gif", "webp"):
    for fps in (8, 12.5, 24):
      frames.write_video(tmp_path / f"a.{suffix}", ramp(24, step=10), fps)
      assert indices(frames.read_video(tmp_path / f"a.{suffix}", fps), 10) == list(range(24))


def test_a_picture_is_a_video_of_one_frame():
  video = frames.read_video(CASES / "phone_exif6.jpg", 8)
  assert np.array_equal(video, frames.read_image(CASES / "phone_exif6.jpg")[None])


def test_frames_without_times_follow_each_other(tmp_path):
  """Raw H.264 has no times; two joined transport streams go back in time."""
  with av.open(str(tmp_path / "a.h264"), "w", format="h264") as container:
    stream = container.add_stream("libx264", rate=24, options={"crf": "1", "bf": "0"})
    stream.height, stream.width, stream.pix_fmt = SIZE, SIZE, "yuv444p"
    for frame in ramp(48):
      container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
    container.mux(stream.encode())
  seen = indices(frames.read_video(tmp_path / "a.h264", 24))
  assert sorted(set(seen)) == list(range(48)) and seen == sorted(seen)

  for name, colour in (("red", (255, 0, 0)), ("blue", (0, 0, 255))):
    write(tmp_path / f"{name}.ts", plain(colour, 24), 24)
  joined = (tmp_path / "red.ts").read_bytes() + (tmp_path / "blue.ts").read_bytes()
  (tmp_path / "joined.ts").write_bytes(joined)
  video = frames.read_video(tmp_path / "joined.ts", 8)
  assert video.argmax(-1)[:, 0, 0].tolist() == [0] * 8 + [2] * 8


# Orientation and shape.


def test_a_phone_video_is_upright():
  video = frames.read_video(CASES / "phone_portrait.mp4", 8)
  assert video.shape == (20, 192, 108, 3) and all(is_scene(frame) for frame in video)
  assert frames.read_mask(CASES / "portrait_mask.png", 8).shape == (1, 192, 108)


MATRICES = {  # a, b, c, d of the display matrix
  "upright": (1, 0, 0, 1),
  "90": (0, 1, -1, 0),
  "180": (-1, 0, 0, -1),
  "270": (0, -1, 1, 0),
  "mirrored": (-1, 0, 0, 1),
  "flipped": (1, 0, 0, -1),
  "transposed": (0, 1, 1, 0),
  "transversed": (0, -1, -1, 0),
}


@pytest.mark.parametrize("name", MATRICES)
@pytest.mark.parametrize("suffix", [".mp4", ".mov"])
def test_every_display_matrix(tmp_path, name, suffix):
  stored = np.random.default_rng(0).integers(0, 256, (16, 24, 3), dtype=np.uint8)
  a, b, c, d = MATRICES[name]
  # By the definition: the pixel at (p, q) is shown at (a p + c q, b p + d q), moved to where no place is negative.
  q, p = np.mgrid[:16, :24]
  x, y = a * p + c * q, b * p + d * q
  x, y = x - x.min(), y - y.min()
  shown = np.zeros((y.max() + 1, x.max() + 1, 3), np.uint8)
  shown[y, x] = stored
  matrix = [n << 16 for n in (a, b, 0, c, d, 0, 0, 0)] + [1 << 30]
  write(tmp_path / f"a{suffix}", stored[None].repeat(8, 0), 8, rotation=matrix)
  assert np.array_equal(frames.read_video(tmp_path / f"a{suffix}", 8), shown[None].repeat(8, 0))


def test_side_data_of_a_kind_that_pyav_may_not_know():
  """FFmpeg gives a phone's picture an orientation too, beside its EXIF."""
  with av.open(str(CASES / "phone_exif6.jpg")) as container:
    frame = next(container.decode(video=0))
  assert is_scene(pixels.to_rgb(frame, orientation=pixels.orientation_of(frame)))


def extent(picture):
  """(height, width) of what is white."""
  rows, columns = np.nonzero(picture.min(axis=-1) > 128)
  return np.ptp(rows) + 1, np.ptp(columns) + 1


def test_a_circle_stays_a_circle():
  video = frames.read_video(CASES / "anamorphic.mp4", 8)
  assert video.shape == (20, 96, 182, 3)  # 128 columns of 64:45
  height, width = extent(video[0])
  assert abs(height - width) <= 1 and height > 60


@pytest.mark.parametrize("aspect", [fractions.Fraction(2), fractions.Fraction(2, 3)])
def test_pixels_become_square_before_they_are_turned(tmp_path, aspect):
  y, x = np.mgrid[:48, :48] - 23.5
  circle = np.hypot(x * float(max(aspect, 1)), y * float(max(1 / aspect, 1))) < 20
  video = (circle[None, :, :, None] * np.uint8([255] * 3)).repeat(8, 0)
  write(tmp_path / "a.mp4", video, 8, aspect=aspect, rotation=(90,))
  picture = frames.first_frame(tmp_path / "a.mp4")
  assert picture.shape[:2] == ((96, 48) if aspect == 2 else (48, 72))
  height, width = extent(picture)
  assert abs(height - width) <= 2 and height >= 38


def test_a_shape_that_cannot_be_is_no_shape(tmp_path):
  write(tmp_path / "a.mkv", plain((9, 9, 9), 8), 8, aspect=fractions.Fraction(1, 5000))
  assert frames.first_frame(tmp_path / "a.mkv").shape == (32, 32, 3)


def test_frames_of_several_sizes_are_fitted_one_by_one():
  sizes = []

  def fit(frame):
    sizes.append(frame.shape[:2])
    return frames.fit(frame, 16)

  assert frames.read_video(CASES / "size_changes.webm", 8, fit).shape == (7, 16, 16, 3)
  assert sizes == [(96, 96)] * 4 + [(96, 128)] * 3
  video = frames.read_video(CASES / "size_changes.webm", 8)
  last = raw(CASES / "size_changes.webm")[18][1]
  assert video.shape == (7, 96, 96, 3) and np.array_equal(video[-1], last[:, 16:112])


def test_a_size_that_changes_in_a_transport_stream(tmp_path):
  write(tmp_path / "a.ts", plain((255, 0, 0), 24), 24)
  write(tmp_path / "b.ts", plain((0, 0, 255), 24, height=64, width=48), 24)
  joined = (tmp_path / "a.ts").read_bytes() + (tmp_path / "b.ts").read_bytes()
  (tmp_path / "c.ts").write_bytes(joined)
  sizes = set()
  video = frames.read_video(
    tmp_path / "c.ts", 8, lambda frame: (sizes.add(frame.shape[:2]), frames.fit(frame, 8))[1]
  )
  assert video.argmax(-1)[:, 0, 0].tolist() == [0] * 8 + [2] * 8
  assert sizes == {(32, 32), (64, 48)}


# Masks.


def test_a_moving_mask_is_the_same_in_every_format():
  first, second = (
    frames.read_mask(CASES / f"moving_mask.{suffix}", 8) for suffix in ("mp4", "gif")
  )
  assert first.shape == (16, 96, 96) and np.array_equal(first, second)
  lefts = [np.flatnonzero(mask.any(0))[0] for mask in first]
  assert lefts == sorted(lefts) and lefts[0] == 0 and lefts[-1] == 60
  assert (first.sum((1, 2)) == 32 * 32).all()


def test_masks_of_an_animated_webp(tmp_path):
  masks = frames.read_mask(CASES / "moving_mask.mp4", 8)
  video = masks[..., None] * np.uint8([255] * 3)
  for suffix in ("webp", "gif", "mp4"):
    frames.write_video(tmp_path / f"a.{suffix}", video, 8)
    read = frames.read_mask(tmp_path / f"a.{suffix}", 8)
    assert np.array_equal(read[:, ::3, ::3], masks)  # small videos are written larger


def test_in_masks_the_transparent_is_black():
  mask = frames.read_mask(CASES / "mask_white_on_transparent.png", 8)
  stored = np.asarray(Image.open(CASES / "mask_white_on_transparent.png"))
  assert (stored[..., :3] == 255).all()  # all of it is white, and hidden
  assert np.array_equal(mask, stored[None, ..., 3] > 0) and 0 < mask.mean() < 0.5


def test_masks_of_other_modes(tmp_path):
  soft = frames.read_mask(CASES / "mask_soft.png", 8)
  assert np.array_equal(soft[0], np.asarray(Image.open(CASES / "mask_soft.png")) >= 128)
  deep = np.array([[0, 20000, 40000, 65535]], np.uint16)
  Image.fromarray(deep).save(tmp_path / "a.png")
  assert frames.read_mask(tmp_path / "a.png", 8).tolist() == [[[False, False, True, True]]]


def test_masks_are_fitted_as_they_come():
  fitted = frames.read_mask(
    CASES / "moving_mask.gif", 8, lambda mask: mask.reshape(8, 12, 8, 12).all((1, 3))
  )
  assert fitted.shape == (16, 8, 8) and fitted.dtype == bool and fitted[0, 3, 0]


# Memory.


def test_frames_are_fitted_as_they_come_and_let_go(tmp_path):
  write(tmp_path / "a.mp4", ramp(48), 24)
  alive, most = [], 0

  def fit(frame):
    nonlocal most
    alive.append(weakref.ref(frame))
    decoded = sum(isinstance(each, av.VideoFrame) for each in gc.get_objects())
    most = max(most, decoded, sum(each() is not None for each in alive))
    return frame[:1, :1].copy()

  gc.collect()
  gc.disable()
  try:
    assert frames.read_video(tmp_path / "a.mp4", 24, fit).shape == (48, 1, 1, 3)
  finally:
    gc.enable()
  assert len(alive) == 48 and 1 <= most <= 6


def test_only_what_is_shown_is_converted(tmp_path, monkeypatch):
  write(tmp_path / "a.mp4", ramp(48), 24)
  calls, convert = [], pixels.to_rgb
  monkeypatch.setattr(pixels, "to_rgb", lambda *args: calls.append(args) or convert(*args))
  assert indices(frames.read_video(tmp_path / "a.mp4", 4)) == list(range(0, 48, 6))
  assert len(calls) == 8
  assert indices(frames.first_frame(tmp_path / "a.mp4")[None]) == [0]
  assert len(calls) == 9


def test_a_title_that_is_not_in_utf8_does_not_matter(tmp_path):
  write(tmp_path / "a.mkv", ramp(8), 8, metadata={"title": "caf+"})
  data = (tmp_path / "a.mkv").read_bytes()
  assert data.count(b"caf+") == 1
  (tmp_path / "a.mkv").write_bytes(data.replace(b"caf+", b"caf\xe9"))
  assert indices(frames.read_video(tmp_path / "a.mkv", 8)) == list(range(8))


# What cannot be read.


def test_a_song_with_a_cover_is_no_video():
  with pytest.raises(ValueError, match="no video in it, only audio and a cover picture"):
    frames.read_video(CASES / "song_with_cover.mp4", 8)


def test_sound_is_no_video(tmp_path):
  write_sound(tmp_path / "a.mp4")
  for read in (frames.read_video, frames.read_mask):
    with pytest.raises(ValueError, match="a.mp4 cannot be read as .*no video in it, only audio"):
      read(tmp_path / "a.mp4", 8)


@pytest.mark.parametrize(
  ("make", "words"),
  [
    (lambda path: None, "no such file"),
    (lambda path: path.mkdir(), "it is a folder"),
    (lambda path: os.mkfifo(path), "it is not a regular file"),
    (lambda path: path.write_bytes(b""), "it is empty"),
    (lambda path: path.write_text("words" * 99), "no video in it, or its head is damaged"),
    (lambda path: path.write_bytes(b"\0\0\0\x18ftypheic" + bytes(99)), "HEIC"),
  ],
)
def test_videos_that_cannot_be_read_have_their_reasons(tmp_path, make, words):
  make(tmp_path / "a.mp4")
  for read, what in ((frames.read_video, "a video"), (frames.read_mask, "a mask")):
    with pytest.raises(ValueError, match=f"a.mp4 cannot be read as {what}: {words}") as error:
      read(tmp_path / "a.mp4", 8)
    assert "\n" not in str(error.value)
  with pytest.raises(ValueError, match=words):
    frames.first_frame(tmp_path / "a.mp4")
