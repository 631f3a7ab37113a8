"""Clips that are stored encoded: what is in them, files that are written once, and training on them as on decoded frames."""

import dataclasses
import itertools
import pickle

import numpy as np
import pandas as pd
import pytest
import tensorflow_datasets as tfds

from lumiere.data import frames, loader, sources, tfrecords
from lumiere.data.curation import records, run
from lumiere.data.curation.look import ClipSettings
from lumiere.data.curation.runners import Processes
from lumiere.data.frames import encoded
from lumiere.sections import DataConfig
from tests import command_line
from tests.lumiere.data.curation.footage import FPS, pan, write

SETTINGS = ClipSettings(num_frames=12, fps=12.0, margin=0.0)
STORED = records.RecordSettings(crf=12, clips_per_file=2)


@pytest.fixture(scope="module")
def job(tmp_path_factory):
  """A curation of three files with two clips each, of which one has black bars."""
  root = tmp_path_factory.mktemp("stored")
  (root / "videos").mkdir()
  for seed in (1, 2):
    write(root / "videos" / f"{seed}.mp4", pan(seed, 52))
  write(root / "videos" / "bars.mp4", np.pad(pan(3, 52), [(0, 0), (0, 0), (40, 40), (0, 0)]))
  for name in ("1", "2", "bars"):
    (root / "videos" / f"{name}.txt").write_text(f"texture {name}")
  made = run.Job.make(root / "videos", root / "out", SETTINGS, files_per_shard=8)
  made.look(Processes())
  made.decide((), radius=-1, held_out=0.5)
  made.write(STORED, Processes())
  return made


def config(job, **changes):
  shape = dict(num_frames=5, resolution=32, fps=12.0, folder=str(job.out))
  return DataConfig(**dict(dataset="curated") | shape | changes)


def both(job, **changes):
  """Examples of both splits by source and start."""
  found = {}
  for split in ("train", "validation"):
    for example in sources.make_source(config(job, **changes), split):
      found[example["source"].decode(), round(float(example["start"]), 3)] = example
  return found


def content(folder):
  return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_clips_show_what_the_file_shows_at_their_times(job):
  table = pd.read_parquet(job.out / "clips.parquet")
  found = both(job, num_frames=12, resolution=96)
  assert len(found) == len(table) == 6
  for row in table.to_dict("records"):
    example = found[row["source"], round(row["start"], 3)]
    assert example["caption"].decode() == f"texture {row['source'].removesuffix('.mp4')}"
    video = frames.read_video(job.folder / row["source"], FPS)
    indices = np.floor((row["start"] + np.arange(12) / 12) * FPS + 1e-3).astype(int)
    expected = np.stack(
      [
        frames.fit(frame[:, 40:-40] if "bars" in row["source"] else frame, 96)
        for frame in video[indices]
      ]
    )
    assert np.abs(np.asarray(example["video"]).astype(int) - expected).mean() < 3
    assert (example["height"], example["width"], example["num_frames"]) == (96, 160, 12)


def test_any_run_of_frames_is_that_of_the_whole_clip():
  video = pan(4, 21, step=3)
  content = encoded.encode(iter(video), 24, 12)
  whole = np.stack(list(encoded.decode(content, 0, 21)))
  assert np.abs(whole.astype(int) - video).mean() < 5  # chroma of a picture that rolls by odd steps
  for first, last in itertools.combinations((0, 1, 7, 8, 9, 16, 20, 21), 2):
    np.testing.assert_array_equal(
      np.stack(list(encoded.decode(content, first, last))), whole[first:last]
    )
  clip = encoded.EncodedClip(content, 21, (96, 96))
  np.testing.assert_array_equal(np.asarray(clip)[5:9], clip[5:9])
  assert clip.shape == np.asarray(clip).shape and len(clip) == 21
  assert encoded.encode(iter(video), 24, 12) == content


