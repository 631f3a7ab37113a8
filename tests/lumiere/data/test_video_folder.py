import json
import logging
import os
import pathlib
import shutil
import subprocess
import sys
import unicodedata

import av
import numpy as np
import pytest
import tensorflow_datasets as tfds

from lumiere.data import frames, video_folder
from lumiere.data.loader import ToClip, Tokenize, make_loader
from lumiere.data.video_folder.builder import split_by_hash
from lumiere.data.video_folder.captions import find_videos, read_captions
from lumiere.data.video_folder.clips import UnusableError, read_clips
from lumiere.text.tokenize import ByteTokenizer
from tests.lumiere.data.frames.test_pictures import is_scene
from tests.lumiere.data.media import CASES, plain, ramp, write, write_sound


def clips_of(path, *, num_frames=4, fps=8.0, resolution=16, seed=0):
  settings = dict(num_frames=num_frames, fps=fps, resolution=resolution, seed=seed)
  return list(read_clips(path.parent, path.name, **settings))


def prepare(folder, data_dir, **kwargs):
  settings = dict(num_frames=4, fps=8.0, resolution=16) | kwargs
  return video_folder.load_or_prepare(folder, data_dir, **settings)


def skipped(builder):
  return {
    e["file"]: e["reason"] for e in json.loads((builder.data_path / "skipped.json").read_text())
  }


@pytest.mark.parametrize("source_fps", [24, 10, 5])
def test_frames_are_those_on_show_at_the_stated_times(tmp_path, source_fps):
  write(tmp_path / "a.mp4", ramp(3 * source_fps, step=3), source_fps)
  clips = clips_of(tmp_path / "a.mp4")
  assert len(clips) == 6  # three seconds, half a second each
  phases = [clip.start - 0.5 * k for k, clip in enumerate(clips)]
  assert 0 <= min(phases) and max(phases) < 1 / 8
  assert len(set(phases)) == 6 and np.ptp(phases) > 0.02
  for clip in clips:
    assert clip.video.shape == (4, 16, 16, 3) and clip.video.dtype == np.uint8
    expected = np.floor((clip.start + np.arange(4) / 8) * source_fps)
    np.testing.assert_array_equal(clip.video[:, 0, 0, 0] / 3, expected)


def test_clips_depend_on_the_seed_and_the_name_alone(tmp_path):
  for name in ("a.mp4", "b.mp4"):
    write(tmp_path / name, ramp(30), 24)

  def starts(name, seed):
    return [clip.start for clip in clips_of(tmp_path / name, seed=seed)]

  assert starts("a.mp4", 0) == starts("a.mp4", 0)
  assert starts("a.mp4", 0) != starts("a.mp4", 1)
  assert starts("a.mp4", 0) != starts("b.mp4", 0)


@pytest.mark.parametrize(
  ("source_frames", "clips"), [(12, 1), (10, 1), (9, 0), (23, 2), (24, 2), (1, 0)]
)
def test_the_number_of_clips_is_no_matter_of_chance(tmp_path, source_frames, clips):
  # 24 fps: the last of 4 frames at 8 fps begins with source frame 9, so that 10 frames make the first clip.
  write(tmp_path / "a.mp4", ramp(source_frames), 24)
  for seed in range(6):
    if clips:
      assert len(clips_of(tmp_path / "a.mp4", seed=seed)) == clips
    else:
      with pytest.raises(UnusableError, match="too short"):
        clips_of(tmp_path / "a.mp4", seed=seed)


def test_single_frames(tmp_path):
  write(tmp_path / "a.mp4", ramp(24), 24)
  assert len(clips_of(tmp_path / "a.mp4", num_frames=1)) == 8


def test_the_centre_is_kept_and_averaged(tmp_path):
  video = np.zeros((12, 32, 64, 3), np.uint8)
  video[:, :, 16:48] = np.random.default_rng(0).integers(0, 256, (32, 32, 3))
  video[:, :, :16] = 255
  write(tmp_path / "a.mp4", video, 24)
  clip = clips_of(tmp_path / "a.mp4")[0].video
  means = video[:4, :, 16:48].reshape(4, 16, 2, 16, 2, 3).mean((2, 4))
  assert np.abs(clip - means).max() <= 0.51


