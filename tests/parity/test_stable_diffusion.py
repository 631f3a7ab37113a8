"""U-Nets of Stable Diffusion against diffusers', with random weights: ours in float32, theirs in float64."""

import copy
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx, traverse_util

torch = pytest.importorskip("torch", reason="make test-parity installs it")
diffusers = pytest.importorskip("diffusers", reason="make test-parity installs it")

from diffusers.loaders.single_file_utils import convert_ldm_unet_checkpoint  # noqa: E402

from lumiere import weights  # noqa: E402
from lumiere.interop import architectures, mapping, names, stable_diffusion, tensors  # noqa: E402
from stunet import blocks, transformer  # noqa: E402
from stunet.image_unet import ImageUNet  # noqa: E402
from tests.parity.test_unets import relative_error, shaken  # noqa: E402

TOLERANCE = 1e-5
# Groups of four channels or more. In groups of one or two small activations may have a mean far above their deviation, which
# statistics of one pass do not resolve as far as this tolerance.
TWO_LEVELS = dict(
  sample_size=16, in_channels=4, out_channels=4, block_out_channels=[16, 48], layers_per_block=2,
  down_block_types=["CrossAttnDownBlock2D", "DownBlock2D"], up_block_types=["UpBlock2D", "CrossAttnUpBlock2D"],
  attention_head_dim=4, cross_attention_dim=20, norm_num_groups=4,
)  # fmt: skip
THREE_LEVELS = TWO_LEVELS | dict(
  block_out_channels=[16, 32, 64],
  down_block_types=["CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"],
  up_block_types=["UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"],
)
CONFIGS = {
  "convolutions, heads as a number": TWO_LEVELS,
  "linear, heads as a list": THREE_LEVELS
  | dict(attention_head_dim=[2, 4, 8], use_linear_projection=True),
  "convolutions, two blocks, every level": TWO_LEVELS
  | dict(
    transformer_layers_per_block=2, attention_head_dim=[2, 6], act_fn="gelu",
    down_block_types=["CrossAttnDownBlock2D"] * 2, up_block_types=["CrossAttnUpBlock2D"] * 2,
  ),
}  # fmt: skip


@functools.cache
def theirs(name: str):
  torch.manual_seed(0)
  return shaken(diffusers.UNet2DConditionModel(**CONFIGS[name]), 0)


def ours(name: str) -> tuple:
  """(function that makes the network from weights, the weights of diffusers' network)."""
  config = architectures.from_diffusers_unet(dict(theirs(name).config))
  rebuild, params, frozen = weights.split(
    nnx.eval_shape(lambda: ImageUNet(config, rngs=weights.Seeds(0)))
  )
  found = {
    key: tensors.Tensor(tuple(x.shape), "float32", x.numpy)
    for key, x in theirs(name).state_dict().items()
  }
  fitted = mapping.fit(params, found, names.diffusers(config), {})
  flat = traverse_util.flatten_dict(fitted.weights)
  params = traverse_util.unflatten_dict({path: leaf.read() for path, leaf in flat.items()})
  return lambda params: rebuild(params, frozen), params


def error(name: str, scale: float) -> float:
  """Between the two predictions, for pictures and captions of this size; they are no squares."""
  rng = np.random.default_rng(1)
  x = scale * rng.standard_normal((2, 4, 8, 12)).astype(np.float32)
  text = scale * rng.standard_normal((2, 7, 20)).astype(np.float32)
  timesteps = np.array([3, 801], np.float32)
  with torch.no_grad():
    given = (
      torch.from_numpy(x).double(),
      torch.from_numpy(timesteps),
      torch.from_numpy(text).double(),
    )
    expected = copy.deepcopy(theirs(name)).double()(*given).sample.numpy()
  rebuild, params = ours(name)
  output = jax.jit(lambda params, *given: rebuild(params)(*given))(
    params, jnp.asarray(np.moveaxis(x, 1, -1)), jnp.asarray(timesteps), jnp.asarray(text)
  )
  found = relative_error(np.moveaxis(output, -1, 1), expected)
  print(f"{name}, inputs times {scale:g}: relative error {found:.1e}")
  return found


