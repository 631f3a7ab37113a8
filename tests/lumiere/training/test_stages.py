"""What a stage asks of its network."""

from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np

from diffusion.schedule import alpha_sigma, expand_like
from lumiere.experiment import Experiment
from lumiere.model import Model
from lumiere.training.stages import Stage
from tests.lumiere.training.experiments import micro_config


def test_a_conditional_network_is_judged_by_what_is_to_be_made():
  """A network that is wrong wherever pixels are known, and right elsewhere, has nothing to learn."""
  config = micro_config("stunet", "nowhere")
  config.temporal.condition_channels = 4
  config.masks = dict(shares=dict(none=1, first_frame=1, box=1))

  def denoiser(z, log_snr, conditioning):
    alpha, sigma = alpha_sigma(expand_like(log_snr, z))
    known = conditioning["known"][..., 3:]
    assert known.max() == 1
    return alpha / sigma * z + 7 * known  # v of black clips

  model = mock.Mock(spec=Model, encode_text=lambda batch: {}, denoiser=lambda schedule: denoiser)
  stage = Stage(Experiment.from_config(config))
  losses, _ = stage.losses(model, {"video": jnp.zeros((16, 8, 8, 8, 3))}, jax.random.key(0))
  np.testing.assert_allclose(losses, 0, atol=1e-6)
