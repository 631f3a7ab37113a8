"""Features of folders of videos: batches, devices, cache, shards, and videos that cannot be read."""

import numpy as np
import pytest

from lumiere.data import frames
from lumiere.evaluation.metrics import compare, features, folder, page
from lumiere.evaluation.metrics.backbone import Backbone
from lumiere.evaluation.metrics.distances import Moments, frechet
from lumiere.evaluation.metrics.protocol import Protocol
from tests.lumiere.data import media

PROTOCOL = Protocol(num_frames=3)


class Means:
  """A backbone: the mean of each colour, and of the first frame's red."""

  def __init__(self):
    self.seen = 0

  def __call__(self, clips, kind):
    assert len(clips.devices()) == 8
    self.seen += 1
    means = clips.mean(axis=(1, 2, 3))
    return np.concatenate([means, clips[:, 0, :, :, :1].mean(axis=(1, 2))], axis=1)


@pytest.fixture
def backbone():
  return Backbone("means", "0" * 64, Means())


@pytest.fixture
def videos(tmp_path):
  """Eleven videos of one colour each, five frames of 6x8, one of them twice."""
  root = tmp_path / "videos"
  rng = np.random.default_rng(0)
  for index in range(10):
    clip = np.broadcast_to(rng.integers(0, 256, 3, np.uint8), (5, 6, 8, 3))
    media.write(root / f"class_{index % 2}" / f"{index:02}.mkv", clip, 8)
  (root / "again.mkv").write_bytes((root / "class_0" / "00.mkv").read_bytes())
  return root


def compute(root, backbone, **kw):
  return features.compute(folder.videos_of(root), backbone, PROTOCOL, **kw)


def test_rows_do_not_depend_on_batches_and_shards(videos, backbone, tmp_path):
  whole = compute(videos, backbone)
  assert [video.name for video in whole.videos][:2] == ["again.mkv", "class_0/00.mkv"]
  np.testing.assert_array_equal(whole.rows[0], whole.rows[1])
  for video, row in zip(whole.videos, whole.rows, strict=True):
    clip = frames.read_video(video.path, 8.0)
    np.testing.assert_allclose(row[:3], clip.mean(axis=(0, 1, 2)), rtol=1e-5)
  np.testing.assert_array_equal(compute(videos, backbone, batch_size=3).rows, whole.rows)
  cache = tmp_path / "cache"
  for index in range(3):
    compute(videos, backbone, cache=cache, shard=(index, 3))
  before = backbone.compute.seen
  np.testing.assert_array_equal(compute(videos, backbone, cache=cache).rows, whole.rows)
  kept = [len(np.load(path)["rows"]) for path in cache.glob("*/*.npz")]
  assert sum(kept) == len(np.unique(whole.rows, axis=0))  # each file has the rows of its own shard
  assert backbone.compute.seen == before  # all rows were there


def test_the_cache_knows_backbone_protocol_and_content(videos, backbone, tmp_path):
  cache = tmp_path / "cache"
  compute(videos, backbone, cache=cache)
  seen = backbone.compute.seen
  other = Backbone("means", "1" * 64, backbone.compute)
  compute(videos, other, cache=cache)
  features.compute(folder.videos_of(videos), backbone, Protocol(num_frames=2), cache=cache)
  assert backbone.compute.seen == seen + 4
  # How many are drawn does not matter to a video's features.
  again = Protocol(num_frames=3, num_videos=4, repeats=2, divisor="n")
  features.compute(folder.videos_of(videos), backbone, again, cache=cache)
  assert backbone.compute.seen == seen + 4
  clip = np.zeros((5, 6, 8, 3), np.uint8)
  media.write(videos / "again.mkv", clip, 8)
  assert not compute(videos, backbone, cache=cache).rows[0].any()
  assert backbone.compute.seen == seen + 5


def test_videos_that_cannot_be_used_are_named(videos, backbone):
  (videos / "broken.mp4").write_bytes(b"no video")
  media.write(videos / "short.mkv", np.zeros((2, 6, 8, 3), np.uint8), 8)
  made = compute(videos, backbone)
  assert len(made.rows) == 11 and sorted(made.skipped) == ["broken.mp4", "short.mkv"]
  assert "has 2 frames, num_frames=3 are needed" in made.skipped["short.mkv"]
  with pytest.raises(ValueError, match="broken.mp4 cannot be read"):
    compute(videos, backbone, skip=False)
  with pytest.raises(ValueError, match="none of the 11 videos can be used.*num_frames=9"):
    features.compute(folder.videos_of(videos / "class_0") + folder.videos_of(videos / "class_1") +
                     folder.videos_of(videos)[:1], backbone, Protocol(num_frames=9))  # fmt: skip