def test_from_encoded_files_to_batches(tmp_path):
  folder = tmp_path / "videos"
  write(folder / "red.mp4", plain((255, 0, 0)), 24)
  write(folder / "deep" / "green.webm", plain((0, 255, 0), 20), 10)
  write(folder / "blue.GIF", plain((0, 0, 255), 20, height=40), 10)
  (folder / "captions.csv").write_text('file,caption\nred.mp4,"red, all of it"\n')
  (folder / "captions.jsonl").write_text('{"file": "deep/green.webm", "caption": "grün"}\n')
  (folder / "blue.txt").write_text("blue\n")
  builder = prepare(folder, tmp_path / "data", validation_share=0.3)
  assert set(builder.info.splits) == {"train", "validation"}
  assert skipped(builder) == {}
  examples = [e for split in ("train", "validation") for e in builder.as_data_source(split=split)]
  assert len(examples) == 2 + 4 + 4
  assert {(e["source"], e["caption"]) for e in examples} == {
    (b"red.mp4", b"red, all of it"),
    (b"deep/green.webm", "grün".encode()),
    (b"blue.GIF", b"blue"),
  }
  assert {float(e["fps"]) for e in examples} == {8.0}
  assert {e["source"] for e in builder.as_data_source(split="train")}.isdisjoint(
    e["source"] for e in builder.as_data_source(split="validation")
  )

  tokenizer = ByteTokenizer(16)
  transforms = [ToClip(3, 8), Tokenize(tokenizer)]
  reopened = tfds.builder_from_directory(builder.data_path)  # what is on disk needs no code of ours
  source = [e for split in ("train", "validation") for e in reopened.as_data_source(split=split)]
  batch = next(
    iter(make_loader(source, batch_size=10, seed=0, shuffle=True, transforms=transforms))
  )
  assert batch["video"].shape == (10, 3, 8, 8, 3) and batch["video"].dtype == np.float32
  colours = {"red, all of it": (1, -1, -1), "grün": (-1, 1, -1), "blue": (-1, -1, 1)}
  for video, tokens in zip(batch["video"], batch["tokens"], strict=True):
    np.testing.assert_allclose(
      video, np.broadcast_to(colours[tokenizer.decode(tokens)], video.shape), atol=0.02
    )


def test_files_that_give_nothing_are_skipped_with_their_reasons(tmp_path, caplog):
  folder = tmp_path / "videos"
  for name in ("good.mp4", "silent.mp4", "blank.mp4"):
    write(folder / name, plain((255, 0, 0)), 24)
  write(folder / "short.mp4", plain((255, 0, 0), 5), 24)
  write(folder / "small.mp4", plain((255, 0, 0), width=12), 24)
  (folder / "broken.mp4").write_bytes(b"this is no video" * 100)
  (folder / "empty.gif").write_bytes(b"")
  write_sound(folder / "sound.mp4")
  (folder / "notes.md").write_text("not a video")
  write(folder / ".trash" / "old.mp4", plain((255, 0, 0)), 24)
  names = ["good", "short", "small", "broken", "sound", "gone"]
  rows = [f"{name}.mp4,x" for name in names] + ["empty.gif,x", "blank.mp4,  "]
  (folder / "captions.csv").write_text("\n".join(["file,caption", *rows]))
  with caplog.at_level(logging.WARNING):
    builder = prepare(folder, tmp_path / "data")
  reasons = skipped(builder)
  words = {
    "silent.mp4": "no caption",
    "blank.mp4": "no caption",
    "short.mp4": "too short: 0.21 s",
    "small.mp4": "too small: 12x32",
    "broken.mp4": "cannot be read: no video in it, or its head is damaged",
    "empty.gif": "cannot be read: it is empty",
    "sound.mp4": "cannot be read: no video in it, only audio",
    "gone.mp4": "no such file",
  }
  assert reasons.keys() == words.keys()
  for name, word in words.items():
    assert reasons[name].startswith(word), (name, reasons[name])
    assert f"{name}: {reasons[name]}" in caplog.text
  assert {e["source"] for e in builder.as_data_source(split="train")} == {b"good.mp4"}


