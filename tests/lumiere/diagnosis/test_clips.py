"""What is wrong with a dataset is named, and a sound one is not complained of."""

import dataclasses

import numpy as np
import pytest

from lumiere.diagnosis import clips
from lumiere.experiment import Experiment
from tests.lumiere.experiments import micro_config


def experiment_of(**data):
  config = micro_config("stunet", "nowhere")
  config.data.update(
    dataset="moving_shapes_endless", moving_shapes_endless=dict(num_frames=8), **data
  )
  return Experiment.from_config(config)


@pytest.fixture(scope="module")
def sound():
  return clips.Sample.load(experiment_of())


def verdicts(sample):
  found = clips.look(experiment_of(), sample)
  return {finding.name: finding.verdict for finding in found}, "\n".join(map(str, found))


def test_a_sound_dataset_passes(sound):
  found, said = verdicts(sound)
  assert set(found.values()) == {"fine"}, said
  assert "256 looked at, of 8x8 (100%)" in said


def test_captions_that_are_shifted_by_one_clip(sound):
  for captions, way in (
    ([sound.captions[-1], *sound.captions[:-1]], "after"),
    ([*sound.captions[1:], sound.captions[0]], "before"),
  ):
    found, said = verdicts(dataclasses.replace(sound, captions=captions))
    assert found["captions and clips"] == "wrong"
    assert f"captions are shifted by one: they belong to the clip {way}" in " ".join(said.split())


def test_captions_that_belong_to_other_clips(sound):
  order = np.random.default_rng(0).permutation(len(sound.captions))
  found, said = verdicts(dataclasses.replace(sound, captions=[sound.captions[i] for i in order]))
  assert found["captions and clips"] == "look" and "may not belong to their clips" in said


def test_still_clips(sound):
  videos = [np.repeat(video[:1], len(video), axis=0) for video in sound.videos]
  found, said = verdicts(dataclasses.replace(sound, videos=videos))
  assert found["motion"] == "wrong" and "100% of the clips are still" in said
  assert found["order of frames"] == "skipped"


def test_frames_out_of_order(sound):
  rng = np.random.default_rng(0)
  videos = [rng.permutation(video, axis=0) for video in sound.videos]
  found, said = verdicts(dataclasses.replace(sound, videos=videos))
  assert found["order of frames"] == "wrong" and "frames seem to be out of order" in said


def test_clips_that_are_all_the_same(sound):
  videos = [sound.videos[0]] * len(sound.videos)
  found, _ = verdicts(dataclasses.replace(sound, videos=videos))
  assert found["repeated clips"] == "wrong"


def test_captions_that_say_nothing_or_too_much(sound):
  found, said = verdicts(dataclasses.replace(sound, captions=[""] * len(sound.captions)))
  assert found["captions"] == "wrong" and found["captions and clips"] == "skipped"
  long = [caption + " and so on" * 20 for caption in sound.captions]
  found, said = verdicts(dataclasses.replace(sound, captions=long))
  assert found["captions"] == "look" and "100% are longer than text.max_length=72 tokens" in said


def test_sizes_of_buckets_are_counted():
  sample = clips.Sample.load(experiment_of(buckets=((8, 12), (12, 8))))
  assert "of 8x12 (50%), 12x8 (50%) pixels" in str(clips.number(sample))