@pytest.mark.parametrize("fps", [0.0, 4.0])
def test_a_damaged_video_is_left_out_at_any_rate(fps):
  video = folder.Video(media.CASES / "truncated_tail.mp4", "truncated_tail.mp4")
  with pytest.raises(ValueError, match="truncated_tail.mp4.*of 8.00 s"):
    video.clip(Protocol(num_frames=3, fps=fps))


def test_frames_and_sizes_are_those_of_the_protocol(tmp_path):
  clip = np.zeros((6, 4, 8, 3), np.uint8)
  clip[:, :, 2:6] = np.arange(6, dtype=np.uint8)[:, None, None, None] * 10
  media.write(tmp_path / "video.mkv", clip, 4)
  (video,) = folder.videos_of(tmp_path)
  times = lambda protocol: (video.clip(protocol)[:, 0, 0, 0] // 10).tolist()
  assert times(Protocol(num_frames=2)) == [2, 3]
  assert times(Protocol(num_frames=2, frames="first")) == [0, 1]
  assert times(Protocol(num_frames=3, fps=2.0)) == [0, 2, 4]
  assert video.clip(Protocol(num_frames=1)).shape == (1, 4, 4, 3)
  assert video.clip(Protocol(num_frames=1, crop=False)).shape == (1, 4, 8, 3)
  assert video.clip(Protocol(num_frames=1, size=2)).shape == (1, 2, 2, 3)


def test_figures_come_with_their_protocol():
  rng = np.random.default_rng(1)
  first, second = rng.normal(size=(40, 4)), rng.normal(size=(50, 4)) + 1
  whole = compare.compare("fvd", first, second, PROTOCOL, "means sha256:0")
  assert whole.value == pytest.approx(frechet(Moments.of(first), Moments.of(second)))
  assert whole.spread is None
  for part in ("fvd", "means sha256:0", "40 against 50 videos", "centre 3 frames", "tf1", "n-1"):
    assert part in str(whole)
  drawn = Protocol(num_frames=3, num_videos=20, repeats=5)
  figure = compare.compare("kvd", first, second, drawn, "means")
  assert figure.spread > 0 and "5 draws of 20, seed 0" in figure.protocol
  assert figure == compare.compare("kvd", first, second, drawn, "means")
  with pytest.raises(ValueError, match="num_videos=60, but a set has 40"):
    compare.compare("kvd", first, second, Protocol(num_videos=60), "means")


def test_moments_can_be_shared_and_tell_how_they_were_made(tmp_path, backbone):
  rng = np.random.default_rng(2)
  first, second = rng.normal(size=(40, 4)), rng.normal(size=(50, 4))
  path = tmp_path / "moments.npz"
  compare.save_moments(path, Moments.of(second), compare.made_from(backbone, PROTOCOL))
  moments = compare.load_moments(path, compare.made_from(backbone, PROTOCOL))
  expected = compare.compare("fvd", first, second, PROTOCOL, backbone.title)
  assert compare.compare("fvd", first, moments, PROTOCOL, backbone.title) == expected
  with pytest.raises(ValueError, match="kvd needs the reference's videos"):
    compare.compare("kvd", first, moments, PROTOCOL, backbone.title)
  other = Protocol(num_frames=3, resize="antialiased")
  with pytest.raises(ValueError, match="made with resize='tf1', asked for is 'antialiased'"):
    compare.load_moments(path, compare.made_from(backbone, other))
  path.write_bytes(b"x")
  with pytest.raises(ValueError, match="cannot be read as the moments"):
    compare.load_moments(path, compare.made_from(backbone, PROTOCOL))


@pytest.mark.parametrize(
  "fields,message",
  [
    (dict(frames="last"), "frames='last' must be one of centre, first"),
    (dict(resize="nearest"), "resize='nearest'"),
    (dict(num_frames=0), "num_frames=0 must be 1 or more"),
    (dict(repeats=2), "repeats=2 needs num_videos"),
  ],
)
def test_impossible_protocols_are_refused(fields, message):
  with pytest.raises(ValueError, match=message):
    Protocol(**fields)


def test_the_nearest_and_the_farthest_are_shown(videos, backbone, tmp_path):
  made = compute(videos, backbone)
  lengths = page.distances_to(made.rows, made.rows[:3])
  assert (lengths[:3] < 1e-3).all() and lengths[3:].min() > 1
  figure = compare.compare("kvd", made.rows, made.rows[:3], PROTOCOL, "means")
  page.write(tmp_path, [figure], made, made.rows[:3], PROTOCOL)
  text = (tmp_path / "index.html").read_text()
  farthest = made.videos[int(np.argmax(lengths))].name
  assert farthest in text.split("Farthest")[1].split("figure")[1]
  assert (tmp_path / "videos" / "nearest_0.webp").exists() and "kvd" in text
