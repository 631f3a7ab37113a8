"""Weights that are read as they were not trained, on the image network that ships."""

import dataclasses

import numpy as np
import pytest

from lumiere import checkpoints, pretrained
from lumiere.diagnosis import process, under_way
from lumiere.diagnosis.networks import Network, as_images
from lumiere.training import loop


@pytest.fixture(scope="module")
def base():
  return checkpoints.load_trained(pretrained.BASE, ("stunet",))


@pytest.fixture(scope="module")
def batch(base):
  experiment = dataclasses.replace(
    base.experiment, train=dataclasses.replace(base.experiment.train, batch_size=8)
  )
  return next(iter(loop.make_loader(experiment, "validation")))


@pytest.fixture(scope="module")
def image(base):
  return Network.image_of(base)


def verdicts(network, batch):
  found = process.look(network, as_images(batch))
  return {finding.name: finding.verdict for finding in found}, " ".join(
    " ".join(map(str, found)).split()
  )


def reading(network, **diffusion):
  changed = dataclasses.replace(network.experiment.diffusion, **diffusion)
  return dataclasses.replace(
    network, experiment=dataclasses.replace(network.experiment, diffusion=changed)
  )


def test_weights_that_are_read_as_they_were_trained_pass(image, batch):
  found, said = verdicts(image, batch)
  assert set(found.values()) == {"fine"}, said
  assert "denoises best when it is told the true log-SNR" in said


@pytest.mark.parametrize("taken_for", ["eps", "v"])
def test_another_prediction_is_named(image, batch, taken_for):
  found, said = verdicts(reading(image, prediction=taken_for, weighting="uniform"), batch)
  assert found["prediction"] == "wrong" and found["image network"] == "wrong"
  assert "the weights predict x0: set diffusion.prediction='x0'" in said
  assert found["schedule"] == "fine"


@pytest.mark.parametrize(
  "schedule",
  [{"name": "cosine", "log_snr_shift": -3.0}, {"name": "cosine", "log_snr_shift": 3.0}],
)
def test_another_schedule_is_named(image, batch, schedule):
  found, said = verdicts(reading(image, schedule=schedule), batch)
  assert found["schedule"] == "wrong" and found["prediction"] == "fine"
  assert "trained with another schedule" in said


def test_the_error_of_the_best_guess_is_the_closed_form():
  rng = np.random.default_rng(0)
  x = rng.normal(0, 0.5, (4, 32, 32, 3)).astype(np.float32)
  for log_snr, error in zip(
    (-8.0, 0.0, 4.0), process.guess({"image": x}, (-8.0, 0.0, 4.0)), strict=True
  ):
    alpha = np.sqrt(1 / (1 + np.exp(-log_snr)))
    sigma = np.sqrt(1 - alpha**2)
    z = alpha * x + sigma * rng.normal(0, 1, x.shape)
    gain = alpha * 0.25 / (alpha**2 * 0.25 + sigma**2)
    assert np.mean((gain * z - x) ** 2) == pytest.approx(error, rel=0.05)


def test_the_model_that_ships_uses_that_frames_belong_together(base, image, batch):
  network = Network(base.experiment, base.params, base.frozen)
  errors = network.error(batch, under_way.LEVELS)
  assert under_way.by_level(batch, errors, base.step).verdict == "fine"
  found = under_way.together(image, batch, errors)
  assert found.verdict == "fine" and "denoised better than each alone" in found.measured
  # A network that denoises no better than its image network has learnt nothing of time.
  alone = np.array([y for _, y in found.plot.lines["each frame alone"]])
  assert under_way.together(image, batch, alone).verdict == "look"
  assert under_way.average(base.experiment, errors * 1.3, errors).verdict == "look"
  assert under_way.average(base.experiment, errors, errors).verdict == "fine"