@pytest.mark.parametrize("scale", (1.0, 1e-2))
@pytest.mark.parametrize("name", CONFIGS)
def test_predictions_are_those_of_diffusers(name, scale):
  assert error(name, scale) < TOLERANCE


def transformer_error(name: str) -> float:
  """Between what the first transformer of either network adds to small activations."""
  rng = np.random.default_rng(2)
  x = 1e-2 * rng.standard_normal((2, theirs(name).config.block_out_channels[0], 6, 4))
  text = rng.standard_normal((2, 7, 20))
  block = copy.deepcopy(theirs(name).down_blocks[0].attentions[0]).double()
  with torch.no_grad():
    expected = block(torch.from_numpy(x), torch.from_numpy(text), return_dict=False)[0].numpy() - x
  rebuild, params = ours(name)
  images = jnp.asarray(np.moveaxis(x, 1, -1), jnp.float32)
  run = lambda params, *given: rebuild(params).down[0].stages[0].attention(*given) - given[0]
  output = jax.jit(run)(params, images, jnp.asarray(text, jnp.float32))
  found = relative_error(np.moveaxis(output, -1, 1), expected)
  print(f"{name}, the first transformer: relative error {found:.1e}")
  return found


@pytest.mark.parametrize("name", CONFIGS)
def test_a_transformer_adds_to_small_activations_what_theirs_adds(name):
  assert transformer_error(name) < TOLERANCE


def same_padding(layer, x, embedding=None):
  """Of the downsampler: zeros below and to the right only."""
  if layer.how == "up":
    return layer.conv(blocks.resample(x, "up"))
  return nnx.Conv(
    *layer.conv.kernel.shape[2:], (3, 3), 2, padding="VALID", rngs=nnx.Rngs(0), kernel_init=lambda *_: layer.conv.kernel[...],
    bias_init=lambda *_: layer.conv.bias[...],
  )(jnp.pad(x, ((0, 0), (0, 1), (0, 1), (0, 0))))  # fmt: skip


@pytest.mark.parametrize(
  "fault",
  [
    lambda patch: patch.setitem(transformer.ACTIVATIONS, "gelu", jax.nn.gelu),
    lambda patch: patch.setattr(transformer, "NORM_EPSILON", 1e-5),
    lambda patch: patch.setattr(blocks.PlainResample, "__call__", same_padding),
  ],
  ids=["tanh in the GELU", "epsilon of the other norms", "SAME padding"],
)
def test_faults_that_keep_the_shapes_are_found(fault, monkeypatch):
  fault(monkeypatch)
  name = "linear, heads as a list"
  assert max(error(name, 1e-2), transformer_error(name)) > 10 * TOLERANCE


@pytest.mark.parametrize("version", (1, 2))
def test_names_and_shapes_at_full_size_are_those_of_diffusers(version):
  """In both naming schemes: theirs is told from the authors' by diffusers' own converter."""
  model = stable_diffusion.VERSIONS[version]
  config = architectures.to_diffusers_unet(model, (64, 64))
  with torch.device("meta"):
    network = diffusers.UNet2DConditionModel(**{k: v for k, v in config.items() if k[0] != "_"})
  expected = {key: tuple(x.shape) for key, x in network.state_dict().items()}
  tree = weights.split(nnx.eval_shape(lambda: ImageUNet(model, rngs=weights.Seeds(0))))[1]
  paths = {path: x.shape for path, x in traverse_util.flatten_dict(tree, sep="/").items()}
  sources = {path: names.source_of(path, s, names.diffusers(model)) for path, s in paths.items()}
  found = {s.key: (*s.shape, *(1,) * s.module.ones) if len(s.shape) > 1 else s.shape for s in sources.values()}  # fmt: skip
  assert found == expected
  # A length of its own for each weight tells which tensor became which.
  authors = names.adm(model, stable_diffusion.PREFIX)
  lengths = {path: number for number, path in enumerate(paths)}
  converted = convert_ldm_unet_checkpoint(
    {
      names.source_of(path, shape, authors).key: torch.empty(lengths[path], device="meta")
      for path, shape in paths.items()
    },
    dict(network.config),
  )
  became = {key: len(x) for key, x in converted.items()}
  assert became == {source.key: lengths[path] for path, source in sources.items()}
