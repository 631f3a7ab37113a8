"""A folder with planted faults, curated: by one process, by two, in shards, after a stop, with other rules."""

import csv
import dataclasses
import io
import pathlib
import re
import tarfile

import cv2
import numpy as np
import pandas as pd
import pytest

from lumiere.data import frames
from lumiere.data.curation import report, run
from lumiere.data.curation.look import ClipSettings
from lumiere.data.curation.rules import DEFAULT_RULES
from lumiere.data.curation.runners import Processes
from tests import command_line
from tests.lumiere.data import media
from tests.lumiere.data.curation.footage import FPS, pan, write

SETTINGS = ClipSettings(num_frames=8, fps=8.0)


def letterboxed(video):
  return np.pad(video, [(0, 0), (24, 24), (0, 0), (0, 0)])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
  """One file for each thing that may be wrong, and some with nothing wrong."""
  root = tmp_path_factory.mktemp("videos")
  write(root / "fine.mp4", pan(1, 30))
  write(root / "cut.mp4", pan(2, 30), pan(11, 40))
  write(root / "letterbox.mp4", letterboxed(pan(4, 30)))
  write(root / "copy.webm.mp4", np.stack([cv2.resize(frame, (128, 76)) for frame in pan(1, 30)]))
  write(root / "still.mp4", pan(5, 30, step=0))
  write(root / "dark.mp4", pan(6, 30) // 20)
  write(root / "blurred.mp4", np.stack([cv2.GaussianBlur(f, (0, 0), 12) for f in pan(7, 30)]))
  write(root / "short.mp4", pan(8, 12))
  write(root / "unnamed.mp4", pan(9, 30))
  media.write_sound(root / "sound.mp4")
  whole = (media.CASES / "truncated_tail.mp4").read_bytes()
  (root / "damaged.mp4").write_bytes(whole)
  with (root / "captions.csv").open("w", newline="") as file:
    rows = csv.writer(file)
    rows.writerow(("file", "caption"))
    rows.writerows(
      (path.name, f"a texture, {path.stem}")
      for path in sorted(root.glob("*.mp4"))
      if path.stem != "unnamed"
    )
  return root


def curated(folder, out, workers=1, rules=DEFAULT_RULES, **options):
  job = run.Job.make(folder, out, SETTINGS, files_per_shard=3)
  job.look(Processes(workers))
  text = job.decide(rules, radius=6, held_out=0.3, **options)
  return text, pd.read_parquet(out / "clips.parquet"), pd.read_parquet(out / "sources.parquet")


@pytest.fixture(scope="module")
def whole(folder, tmp_path_factory):
  out = tmp_path_factory.mktemp("curated") / "whole"
  return out, *curated(folder, out)


def content(out):
  return {
    str(p.relative_to(out)): p.read_bytes()
    for p in sorted(pathlib.Path(out).rglob("*"))
    if p.is_file()
  }


def test_every_fault_is_found_and_nothing_else(whole):
  _, text, clips, sources = whole
  reasons = (
    clips.groupby("source")["reason"].agg(lambda found: "; ".join(sorted(set(found)))).to_dict()
  )
  damaged = reasons.pop("damaged.mp4")
  assert damaged in (
    "",
    "near duplicate of damaged.mp4, clip 0",
    "; near duplicate of damaged.mp4, clip 0",
  )
  assert reasons == {
    "blurred.mp4": "blur < 0.6",
    "copy.webm.mp4": "near duplicate of fine.mp4, clip 0",
    "cut.mp4": "",
    "dark.mp4": "brightness > 0.05 and brightness < 0.95",
    "fine.mp4": "",
    "letterbox.mp4": "",
    "still.mp4": "motion > 0.005 or local_motion > 0.02",
    "unnamed.mp4": "no caption",
  }
  problems = dict(zip(sources["source"], sources["problem"], strict=True))
  assert problems.pop("sound.mp4") == "cannot be read: no video in it, only audio"
  assert problems.pop("damaged.mp4").startswith("damaged: packets or frames that cannot be decoded")
  assert set(problems.values()) == {""}
  assert (
    "1 cannot be read" in text
    and "1 damaged" in text
    and "1 without a shot as long as a clip" in text
  )


def test_no_clip_crosses_a_cut_and_all_have_their_place(whole):
  _, _, clips, sources = whole
  cut = clips[clips["source"] == "cut.mp4"]
  assert cut["clip"].tolist() == [0, 1] and cut["caption"].unique().tolist() == ["a texture, cut"]
  begin, end = cut["start"], cut["start"] + cut["duration"]
  assert 0 <= begin.iloc[0] < 1 / 8 and end.iloc[0] <= 30 / FPS
  assert begin.iloc[1] >= 30 / FPS + 0.1 and end.iloc[1] <= 70 / FPS + 0.001
  row = sources.set_index("source").loc["cut.mp4"]
  assert (row["shots"], row["clips"], row["frames"], row["codec"]) == (2, 2, 70, "h264")
  assert row["duration"] == pytest.approx(70 / FPS, abs=0.001)


def test_black_bars_are_measured_and_the_size_is_without_them(whole):
  clips = whole[2].set_index("source")
  assert clips.loc["letterbox.mp4", ["top", "bottom", "left", "right"]].tolist() == pytest.approx(
    [1 / 6, 1 / 6, 0, 0], abs=0.01
  )
  assert clips.loc["letterbox.mp4", "height"] == pytest.approx(96, abs=2)
  assert clips.loc["fine.mp4", ["height", "width"]].tolist() == [96, 160]


def test_motion_is_in_frame_heights_a_second(whole):
  clips = whole[2].set_index("source")
  assert clips.loc["fine.mp4", "motion"] == pytest.approx(FPS / 96, rel=0.15)


def test_a_source_is_on_one_side_and_stays_there(whole):
  clips = whole[2]
  assert clips.groupby("source")["split"].nunique().max() == 1
  assert set(clips["split"]) == {"train", "validation"}


def test_an_archive_and_a_table_of_files_give_what_the_folder_gives(whole, folder, tmp_path):
  archive, table = tmp_path / "all.tar", tmp_path / "files.csv"
  names = ["cut.mp4", "fine.mp4", "letterbox.mp4"]
  with tarfile.open(archive, "w") as tar:
    for name in names:
      tar.add(folder / name, name)
      text = tarfile.TarInfo(name.replace(".mp4", ".txt"))
      text.size = len(caption := f"a texture, {name[:-4]}".encode())
      tar.addfile(text, io.BytesIO(caption))
  rows = [(str(folder / name), f"a texture, {name[:-4]}") for name in [*names, "none.mp4"]]
  pd.DataFrame(rows, columns=["path", "text"]).to_csv(table, index=False)
  expected = whole[2][whole[2]["source"].isin(names)].drop(columns=["start", "split", "group"])
  _, packed, _ = curated(archive, tmp_path / "a")
  text, listed, _ = curated(table, tmp_path / "b", captions=table)
  assert "1 names skipped, the first is" in text and "no such file" in text
  listed["source"] = listed["source"].str.rpartition("/")[2]
  for found in (packed, listed):
    found = found.drop(columns=["split", "group"])
    assert found["source"].tolist() == expected["source"].tolist()
    assert found["caption"].tolist() == expected["caption"].tolist()
    assert found["side"].tolist() == expected["side"].tolist()
    assert set(found["reason"]) == {""}


def test_two_processes_and_shards_give_the_same_bytes(whole, folder, tmp_path):
  curated(folder, tmp_path / "two", workers=2)
  job = run.Job.make(folder, tmp_path / "shards", SETTINGS, files_per_shard=3)
  job.look(Processes(), (2, 2))
  with pytest.raises(ValueError, match="2 of 4 shards have not been looked at, the first is 0"):
    job.decide((), radius=6, held_out=0.3)
  job.look(Processes(), (1, 2))
  curated(folder, tmp_path / "shards")
  assert content(tmp_path / "two") == content(tmp_path / "shards") == content(whole[0])


def test_what_was_stopped_goes_on_and_nothing_is_looked_at_twice(
  whole, folder, tmp_path, monkeypatch
):
  job = run.Job.make(folder, tmp_path / "out", SETTINGS, files_per_shard=3)
  written = run.table.write

  def killed(path, *args):
    if path.name == "000001.sources.parquet":
      path.with_name(f"{path.name}.partial").write_bytes(b"half")
      raise KeyboardInterrupt
    written(path, *args)

  monkeypatch.setattr(run.table, "write", killed)
  with pytest.raises(KeyboardInterrupt):
    job.look(Processes())
  monkeypatch.undo()
  assert job.missing() == [1, 2, 3]
  looked = []
  monkeypatch.setattr(
    run,
    "look",
    lambda folder, name, settings, look=run.look: (
      looked.append(name) or look(folder, name, settings)
    ),
  )
  curated(folder, tmp_path / "out")
  assert len(looked) == 8
  assert content(tmp_path / "out") == content(whole[0])


def test_other_rules_need_no_other_look(whole, folder, monkeypatch):
  out, _, before, _ = whole
  monkeypatch.setattr(run, "look", None)
  text, clips, _ = curated(folder, out, rules=["width == 128"])
  assert set(clips.loc[clips["reason"] == "", "source"]) == {"copy.webm.mp4"}, (
    "no duplicate of what is dropped"
  )
  assert "dropped: width == 128" in text
  curated(folder, out)
  pd.testing.assert_frame_equal(pd.read_parquet(out / "clips.parquet"), before)


def test_columns_of_others_are_used_by_rules(whole, folder, tmp_path):
  """A score is added to the tables of the shards, by whatever tool."""
  job = run.Job.make(folder, tmp_path / "out", SETTINGS, files_per_shard=3)
  job.look(Processes())
  for shard in range(job.num_shards):
    frame = pd.read_parquet(job.path(shard, "clips"))
    frame["aesthetic"] = np.where(frame["source"] == "cut.mp4", 6.0, 4.0)
    frame.to_parquet(job.path(shard, "clips"))
  job.decide(["aesthetic > 5"], radius=-1, held_out=0.3)
  clips = pd.read_parquet(tmp_path / "out" / "clips.parquet")
  assert set(clips.loc[clips["reason"] == "", "source"]) == {"cut.mp4"}


def test_other_settings_or_files_need_another_folder(whole, folder):
  with pytest.raises(ValueError, match="fps: 12.0 here, 8.0 there.* give another folder"):
    run.Job.make(folder, whole[0], dataclasses.replace(SETTINGS, fps=12.0), files_per_shard=3)


def test_the_report_shows_examples_of_each_reason_and_the_thresholds(whole, folder, tmp_path):
  _, _, clips, sources = whole
  page = report.write(tmp_path / "report", sources, clips, folder, DEFAULT_RULES, 8, 8.0)
  text = page.read_text()
  shown = re.findall(r'<video src="([^"]*)"', text)
  kinds = clips["reason"].str.replace(r" of .*", "", regex=True)
  assert len(shown) == sum(min(count, report.SHOWN) for count in kinds.value_counts())
  for name in shown:
    video = frames.read_video(page.parent / name, 8)
    assert len(video) == 8 and min(video.shape[1:3]) <= 128
  assert "near duplicate of fine.mp4, clip 0" in text and "cannot be read" in text
  assert text.count("<line") == sum(len(report.thresholds(c, DEFAULT_RULES)) for c in clips.columns)
  assert report.thresholds("motion", DEFAULT_RULES) == [0.005, 2.0]
  assert report.thresholds("local_motion", DEFAULT_RULES) == [0.02]


def test_a_page_about_nothing_is_a_page(whole, folder, tmp_path):
  _, _, clips, sources = whole
  page = report.write(tmp_path / "report", sources, clips[:0], folder, (), 8, 8.0)
  assert "Training would see nothing" in page.read_text()


def test_the_command_says_what_it_did_and_what_cannot_be(folder, monkeypatch, capsys, tmp_path):
  call = lambda *more: command_line.run(monkeypatch, capsys, "lumiere/curate.py", *more)
  given = [f"--videos={folder}", f"--out={tmp_path / 'out'}", "--num_frames=8", "--fps=8"]
  code, printed, _ = call(*given, "--shard=1/1")
  assert code == 0 and "0 of 1 shards are left" in printed
  code, printed, _ = call(*given, "--keep=motion > 0.02", "--keep=width > 100")
  assert code == 0 and "11 files" in printed and "dropped: motion > 0.02" in printed
  command_line.assert_one_line(call(f"--videos={folder}"), "--out is missing")
  command_line.assert_one_line(call(*given, "--shard=3/2"), "--shard=3/2 must be i/n")
  command_line.assert_one_line(
    call(*given, "--keep=motoin > 1"), "'motoin > 1' is no rule", "local_motion"
  )
  command_line.assert_one_line(call(*given, "--keep=motion"), "must say yes or no")
  command_line.assert_one_line(call(*given[1:], f"--videos={tmp_path / 'none'}"), "none")
  (tmp_path / "empty").mkdir()
  command_line.assert_one_line(
    call(*given[1:], f"--videos={tmp_path / 'empty'}"), "there is no video in it"
  )
  command_line.assert_one_line(call(*given[:2], "--fps=0"), "fps=0.0 must be positive")


def test_a_score_of_ones_own_is_a_column_that_rules_use(whole, folder, tmp_path, monkeypatch):
  (tmp_path / "own_scores.py").write_text(
    "def redness(video, fps, caption):\n"
    "  assert video.shape[0] == 4 and video.shape[1:3] != (256, 256) and fps == 4, video.shape\n"
    "  return video[..., 0].mean() if 'texture' in caption else -1\n"
    "def nothing(video, fps, caption):\n"
    "  return None\n"
    "def motion(video, fps, caption):\n"
    "  return 1\n"
  )
  monkeypatch.syspath_prepend(tmp_path)
  job = run.Job.make(folder, tmp_path / "out", SETTINGS, files_per_shard=3)
  job.look(Processes())
  job.score("own_scores:redness", Processes())
  before = content(tmp_path / "out")
  monkeypatch.setattr(run.scores, "write", None)  # nothing is scored twice
  job.score("own_scores:redness", Processes())
  monkeypatch.undo()
  monkeypatch.syspath_prepend(tmp_path)
  assert content(tmp_path / "out") == before
  job.decide(["redness > 60"], radius=-1, held_out=0.3)
  clips = job.clips().set_index("source")
  assert clips.loc["unnamed.mp4", "redness"] == -1 and clips.loc["dark.mp4", "redness"] < 20
  assert clips.loc["dark.mp4", "reason"] == "redness > 60"
  job.path(1, "score.redness").unlink()
  with pytest.raises(ValueError, match="only some clips have the score 'redness'"):
    job.decide((), radius=-1, held_out=0.3)
  for spec, message in (
    ("own_scores:nothing", "must return a number, not None, as for .*, clip 0"),
    ("own_scores:motion", "has a column 'motion' already"),
    ("own_scores:none", "has no function none"),
    ("no_such:score", "module no_such cannot be imported"),
    ("own_scores", "must be MODULE:FUNCTION"),
  ):
    with pytest.raises(ValueError, match=message):
      job.score(spec, Processes())