def test_a_file_that_breaks_off_keeps_what_came_before(tmp_path):
  folder = tmp_path / "videos"
  folder.mkdir()
  shutil.copy(CASES / "truncated_tail.mp4", folder / "a.mp4")
  (folder / "a.txt").write_text("a ball rolls")
  builder = prepare(folder, tmp_path / "data")
  assert (
    8 <= len(builder.as_data_source(split="train")) <= 10
  )  # of 8 s nearly 5 are left, half a second each
  assert skipped(builder)["a.mp4"].startswith(
    "damaged: packets or frames that cannot be decoded: 1"
  )
  assert skipped(builder)["a.mp4"].endswith("clips, which are kept)")


def test_no_clip_spans_a_place_where_frames_are_lost(tmp_path):
  path = tmp_path / "a.mp4"
  write(path, ramp(60), 24, codec=("libx264", "yuv444p", {"g": "12", "crf": "1", "bf": "0"}))
  with av.open(str(path)) as container:
    packet = [packet for packet in container.demux(video=0) if packet.size][26]
  data = bytearray(path.read_bytes())
  data[packet.pos : packet.pos + packet.size] = bytes(packet.size)
  path.write_bytes(data)
  settings = dict(num_frames=4, fps=8.0, resolution=16, seed=0)
  clips = []
  with pytest.raises(UnusableError, match="damaged: .*the first at 1.08 s"):
    for clip in read_clips(tmp_path, "a.mp4", **settings):
      clips.append(clip)
  # Half a second each: frames 26 to 35 of 60 are lost, and with them the third clip, frames 24 to 35.
  assert [int(clip.start * 2) for clip in clips] == [0, 1, 3, 4]
  for clip in clips:
    expected = np.floor((clip.start + np.arange(4) / 8) * 24)
    np.testing.assert_array_equal(np.rint(clip.video[:, 0, 0, 0] / 4), expected)


def test_videos_and_pictures_are_upright(tmp_path):
  for name in ("phone_portrait.mp4", "anamorphic.mp4", "IMG_0001.MOV", "phone_exif6.jpg"):
    shutil.copy(CASES / name, tmp_path / name)
  for clip in clips_of(tmp_path / "IMG_0001.MOV", resolution=96):
    assert all(is_scene(frame) for frame in clip.video)
  upright = frames.fit(frames.first_frame(CASES / "phone_portrait.mp4"), 96).astype(int)
  for clip in clips_of(tmp_path / "phone_portrait.mp4", resolution=96):
    assert np.abs(clip.video - upright).mean() < 6  # all but the ball that rolls
    assert np.abs(clip.video - upright[::-1, ::-1]).mean() > 40
  (picture,) = clips_of(tmp_path / "phone_exif6.jpg", num_frames=1, resolution=96)
  assert is_scene(picture.video[0])
  circle = clips_of(tmp_path / "anamorphic.mp4", resolution=96)[0].video[0].min(-1) > 128
  height, width = (np.ptp(np.nonzero(circle)[axis]) for axis in (0, 1))
  assert abs(height - width) <= 1


def test_animations_are_videos_and_pictures_that_rest_are_not(tmp_path):
  shutil.copy(CASES / "anim.webp", tmp_path / "a.webp")
  assert len(clips_of(tmp_path / "a.webp")) == 5  # 2.5 s
  shutil.copy(CASES / "scene.png", tmp_path / "b.png")
  with pytest.raises(UnusableError, match="too short"):
    clips_of(tmp_path / "b.png")


def test_exactly_two_seconds_make_one_clip_of_sixteen_frames(tmp_path):
  for rate in (8, 25, 30):
    shutil.copy(CASES / f"two_seconds_{rate}fps.mp4", tmp_path / "a.mp4")
    assert len(clips_of(tmp_path / "a.mp4", num_frames=16)) == 1


def test_sizes_that_change_are_fitted_one_by_one(tmp_path):
  shutil.copy(CASES / "size_changes.webm", tmp_path / "a.webm")
  (clip,) = clips_of(tmp_path / "a.webm", num_frames=6, resolution=96)
  assert is_scene(clip.video[0]) and clip.video.shape == (6, 96, 96, 3)


def test_a_folder_that_yields_nothing_says_why(tmp_path):
  folder = tmp_path / "videos"
  folder.mkdir()
  with pytest.raises(ValueError, match=r"no video in it \(\.mp4, \.m4v, \.mov"):
    prepare(folder, tmp_path / "data")
  for name in ("a", "b"):
    (folder / f"{name}.mp4").write_bytes(b"no video")
    (folder / f"{name}.txt").write_text("x")
  write(folder / "c.mp4", plain((0, 0, 0)), 24)
  with pytest.raises(ValueError) as error:
    prepare(folder, tmp_path / "data")
  assert "2 x cannot be read (a.mp4" in str(error.value) and "1 x no caption (c.mp4" in str(
    error.value
  )
  assert "\n" not in str(error.value)


