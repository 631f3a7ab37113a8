"""Fresh random autoencoders of diffusers, and ours with their weights."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

torch = pytest.importorskip("torch", reason="make test-parity installs it")
diffusers = pytest.importorskip("diffusers", reason="make test-parity installs it")

from lumiere import weights  # noqa: E402
from lumiere.interop import autoencoder as interop  # noqa: E402
from lumiere.latents.autoencoder import Autoencoder, AutoencoderConfig  # noqa: E402
from tests.parity.test_unets import relative_error, shaken  # noqa: E402

SIZES = {
  "two levels": AutoencoderConfig(channels=(8, 24), norm_groups=4),
  "three levels": AutoencoderConfig(
    channels=(16, 8, 24), norm_groups=4, latent_channels=3, scaling_factor=0.4
  ),
}
LATENT = (5, 7)
# Images of full contrast, and of so little that the epsilon of norms matters more.
CONTRASTS = (1.0, 1e-2)
TOLERANCE = 1e-5


def reference(config: AutoencoderConfig):
  levels = len(config.channels)
  return diffusers.AutoencoderKL(
    block_out_channels=config.channels,
    down_block_types=("DownEncoderBlock2D",) * levels,
    up_block_types=("UpDecoderBlock2D",) * levels,
    layers_per_block=config.num_res_blocks,
    latent_channels=config.latent_channels,
    norm_num_groups=config.norm_groups,
    scaling_factor=config.scaling_factor,
  )


def pair(config: AutoencoderConfig, seed: int):
  """(diffusers' network in double precision, ours with the same weights)."""
  torch.manual_seed(seed)
  theirs = shaken(reference(config), seed)
  arrays = {name: tensor.numpy() for name, tensor in theirs.state_dict().items()}
  assert interop.from_diffusers(json.loads(theirs.to_json_string())) == config
  rebuild, abstract, frozen = weights.split(
    nnx.eval_shape(lambda: Autoencoder(config, rngs=weights.Seeds(0)))
  )
  loaded = interop.from_arrays(config, arrays)
  ours = rebuild(weights.merge(abstract, loaded), frozen)
  back = interop.to_arrays(config, loaded)
  assert back.keys() == arrays.keys()
  assert all((back[name] == array).all() for name, array in arrays.items())
  return theirs.double(), ours


def errors(theirs, ours: Autoencoder, contrast: float, seed: int = 0) -> dict[str, float]:
  """Relative errors of mean, log-variance and decoded images: of ours only, as the reference has double precision."""
  config, rng = ours.config, np.random.default_rng(seed)
  draw = lambda *shape: (contrast * rng.standard_normal(shape)).astype(np.float32)
  images = draw(2, 3, *(config.factor * side for side in LATENT))
  latents = draw(2, config.latent_channels, *LATENT)
  with torch.no_grad():
    moments = theirs.encode(torch.from_numpy(images).double()).latent_dist
    unscaled = torch.from_numpy(latents).double() / config.scaling_factor
    decoded = theirs.decode(unscaled).sample.numpy()
  channels_last = lambda x: jnp.asarray(np.moveaxis(x, 1, -1))
  both = jax.jit(lambda x, z: (*ours.moments(x), ours.decode(z)))
  found = both(channels_last(images), channels_last(latents))
  expected = (moments.mean.numpy(), moments.logvar.numpy(), decoded)
  return {
    name: relative_error(np.moveaxis(one, -1, 1), other)
    for name, one, other in zip(("mean", "log_variance", "decoded"), found, expected, strict=True)
  }


@pytest.mark.parametrize("name", SIZES)
@pytest.mark.parametrize("seed", range(2))
def test_images_and_latents_are_those_of_diffusers(name, seed):
  theirs, ours = pair(SIZES[name], seed)
  for contrast in CONTRASTS:
    found = errors(theirs, ours, contrast, seed)
    assert max(found.values()) < TOLERANCE, (contrast, found)


def symmetric_padding(ours: Autoencoder) -> str:
  for level in ours.encoder.down:
    if level.resize is not None:
      level.resize.padding = ((1, 1), (1, 1))
  return "encoder"


def larger_epsilon(network: nnx.Module):
  for _, module in nnx.iter_modules(network):
    if isinstance(module, nnx.GroupNorm):
      module.epsilon = 1e-5


def larger_epsilon_of_the_encoder(ours: Autoencoder) -> str:
  larger_epsilon(ours.encoder)
  return "encoder"


def larger_epsilon_of_the_decoder(ours: Autoencoder) -> str:
  larger_epsilon(ours.decoder)
  return "decoder"


@pytest.mark.parametrize(
  "plant", (symmetric_padding, larger_epsilon_of_the_encoder, larger_epsilon_of_the_decoder)
)
@pytest.mark.parametrize("name", SIZES)
def test_a_planted_fault_is_seen(name, plant):
  theirs, ours = pair(SIZES[name], 0)
  side = plant(ours)
  found = errors(theirs, ours, CONTRASTS[-1])
  parts = {"encoder": ("mean", "log_variance"), "decoder": ("decoded",)}
  assert all((error > 3 * TOLERANCE) == (part in parts[side]) for part, error in found.items()), (
    found
  )


def test_the_defaults_are_the_network_of_stable_diffusion():
  config = AutoencoderConfig()
  with torch.device("meta"):
    theirs = reference(config)
  shapes = {name: tuple(tensor.shape) for name, tensor in theirs.state_dict().items()}
  assert interop.from_diffusers(json.loads(theirs.to_json_string())) == config
  abstract = weights.split(
    nnx.eval_shape(lambda: Autoencoder(config, rngs=weights.Seeds(0)))
  )[1]  # fmt: skip
  ours = jax.tree.map(lambda leaf: np.broadcast_to(np.float32(0), leaf.shape), abstract)
  found = {name: array.shape for name, array in interop.to_arrays(config, ours).items()}
  assert found == shapes
  assert sum(p.numel() for p in theirs.parameters()) == weights.count(abstract) == 83_653_863
