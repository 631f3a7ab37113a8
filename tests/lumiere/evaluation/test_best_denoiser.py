"""The best denoiser of moving shapes, against closed forms."""

import numpy as np
import pytest

from lumiere.data import frames
from lumiere.data.moving_shapes.captions import parse
from lumiere.evaluation import best_denoiser, moving_shapes
from lumiere.experiment import Experiment
from lumiere.model import abstract_model
from lumiere.sampling.generator import Generator
from tests.lumiere.experiments import micro_config
from tests.stunet.networks import random_weights


def test_of_two_clips_the_weights_are_those_of_bayes():
  clips = np.array([[1.0, -1.0], [-1.0, 1.0]], np.float32)
  log_snr = 0.4
  alpha, sigma = np.sqrt(1 / (1 + np.exp(-log_snr))), np.sqrt(1 / (1 + np.exp(log_snr)))
  z = np.array([0.3, -0.2], np.float32)
  likelihood = np.exp(-np.sum((z - alpha * clips) ** 2, axis=1) / (2 * sigma**2))
  share = likelihood / likelihood.sum()
  mean, effective = best_denoiser.posterior_mean(z, log_snr, clips)
  np.testing.assert_allclose(mean, share @ clips, rtol=1e-5)
  assert effective == pytest.approx(1 / np.sum(share**2), rel=1e-5)


def test_with_nothing_but_noise_it_is_the_mean_and_with_none_the_clip_itself():
  clips = np.random.default_rng(0).uniform(-1, 1, (50, 40)).astype(np.float32)
  mean, effective = best_denoiser.posterior_mean(np.zeros(40, np.float32), -40.0, clips)
  np.testing.assert_allclose(mean, clips.mean(axis=0), atol=1e-5)
  assert effective == pytest.approx(50, rel=1e-3)
  mean, effective = best_denoiser.posterior_mean(clips[7], 12.0, clips)
  np.testing.assert_allclose(mean, clips[7], atol=1e-5)
  assert effective == pytest.approx(1)


@pytest.mark.parametrize(
  "caption", ["a red triangle spins clockwise fast on gray", "one blue circle bounces on navy"]
)
def test_scenes_are_what_the_caption_says(caption):
  rng = np.random.default_rng(0)
  scenes = best_denoiser.scenes_of(caption, 6, rng)
  (asked,) = parse(caption).things
  assert (
    {scene.things[0].speed for scene in scenes} <= {asked.speed}
    if asked.speed
    else {"slow", "fast"}
  )
  from lumiere.data.moving_shapes.render import render

  videos = [frames.to_uint8(render(scene, 16, 8.0, 64)) for scene in scenes]
  verdicts = moving_shapes.judge(videos, [caption] * 6, 8.0)
  assert all(v.background and v.colour and v.shape and v.motion for v in verdicts)
  with pytest.raises(ValueError, match="names 2 things"):
    best_denoiser.scenes_of("a red circle rests and a blue square rests on gray", 1, rng)


def test_another_motion_is_all_that_differs():
  rng = np.random.default_rng(0)
  caption = "a red triangle spins clockwise fast on gray"
  (asked,), seen = parse(caption).things, set()
  for _ in range(30):
    meaning = parse(best_denoiser.with_another_motion(caption, rng))
    (other,) = meaning.things
    assert (other.shape, other.colour, meaning.background) == ("triangle", "red", "gray")
    seen.add(other.motion)
  assert asked.motion not in seen and len(seen) > 5


@pytest.mark.parametrize("stage", ["t2i", "stunet"])
def test_no_model_is_better_than_the_best(stage):
  config = micro_config(stage, "unused")
  config.data.update(dataset="moving_shapes_endless", moving_shapes_endless=dict(num_frames=16))
  experiment = Experiment.from_config(config)
  rebuild, params, frozen = abstract_model(experiment)
  generator = Generator(
    experiment, 0, rebuild, random_weights(params, 0), random_weights(frozen, 1)
  )
  captions = ["a red circle moves left slowly on navy", "a white square rests on black"]
  gaps = best_denoiser.measure(generator, captions, [-12.0, -4.0], 200)
  assert [gap.log_snr for gap in gaps] == [-12.0, -4.0]
  assert all(0 < gap.best < gap.model for gap in gaps)
  assert all(gap.misled > gap.best and gap.misled != gap.model for gap in gaps)
  assert gaps[1].best < gaps[0].best and gaps[1].effective < gaps[0].effective <= 200