def test_no_folder(tmp_path):
  with pytest.raises(FileNotFoundError, match="nowhere"):
    prepare(tmp_path / "nowhere", tmp_path / "data")


@pytest.mark.parametrize(
  ("field", "value"),
  [("num_frames", 0), ("resolution", 0), ("fps", 0.0), ("seed", -1), ("validation_share", 1.0)],
)
def test_settings_that_cannot_be_are_named(tmp_path, field, value):
  with pytest.raises(ValueError, match=f"{field}={value}"):
    prepare(tmp_path, tmp_path / "data", **{field: value})


def test_only_a_change_prepares_anew(tmp_path):
  folder = tmp_path / "videos"
  write(folder / "a.mp4", plain((255, 0, 0)), 24)
  (folder / "a.txt").write_text("red")
  first = prepare(folder, tmp_path / "data")

  def times():
    return {path: path.stat().st_mtime_ns for path in pathlib.Path(first.data_path).iterdir()}

  before = times()
  again = prepare(folder, tmp_path / "data")
  assert again.data_path == first.data_path
  assert times() == before

  others = [prepare(folder, tmp_path / "data", fps=4.0), prepare(folder, tmp_path / "data", seed=1)]
  (folder / "a.txt").write_text("scarlet")
  others.append(prepare(folder, tmp_path / "data"))
  assert others[-1].as_data_source(split="train")[0]["caption"] == b"scarlet"
  write(folder / "a.mp4", plain((0, 255, 0)), 24)
  others.append(prepare(folder, tmp_path / "data"))
  (folder / "b.mp4").write_bytes(b"")
  others.append(prepare(folder, tmp_path / "data"))
  os.utime(folder / "a.mp4", (0, 0))
  others.append(prepare(folder, tmp_path / "data"))
  assert len({builder.data_path for builder in [first, *others]}) == 7


def test_splits_hold_whole_files_and_are_never_empty():
  names = [f"{i}.mp4" for i in range(400)]
  for count in (2, 3, 50):
    for share in (0.001, 0.3, 0.999):
      splits = split_by_hash(names[:count], share)
      assert splits["train"] and splits["validation"]
      assert sorted(splits["train"] + splits["validation"]) == sorted(names[:count])
  assert split_by_hash(["one.mp4"], 0.5) == {"train": ["one.mp4"], "validation": []}
  held_out = split_by_hash(names, 0.1)["validation"]
  assert 20 < len(held_out) < 60
  assert set(split_by_hash(names[:200], 0.1)["validation"]) == set(held_out) & set(names[:200])


def captions_of(folder):
  found = find_videos(folder)
  return read_captions(folder, found), found


def touch(folder, *names):
  for name in names:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).touch()


def test_captions_of_lists_come_before_texts_beside_files(tmp_path):
  (tmp_path / "captions.csv").write_text(
    "\ufeffcaption,file\nfrom csv,./a.mp4\n,b.mp4\n", encoding="utf-8"
  )
  (tmp_path / "captions.jsonl").write_text(
    '{"file": "a.mp4", "caption": "from jsonl"}\n\n{"file": "b.mp4", "caption": "two\\n lines"}\n'
  )
  touch(tmp_path, "a.mp4", "b.mp4", "c.webm", "d.gif")
  for name in ("a", "b", "c"):
    (tmp_path / f"{name}.txt").write_text("\ufefffrom text\n")
  captions, found = captions_of(tmp_path)
  assert captions == {"a.mp4": "from csv", "b.mp4": "two lines", "c.webm": "from text"}
  assert found.videos == ["a.mp4", "b.mp4", "c.webm", "d.gif"] and not found.skipped
  assert found.texts == ["a.txt", "b.txt", "c.txt", "captions.csv", "captions.jsonl"]


