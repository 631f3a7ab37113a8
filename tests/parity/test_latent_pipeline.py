"""Whole samplings in latents against diffusers': a converted folder, guidance, the sampler's steps, the autoencoder."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="make test-parity installs it")
diffusers = pytest.importorskip("diffusers", reason="make test-parity installs it")

from diffusion.guidance import classifier_free  # noqa: E402
from diffusion.samplers import make_sampler, sample  # noqa: E402
from diffusion.thresholding import make_threshold  # noqa: E402
from lumiere import checkpoints  # noqa: E402
from lumiere.interop import convert  # noqa: E402
from lumiere.model import unconditional  # noqa: E402
from tests.parity.test_stable_diffusion import THREE_LEVELS  # noqa: E402
from tests.parity.test_unets import relative_error, shaken  # noqa: E402

VAE = dict(
  block_out_channels=[16, 24], layers_per_block=1, latent_channels=4, norm_num_groups=4, scaling_factor=0.4,
  down_block_types=["DownEncoderBlock2D"] * 2, up_block_types=["UpDecoderBlock2D"] * 2,
)  # fmt: skip
PROCESS = dict(
  beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", num_train_timesteps=1000,
)  # fmt: skip
# Both end in clean data, as we do; Stable Diffusion's own settings end one level before. "leading" is not the same in the two.
SCHEDULERS = {
  "ddim": lambda prediction: diffusers.DDIMScheduler(
    **PROCESS, prediction_type=prediction, clip_sample=False, set_alpha_to_one=True, steps_offset=0,
    timestep_spacing="leading",
  ),
  "dpm++": lambda prediction: diffusers.DPMSolverMultistepScheduler(
    **PROCESS, prediction_type=prediction, final_sigmas_type="zero", lower_order_final=True,
    timestep_spacing="trailing",
  ),
}  # fmt: skip
SCALE, STEPS = 3.0, 5


@pytest.fixture(scope="module")
def networks():
  """(U-Net, autoencoder) with random weights."""
  torch.manual_seed(0)
  unet = shaken(diffusers.UNet2DConditionModel(**THREE_LEVELS), 0)
  # As a trained network does, it predicts about what is there: else the sampling would leave all bounds.
  with torch.no_grad():
    unet.conv_out.weight *= 0.3
  return unet, shaken(diffusers.AutoencoderKL(**VAE), 1)


@pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword")
@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
@pytest.mark.parametrize("name", SCHEDULERS)
def test_samplings_end_where_those_of_diffusers_end(name, prediction, networks, tmp_path):
  unet, vae = networks
  scheduler = SCHEDULERS[name](prediction)
  for part, folder in ((unet, "unet"), (vae, "vae"), (scheduler, "scheduler")):
    part.save_pretrained(tmp_path / "sd" / folder)
  convert.convert(tmp_path / "sd", tmp_path / "run")
  trained = checkpoints.load_trained(tmp_path / "run", ("t2i",))
  experiment = trained.experiment
  assert experiment.diffusion.prediction == {"epsilon": "eps", "v_prediction": "v"}[prediction]

  rng = np.random.default_rng(3)
  noise = rng.standard_normal((2, 4, 8, 12)).astype(np.float32)
  text, empty = (rng.standard_normal((2, 7, 20)).astype(np.float32) for _ in range(2))
  scheduler.set_timesteps(STEPS)
  with torch.no_grad():
    z = torch.from_numpy(noise)
    for timestep in scheduler.timesteps:
      both = (unet(z, timestep, torch.from_numpy(states)).sample for states in (text, empty))
      with_text, without = both
      z = scheduler.step(without + SCALE * (with_text - without), timestep, z).prev_sample
    expected = vae.decode(z / vae.config.scaling_factor).sample.numpy()

  schedule = experiment.diffusion.make_schedule()
  mask = jnp.ones((2, 7), bool)
  given = {
    "text": jnp.asarray(text), "text_mask": mask, "null_text": jnp.asarray(empty), "null_text_mask": mask,
  }  # fmt: skip

  @jax.jit
  def run(params, frozen, noise):
    model = trained.rebuild(params, frozen)
    denoiser = classifier_free(model.denoiser(schedule), unconditional, SCALE)
    latents = sample(
      denoiser, noise, given, jax.random.key(0), sampler=make_sampler(name), schedule=schedule,
      prediction=experiment.diffusion.prediction, num_steps=STEPS, threshold=make_threshold("none"),
    )  # fmt: skip
    return model.decode(latents)

  found = run(trained.params, trained.frozen, jnp.asarray(np.moveaxis(noise, 1, -1)))
  assert np.isfinite(expected).all()
  assert relative_error(np.moveaxis(found, -1, 1), expected) < 1e-4
