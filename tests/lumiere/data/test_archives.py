"""Files in tar archives are files like any other."""

import io
import tarfile

import pytest

from lumiere.data import archives, frames
from lumiere.data.video_folder.captions import find_videos, read_captions
from tests.lumiere.data import media


def pack(archive, **files):
  """Writes an archive; `files` are contents by name, "__" for a slash and "_" for a dot."""
  with tarfile.open(archive, "w") as tar:
    for name, content in files.items():
      entry = tarfile.TarInfo(name.replace("__", "/").replace("_", "."))
      entry.size = len(content)
      tar.addfile(entry, io.BytesIO(content))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
  root = tmp_path_factory.mktemp("shards")
  video = (media.CASES / "truncated_tail.mp4").read_bytes()
  (root / "alone.mp4").write_bytes(video)
  (root / "shards").mkdir()
  pack(
    root / "shards" / "00000.tar",
    **{"b_mp4": video, "b_txt": b"\xef\xbb\xbfa  caption", "b_json": b"{}", "_hidden_mp4": video},
    **{"part__a_mp4": video[:99], "part__a_txt": b"another one"},
  )
  (root / "shards" / "damaged.tar").write_bytes(b"x" * 2000)
  return root


def test_videos_and_captions_in_archives_are_found(folder):
  found = find_videos(folder)
  assert found.videos == [
    "alone.mp4",
    "shards/00000.tar/b.mp4",
    "shards/00000.tar/part/a.mp4",
  ]
  assert read_captions(folder, found) == {
    "shards/00000.tar/b.mp4": "a caption",
    "shards/00000.tar/part/a.mp4": "another one",
  }
  assert list(found.skipped) == ["shards/damaged.tar"]
  assert "no tar archive" in found.skipped["shards/damaged.tar"]
  alone = find_videos(folder / "shards" / "00000.tar")
  assert alone.videos == ["b.mp4", "part/a.mp4"]
  assert len(read_captions(folder / "shards" / "00000.tar", alone)) == 2


def test_a_member_reads_as_the_file_that_was_packed(folder):
  def shown(path):
    pictures = []
    with pytest.raises(frames.DamagedError) as caught:
      for frame in frames.shown(path):
        pictures.append(frame.picture())
    return pictures, str(caught.value)

  packed, alone = shown(folder / "shards/00000.tar/b.mp4"), shown(folder / "alone.mp4")
  assert packed[1] == alone[1] and len(packed[0]) == len(alone[0])
  assert all((a == b).all() for a, b in zip(packed[0], alone[0], strict=True))
  assert archives.stamp(folder / "shards/00000.tar/b.mp4")[0] == (
    (folder / "alone.mp4").stat().st_size
  )


def test_what_is_not_there_is_said(folder):
  with pytest.raises(frames.UnreadableError, match="no such file"):
    next(frames.shown(folder / "shards/00000.tar/c.mp4"))
  with pytest.raises(frames.UnreadableError, match="no tar archive, or a damaged one"):
    next(frames.shown(folder / "shards/damaged.tar/c.mp4"))