def test_training_on_stored_clips_is_training_on_their_frames(job):
  """Bit for bit, for a stage of clips and one of pictures."""
  source = sources.make_source(config(job), "train")
  decoded = [dict(example) | {"video": np.asarray(example["video"])} for example in source]
  for num_frames, resolution in ((5, 32), (1, 16)):
    batches = []
    for examples in (source, decoded):
      clip = loader.ToClip(num_frames, (resolution, resolution))
      options = dict(batch_size=2, seed=3, shuffle=True, transforms=[clip])
      iterator = iter(loader.make_loader(examples, **options))
      batches.append([next(iterator) for _ in range(4)])
    for one, other in zip(*batches, strict=True):
      assert one.keys() == other.keys()
      for key in one:
        np.testing.assert_array_equal(one[key], other[key])


def test_files_are_written_once_and_alike_by_two_processes(job, tmp_path, monkeypatch):
  before = content(job.out / "records")
  assert sum("array_record" in name for name in before) >= 3 and "dataset_info.json" in before
  again = dataclasses.replace(job, out=tmp_path / "again")
  (tmp_path / "again").mkdir()
  (tmp_path / "again" / "clips.parquet").write_bytes((job.out / "clips.parquet").read_bytes())
  again.write(STORED, Processes(2))
  assert content(tmp_path / "again" / "records") == before
  gone = next(name for name in before if "array_record" in name)
  (tmp_path / "again" / "records" / gone).unlink()
  written = []
  one = records.write_file
  monkeypatch.setattr(
    records, "write_file", lambda path, *args: written.append(path.name) or one(path, *args)
  )
  again.write(STORED, Processes())
  assert written == [gone] and content(tmp_path / "again" / "records") == before
  with pytest.raises(
    ValueError, match="records holds other clips, or was written with other settings"
  ):
    again.write(dataclasses.replace(STORED, crf=20), Processes())


def test_tfrecords_give_the_same_examples_by_their_index(job, tmp_path):
  again = dataclasses.replace(job, out=tmp_path)
  (tmp_path / "clips.parquet").write_bytes((job.out / "clips.parquet").read_bytes())
  again.write(dataclasses.replace(STORED, file_format="tfrecord"), Processes())
  stored, found = both(job), both(again)
  assert stored.keys() == found.keys() and len(found) == 6
  for key, example in stored.items():
    assert example["caption"] == found[key]["caption"]
    np.testing.assert_array_equal(np.asarray(example["video"]), np.asarray(found[key]["video"]))
  source = sources.make_source(config(again), "train")
  assert pickle.loads(pickle.dumps(source))[1]["start"] == source[1]["start"]
  dataset = tfds.builder_from_directory(tmp_path / "records").as_dataset(split="train")
  assert len(list(dataset)) == len(source)
  path = next((tmp_path / "records").glob("*tfrecord*"))
  path.write_bytes(path.read_bytes()[:-3])
  with pytest.raises(ValueError, match="ends within a record"):
    tfrecords.offsets_of(path)
  with pytest.raises(ValueError, match="must be one of array_record, tfrecord"):
    records.RecordSettings(file_format="webdataset")


def test_frames_are_reduced_to_the_side_that_was_asked_for_and_never_enlarged():
  row = dict.fromkeys(("top", "bottom", "left", "right"), 0.0)
  picture = pan(1, 1)[0]
  assert records.framed(picture, row, 48).shape == (48, 80, 3)
  assert (
    records.framed(picture, row, 500).shape == records.framed(picture, row, 0).shape == (96, 160, 3)
  )
  assert records.framed(picture[:95, :159], row, 0).shape == (94, 158, 3)
  np.testing.assert_array_equal(records.framed(picture, row | {"top": 0.25}, 0), picture[24:])


