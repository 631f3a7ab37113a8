"""The whole path, from encoded files to videos, with networks of a few channels."""

import dataclasses

import jax
import numpy as np
import pytest

from lumiere import Cascade, checkpoints
from lumiere.sampling.cascade import load_generator
from lumiere.sampling.generator import Generator, SamplingError

PROMPTS = ("a red circle rests on black", "a white square spins clockwise fast on navy")


@pytest.fixture(scope="module")
def cascade(runs):
  """Base and super-resolution."""
  return Cascade.restore(runs["stunet"], runs["ssr"])


@pytest.mark.parametrize("stage", ["stunet", "ssr"])
def test_a_video_stage_leaves_videos(runs, stage):
  left = {path.name for path in (runs[stage] / "samples" / "2").iterdir()}
  assert {"sheet.png", "00.mp4", "01.mp4"} <= left


@pytest.mark.parametrize(("video", "image"), (("stunet", "t2i"), ("ssr", "ssr_image")))
def test_the_image_network_is_the_same_after_training_bit_for_bit(runs, video, image):
  source = checkpoints.load_trained(runs[image], (image,))
  target = checkpoints.load_trained(runs[video], (video,))
  before = {np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(source.params)}
  after = [np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(target.frozen)]
  assert len(after) == len(jax.tree.leaves(source.params))
  assert set(after) == before
  moved = checkpoints.load_experiment(runs[video])[0]
  assert moved.stage == video


def test_prompts_become_videos_the_same_ones_each_time(cascade):
  videos = cascade.generate(PROMPTS, seed=3)
  assert videos.shape == (2, 8, 32, 32, 3) and videos.dtype == np.uint8
  np.testing.assert_array_equal(videos, cascade.generate(PROMPTS, seed=3))
  assert (videos != cascade.generate(PROMPTS, seed=4)).any()


def test_the_end_of_a_prompt_that_is_not_read_is_said(cascade, caplog):
  reads = cascade.base.experiment.text.max_length - 1
  cascade.base.encode(["a" * reads])
  assert not caplog.records
  cascade.base.encode(["a" * reads + " on navy"])
  assert "its end is not read: ' on navy'" in caplog.text


def test_a_video_does_not_depend_on_the_others_of_its_batch(cascade):
  together = cascade.generate(PROMPTS, seed=3).astype(int)
  alone = cascade.generate(PROMPTS[1:], seed=3, first_index=1)
  # Another batch size is another program: rounding may differ.
  assert abs(together[1] - alone[0]).max() <= 1


def test_a_step_is_compiled_once(cascade, caplog):
  with jax.log_compiles():
    cascade.generate(PROMPTS[:1], num_frames=6)
  stages = [record for record in caplog.messages if "Compiling jit(_denoise_step)" in record]
  assert len(stages) == 2


def test_guidance_in_an_interval_is_guidance_there_and_none_elsewhere(cascade):
  base = cascade.without_ssr()
  sampling = dataclasses.replace(base.base.experiment.sampling, guidance_scale=4.0, num_steps=3)
  levels = sampling.make_levels().visited(base.base.schedule, 3)
  make = lambda **changes: base.generate(
    PROMPTS, seed=3, sampling=dataclasses.replace(sampling, **changes)
  )
  everywhere, nowhere = make(), make(guidance_scale=1.0)
  assert (everywhere != nowhere).any()
  np.testing.assert_array_equal(make(guidance_interval=(-100.0, 100.0)), everywhere)
  np.testing.assert_array_equal(make(guidance_interval=(50.0, 100.0)), nowhere)
  middle = make(guidance_interval=(levels[1], levels[1]))
  assert (middle != everywhere).any() and (middle != nowhere).any()


def test_without_super_resolution_videos_keep_the_base_size(cascade):
  assert cascade.without_ssr().generate(PROMPTS).shape == (2, 8, 8, 8, 3)


def test_videos_longer_than_trained_and_windows_longer_than_the_video(cascade):
  sampling = dataclasses.replace(cascade.ssr.experiment.sampling, window=64, stride=48)
  assert cascade.generate(PROMPTS[:1], num_frames=12, ssr_sampling=sampling).shape == (
    1,
    12,
    32,
    32,
    3,
  )


def test_super_resolution_in_windows_takes_any_length(cascade):
  low_res = np.zeros((1, 21, 8, 8, 3), np.float32)
  key = jax.vmap(jax.random.key)(np.arange(1))
  assert cascade.upscale(low_res, [""], key).shape == (1, 21, 32, 32, 3)


def test_what_does_not_fit_is_refused(runs, cascade):
  with pytest.raises(checkpoints.CheckpointError, match="'t2i'.*'stunet'"):
    Cascade.restore(runs["t2i"])
  with pytest.raises(checkpoints.CheckpointError, match="'ssr_image'.*'ssr'"):
    Cascade.restore(runs["stunet"], runs["ssr_image"])
  with pytest.raises(ValueError, match="num_frames=7 must be a multiple of 2.*6 or 8 would do"):
    cascade.generate(PROMPTS, num_frames=7)
  with pytest.raises(ValueError, match="no prompt"):
    cascade.generate([])
  with pytest.raises(ValueError, match="must be a list"):
    cascade.generate("a red circle rests on black")
  with pytest.raises(ValueError, match="blank"):
    cascade.generate(["  "])


def test_a_generator_says_what_it_is(runs):
  generator = load_generator(runs["t2i"], "t2i")
  assert generator.step == 2 and generator.experiment.stage == "t2i"


def test_a_result_that_is_not_finite_ends_in_an_error_and_in_no_video(cascade):
  params, frozen = cascade.base._weights
  broken = jax.tree.map(lambda leaf: leaf * np.nan, params)
  base = Generator(cascade.base.experiment, 7, cascade.base._rebuild, broken, frozen)
  base._steps = cascade.base._steps  # compiled: weights are their arguments
  with pytest.raises(SamplingError, match="base video of the stunet model of step 7 is not finite"):
    dataclasses.replace(cascade, base=base).generate(["a red circle"])