def test_lines_end_at_newlines_only(tmp_path):
  shutil.copy(CASES / "captions_u2028.jsonl", tmp_path / "captions.jsonl")
  touch(tmp_path, "a.mp4", "b.mp4")
  captions, _ = captions_of(tmp_path)
  assert captions == {"a.mp4": "a red ball rolls over grass", "b.mp4": "a ball"}
  lines = [
    '{"file": "a.mp4", "caption": "one\x85two\x0cthree\x1cfour"}',
    '{"file": "b.mp4", "caption": "b"}',
  ]
  (tmp_path / "captions.jsonl").write_bytes("\r\n".join(lines).encode())
  with pytest.raises(
    ValueError, match="captions.jsonl, line 1"
  ):  # control characters must be escaped in JSON
    captions_of(tmp_path)
  (tmp_path / "captions.jsonl").unlink()
  (tmp_path / "captions.csv").write_bytes(
    "file,caption\r\na.mp4,one\u2028two\x85three\r\n".encode()
  )
  assert captions_of(tmp_path)[0] == {"a.mp4": "one two three"}


def test_byte_order_marks_of_joined_files_are_no_part_of_a_name(tmp_path):
  touch(tmp_path, "a.mp4", "b.mp4")
  parts = ['\ufeff{"file": "a.mp4", "caption": "a"}\n', '\ufeff{"file": "b.mp4", "caption": "b"}\n']
  (tmp_path / "captions.jsonl").write_text("".join(parts), encoding="utf-8")
  assert captions_of(tmp_path)[0] == {"a.mp4": "a", "b.mp4": "b"}


def test_names_are_the_same_in_every_unicode_form(tmp_path):
  composed, split = (unicodedata.normalize(form, "für Zoë") for form in ("NFC", "NFD"))
  assert composed != split
  touch(tmp_path, f"{composed}/{split}.mp4", f"{split}.mov", f"{composed}.mkv")
  (tmp_path / "captions.csv").write_text(f"file,caption\n{split}/{composed}.mp4,in a list\n")
  (tmp_path / f"{composed}.txt").write_text("beside both")
  captions, found = captions_of(tmp_path)
  assert captions == {
    f"{composed}/{split}.mp4": "in a list",
    f"{split}.mov": "beside both",
    f"{composed}.mkv": "beside both",
  }
  assert not found.skipped


def test_paths_of_all_kinds_are_understood(tmp_path):
  folder, elsewhere = tmp_path / "videos", tmp_path / "elsewhere"
  touch(folder, "deep/a.mp4", "b.mp4", "c.mp4", "d.mp4")
  touch(elsewhere, "e.mp4", "f.mp4")
  (tmp_path / "link").symlink_to(folder)
  names = [
    "deep\\a.mp4",
    ".\\b.mp4",
    str(folder / "deep" / ".." / "c.mp4"),
    str(tmp_path / "link" / "d.mp4"),
    str(elsewhere / "e.mp4"),
    "../elsewhere/f.mp4",
    str(folder / "gone.mp4"),
    "deep",
  ]
  lines = [json.dumps({"file": name, "caption": f"caption {i}"}) for i, name in enumerate(names)]
  (folder / "captions.jsonl").write_text("\n".join(lines))
  captions, found = captions_of(folder)
  assert captions == {
    "deep/a.mp4": "caption 0",
    "b.mp4": "caption 1",
    "c.mp4": "caption 2",
    "d.mp4": "caption 3",
    str(elsewhere / "e.mp4"): "caption 4",
    str(elsewhere / "f.mp4"): "caption 5",
  }
  assert found.skipped == {
    str(folder / "gone.mp4"): "no such file: there is only its caption",
    "deep": "it is a folder",
  }


def test_nothing_vanishes_unlisted(tmp_path):
  folder = tmp_path / "videos"
  names = ("good.mp4", "ALSO.MOV", "deep/too.MkV", "odd.video", "named.bin")
  for name in names:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(CASES / "IMG_0001.MOV", folder / name)
    (folder / name).with_suffix(".txt").write_text(name)
  (folder / "named.txt").unlink()
  (folder / "captions.csv").write_text("file,caption\nnamed.bin,named.bin\n")
  (folder / "lonely.txt").write_text("a text without a video")
  (folder / "broken.avi").symlink_to("nowhere.avi")
  (folder / "broken.txt").write_text("a link to nothing")
  (folder / "silent.m4v").write_bytes(b"x")
  (folder / "notes.md").write_text("no caption names it")
  builder = prepare(folder, tmp_path / "data", validation_share=0.2)
  examples = [e for split in ("train", "validation") for e in builder.as_data_source(split=split)]
  assert {(e["source"].decode(), e["caption"].decode()) for e in examples} == {
    (name, name) for name in names
  }
  assert skipped(builder) == {
    "lonely.txt": "no video beside it: there is only a text",
    "broken.avi": "cannot be read: no such file",
    "silent.m4v": "no caption",
  }