@pytest.mark.parametrize(
  ("changes", "message"),
  [
    (dict(num_frames=13), "config.data.num_frames=13 must be at most 12"),
    (dict(fps=8.0), "config.data.fps=8 must be 12"),
    (dict(resolution=98), "config.data.resolution=98x98 must be at most 96x160"),
    (dict(folder="nowhere"), "config.data.folder=nowhere: no stored clips"),
    (dict(folder=""), "data.folder is empty: dataset='curated'"),
  ],
)
def test_configs_that_do_not_fit_are_refused(job, changes, message):
  with pytest.raises(ValueError, match=message):
    sources.make_source(config(job, **changes), "train")


def test_a_dataset_serves_several_shapes(tmp_path, caplog):
  """Landscape, portrait and square files, and one that no bucket fits."""
  (tmp_path / "videos").mkdir()
  crops = {"wide": (96, 160), "tall": (96, 64), "square": (96, 96), "strip": (32, 160)}
  for seed, (name, (height, width)) in enumerate(crops.items()):
    write(tmp_path / "videos" / f"{name}.mp4", pan(seed, 52)[:, :height, :width])
    (tmp_path / "videos" / f"{name}.txt").write_text(name)
  made = run.Job.make(tmp_path / "videos", tmp_path / "out", SETTINGS, files_per_shard=8)
  made.look(Processes())
  made.decide((), radius=-1, held_out=0.0)
  made.write(STORED, Processes())
  buckets = ((24, 40), (48, 32), (32, 32))
  data = config(made, buckets=buckets, resolution=32)
  source = sources.make_source(data, "train")
  found = {
    source[index]["source"].decode().removesuffix(".mp4"): source[index]["video"].shape[1:3]
    for index in range(len(source))
  }
  assert found == {"wide": (24, 40), "tall": (48, 32), "square": (32, 32)}
  groups = [{source[i]["caption"].decode() for i in group.tolist()} for group in source.groups]
  assert groups == [{"wide"}, {"tall"}, {"square"}]
  said = sources.left_out(data)
  assert said.startswith(
    "2 of 8 clips fit no bucket and are left out: 0 are smaller than all buckets"
  )
  assert "of 2 more than max_cut=25% would be cut off; the first are strip.mp4 at" in said
  assert not sources.left_out(config(made)) and len(sources.make_source(config(made), "train")) == 8
  with pytest.raises(ValueError, match="no clip in .* fits 96x24; leave it out, or raise max_cut"):
    sources.make_source(config(made, buckets=((96, 24), (24, 40))), "train")
  with pytest.raises(ValueError, match="buckets=.* must be empty for dataset='video_folder'"):
    config(made, dataset="video_folder", buckets=buckets)


def test_a_file_that_has_changed_is_named(job, tmp_path):
  table = pd.read_parquet(job.out / "clips.parquet")
  row = table[table["source"] == "1.mp4"].iloc[1].to_dict()
  write(tmp_path / "1.mp4", pan(1, 3))
  (tmp_path / "1.mp4").write_bytes(b"no video")
  with pytest.raises(ValueError, match=r"1\.mp4 shows nothing at .* it has changed since"):
    list(records.clips_of(tmp_path / "1.mp4", [row], 12, 12.0, STORED))


def test_a_stage_trains_on_stored_clips(job, tmp_path):
  from lumiere import checkpoints
  from lumiere.experiment import Experiment
  from lumiere.training import loop
  from tests.lumiere.experiments import micro_config

  made = micro_config("t2i", tmp_path / "data", num_steps=1)
  made.data.update(dataset="curated", folder=str(job.out), fps=12.0)
  loop.train(Experiment.from_config(made), tmp_path / "run")
  record = checkpoints.load_record(tmp_path / "run")
  assert record.provenance["data"]["dataset"].startswith("curated/")


def test_nothing_kept_is_an_error_of_one_line(job, monkeypatch, capsys, tmp_path):
  command_line.assert_one_line(
    command_line.run(
      monkeypatch,
      capsys,
      "lumiere/curate.py",
      f"--videos={job.folder}",
      f"--out={tmp_path / 'out'}",
      "--num_frames=12",
      "--fps=12",
      "--keep=motion > 99",
      "--write",
    ),
    "no clip is kept",
  )
