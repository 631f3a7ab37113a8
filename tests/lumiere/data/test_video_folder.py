import json
import logging
import os
import pathlib
import shutil
import subprocess
import sys

import av
import numpy as np
import pytest
import tensorflow_datasets as tfds

from lumiere.data import frames
from lumiere.data.loader import ToClip, Tokenize, make_loader
from lumiere.data.video_folder import builder as video_folder
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
  transforms = [ToClip(3, (8, 8)), Tokenize(tokenizer)]
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
    "small.mp4": "too small: 32x12",
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
    assert np.abs(clip.video[:, :40] - upright[:40]).mean() < 2  # the sky and the arrow
    assert np.abs(clip.video[:, :40] - upright[::-1, ::-1][:40]).mean() > 20
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


def test_neither_preparing_nor_loading_imports_tensorflow(tmp_path):
  write(tmp_path / "videos" / "a.mp4", plain((255, 0, 0)), 24)
  (tmp_path / "videos" / "a.txt").write_text("red")
  program = """if True:
    import sys
    from lumiere.data import frames
    from lumiere.data.video_folder import builder as video_folder
    from lumiere.data.loader import ToClip, make_loader
    builder = video_folder.load_or_prepare(*sys.argv[1:], num_frames=4, fps=8.0, resolution=16)
    source = builder.as_data_source(split="train")
    next(iter(make_loader(source, batch_size=1, seed=0, shuffle=True, transforms=[ToClip(4, (8, 8))])))
    assert "tensorflow" not in sys.modules
  """
  root = pathlib.Path(__file__).parents[3]
  command = [sys.executable, "-c", program, tmp_path / "videos", tmp_path / "data"]
  subprocess.run(command, check=True, cwd=root)