def test_linked_folders_are_followed_once(tmp_path):
  folder, elsewhere = tmp_path / "videos", tmp_path / "elsewhere"
  touch(folder, "own/a.mp4")
  touch(elsewhere, "b.mp4", "deep/c.mp4", ".hidden/d.mp4")
  (folder / "link").symlink_to(elsewhere)
  (folder / "again").symlink_to(folder / "own")
  (folder / "own" / "loop").symlink_to(folder)
  (elsewhere / "back").symlink_to(folder)
  (folder / "captions.csv").write_text(
    "file,caption\nagain/a.mp4,by another way\nlink/b.mp4,linked\n"
  )
  captions, found = captions_of(folder)
  assert found.videos == ["link/b.mp4", "link/deep/c.mp4", "own/a.mp4"]
  assert captions == {"own/a.mp4": "by another way", "link/b.mp4": "linked"}


def test_folders_that_cannot_be_listed_and_names_that_cannot_be_written(tmp_path, monkeypatch):
  touch(tmp_path, "a.mp4", "closed/b.mp4")
  with open(os.fsencode(tmp_path) + b"/\xff.mp4", "wb"):
    pass
  scan = os.scandir

  def scandir(path):
    if pathlib.Path(path).name == "closed":
      raise PermissionError(13, "Permission denied")
    return scan(path)

  monkeypatch.setattr(os, "scandir", scandir)
  found = find_videos(tmp_path)
  assert found.videos == ["a.mp4"]
  assert found.skipped == {
    "closed": "cannot be listed: permission denied",
    "\\xff.mp4": "its name is not UTF-8",
  }


@pytest.mark.parametrize(
  ("name", "content", "words"),
  [
    ("captions.csv", b"name,text\na.mp4,x\n", "must include 'file' and 'caption'"),
    ("captions.csv", b"", "must include"),
    ("captions.csv", b"file,caption\na.mp4,one, two\n", "line 2"),
    ("captions.csv", b"file,caption\na.mp4\n", "line 2"),
    ("captions.csv", b"file,caption\na.mp4,\xff\xfe\n", "UTF-8"),
    ("captions.jsonl", b'{"file": "a.mp4", "caption": "x"}\n{"file": "b.mp4"}\n', "line 2"),
    ("captions.jsonl", b"a.mp4: x\n", "line 1"),
    ("captions.jsonl", b'{"file": "a.mp4", "caption": 3}\n', "line 1"),
    ("captions.jsonl", b'{"file": "a.mp4", "caption": "\\ud800"}\n', "line 1"),
    ("captions.jsonl", b"[" * 100000, "line 1"),
    ("captions.jsonl", "a.mp4".encode("utf-16"), "captions.jsonl: must be UTF-8"),
    ("a.txt", b"\xff\xfe", "a.txt: must be UTF-8"),
  ],
)
def test_captions_that_cannot_be_read(tmp_path, name, content, words):
  touch(tmp_path, "a.mp4", "b.mp4")
  (tmp_path / name).write_bytes(content)
  with pytest.raises(ValueError, match=words) as error:
    captions_of(tmp_path)
  assert name in str(error.value)


def test_neither_preparing_nor_loading_imports_tensorflow(tmp_path):
  write(tmp_path / "videos" / "a.mp4", plain((255, 0, 0)), 24)
  (tmp_path / "videos" / "a.txt").write_text("red")
  program = """if True:
    import sys
    from lumiere.data import frames, video_folder
    from lumiere.data.loader import ToClip, make_loader
    builder = video_folder.load_or_prepare(*sys.argv[1:], num_frames=4, fps=8.0, resolution=16)
    source = builder.as_data_source(split="train")
    next(iter(make_loader(source, batch_size=1, seed=0, shuffle=True, transforms=[ToClip(4, 8)])))
    assert "tensorflow" not in sys.modules
  """
  root = pathlib.Path(__file__).parents[3]
  command = [sys.executable, "-c", program, tmp_path / "videos", tmp_path / "data"]
  subprocess.run(command, check=True, cwd=root)
