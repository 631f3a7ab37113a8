"""The model of a stage: a network with its text encoder, and its conversion to a denoiser.

The conditioning is a dict that every wrapper of a denoiser passes on:

    text [b l d], text_mask [b l]      caption states and which of them are tokens (networks with text)
    null_text, null_text_mask          their replacement where the caption is dropped; zeros by default
    low_res [b (t) h w c]              the upsampled, augmented condition (super-resolution)
    augmentation_level [b]             its noise level, in [0, 1] (super-resolution)
    known [b t h w c+1]                known pixels and their mask (conditional video networks; by default nothing is known)
    guidance_scale [b]                 the guidance weight (distilled networks that are told it)
"""

import functools
from collections.abc import Callable, Mapping

import einops
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from diffusion.schedule import expand_like
from lumiere import weights
from lumiere.experiment import Experiment
from lumiere.latents.autoencoder import (
  Autoencoder,
  AutoencoderConfig,
  decode_frames,
  encode_frames,
)
from lumiere.text import TEXT_KEYS
from lumiere.text.t5 import T5Config, T5Encoder
from ssr.ssr_unet import SSRUNet
from stunet import layout
from stunet.image_unet import ImageUNet, ImageUNetConfig
from stunet.inflation import freeze, inflate
from stunet.stunet import STUNet, TemporalConfig

Conditioning = Mapping[str, Array]
Denoiser = Callable[[Array, Array, Conditioning], Array]

# Where the frozen weights of a training hold those of a teacher.
TEACHER = "teacher"


class Model(nnx.Module):
  """The contents of a checkpoint: the network of a stage, and its text encoder and autoencoder, or None."""

  def __init__(
    self, network: nnx.Module, text_encoder: T5Encoder | None, autoencoder: Autoencoder | None
  ):
    self.network = network
    self.text_encoder = text_encoder
    self.autoencoder = autoencoder

  def encode_text(self, batch: Mapping[str, Array]) -> dict[str, Array]:
    """Caption states of a batch: precomputed ones if it has them, else those of its tokens, else none."""
    if "text" in batch:
      return {name: batch[name] for name in TEXT_KEYS if name in batch}
    if self.text_encoder is None or "tokens" not in batch:
      return {}
    text = self.text_encoder(batch["tokens"], batch["mask"]).astype(jnp.float32)
    return {"text": text, "text_mask": batch["mask"]}

  def encode(
    self, pixels: Float[Array, "b ... c"], key: PRNGKeyArray | None = None
  ) -> Float[Array, "b ... z"]:
    """What the network denoises in place of images or clips in [-1, 1]: themselves, or latents, which are drawn with a `key`."""
    if self.autoencoder is None:
      return pixels
    if pixels.ndim == 4:
      return self.autoencoder.encode(pixels, key)
    return encode_frames(self.autoencoder, pixels, key)

  def decode(self, z: Float[Array, "b ... z"]) -> Float[Array, "b ... c"]:
    """Images or clips from what the network denoises."""
    if self.autoencoder is None:
      return z
    return self.autoencoder.decode(z) if z.ndim == 4 else decode_frames(self.autoencoder, z)

  def known(
    self, pixels: Float[Array, "b t h w 3"], mask: Float[Array, "b t h w 1"]
  ) -> tuple[Float[Array, "b t h2 w2 z"], Float[Array, "b t h2 w2 1"]]:
    """Known pixels and their mask in the space of what is denoised.

    A latent is known as far as all of its pixels are. Unknown pixels are black when known ones are encoded, in training as in
    sampling: an encoder sees beyond the pixels of a latent, and nothing of what is to be generated may show.
    """
    if self.autoencoder is None:
      return pixels, mask
    factor = self.autoencoder.config.factor
    reduced = einops.reduce(mask, "b t (h y) (w x) 1 -> b t h w 1", "min", y=factor, x=factor)
    return self.encode(jnp.where(mask > 0, pixels, -1.0)), reduced

  def denoiser(self, schedule, variance: bool = False) -> Denoiser:
    """The network as a denoiser `(z, log_snr, conditioning) -> prediction` under `schedule`.

    Only this function knows the network's own conventions: a timestep in [0, 1000], and further output channels (a learned
    variance), which are dropped unless `variance` is true.
    """

    def denoise(z, log_snr, conditioning):
      z, log_snr, conditioning = layout.over_examples((z, log_snr, dict(conditioning or {})))
      timesteps = schedule.timestep(log_snr)
      text = (conditioning.get("text"), conditioning.get("text_mask"))
      if isinstance(self.network, SSRUNet):
        levels = 1000.0 * conditioning["augmentation_level"]
        prediction = self.network(z, timesteps, conditioning["low_res"], levels, *text)
      elif isinstance(self.network, STUNet):
        prediction = self.network(
          self._with_known(z, conditioning),
          timesteps,
          *text,
          guidance_scale=conditioning.get("guidance_scale"),
        )
      else:
        prediction = self.network(z, timesteps, *text)
      return prediction if variance else prediction[..., : z.shape[-1]]

    return denoise

  def _with_known(self, z, conditioning: Conditioning):
    """z with the further channels of a conditional network."""
    channels = self.network.temporal.condition_channels
    if not channels:
      return z
    known = conditioning.get("known", jnp.zeros((*z.shape[:-1], channels), z.dtype))
    return jnp.concatenate([z, known], axis=-1)


def build_model(experiment: Experiment, rngs: nnx.Rngs) -> Model:
  """The model of an experiment, freshly initialised; in video stages everything but the inflation is `Frozen`."""
  return _build(*_what_is_built(experiment), rngs)


def abstract_model(
  experiment: Experiment,
) -> tuple[Callable[[weights.Weights, weights.Weights], Model], weights.Weights, weights.Weights]:
  """`weights.split` of the model of an experiment, with shapes in place of weights.

  Cached for all experiments with the same networks, as a large one takes seconds.
  """
  # Which levels are rematerialised makes no other network, but other functions.
  return _abstract(experiment.model.remat_levels, *_what_is_built(experiment))


def with_teacher(experiment: Experiment, frozen: weights.Weights, params: weights.Weights):
  """The frozen weights that a training which starts with `params` keeps: a network that is distilled has itself as its teacher."""
  return {**frozen, TEACHER: params} if experiment.distillation else frozen


def _what_is_built(experiment: Experiment) -> tuple:
  """The parts of an experiment that its model depends on."""
  return (
    experiment.model,
    experiment.temporal if experiment.is_video else None,
    experiment.text.encoder if experiment.text else None,
    experiment.autoencoder,
    experiment.is_super_resolution,
    experiment.compute_dtype,
  )


def _build(
  image: ImageUNetConfig,
  temporal: TemporalConfig | None,
  encoder: T5Config | None,
  autoencoder: AutoencoderConfig | None,
  super_resolution: bool,
  dtype,
  rngs: nnx.Rngs,
) -> Model:
  unet = ImageUNet(image, dtype=dtype, rngs=rngs)
  text_encoder = T5Encoder(encoder, dtype=dtype, rngs=rngs) if encoder else None
  if temporal is not None:
    unet = inflate(unet, temporal, rngs=rngs)
    if text_encoder is not None:
      freeze(text_encoder)
  latents = freeze(Autoencoder(autoencoder, dtype=dtype, rngs=rngs)) if autoencoder else None
  return Model(SSRUNet(unet) if super_resolution else unet, text_encoder, latents)


@functools.cache
def _abstract(remat_levels: tuple[int, ...], *what):
  return weights.split(nnx.eval_shape(lambda: _build(*what, weights.Seeds(0))))


def image_prefixes(experiment: Experiment) -> dict[tuple[str, ...], tuple[str, ...]]:
  """Where a video stage keeps the weights of its image stage: {prefix in the image stage: prefix in the video stage}."""
  inner = ("network", "unet") if experiment.is_super_resolution else ("network",)
  prefixes = {inner: (*inner, "image")}
  if experiment.text and experiment.text.encoder:
    prefixes[("text_encoder",)] = ("text_encoder",)
  return prefixes


def frozen_of(
  experiment: Experiment, image: weights.Weights, frozen_image: weights.Weights
) -> weights.Weights:
  """The frozen weights of a video stage, given the weights of the image model that it is inflated from, trained and frozen.

  Raises:
    ValueError: if they do not fit.
  """
  _, _, frozen = abstract_model(experiment)
  for name, tree in autoencoder_of(frozen_image).items():
    frozen = weights.merge(frozen, tree, (name,))
  for source, target in image_prefixes(experiment).items():
    tree = image
    for name in source:
      tree = tree[name]
    frozen = weights.merge(frozen, tree, target)
  return frozen


def autoencoder_of(frozen: weights.Weights) -> dict[str, weights.Weights]:
  """The part of frozen weights that belongs to no stage, under its name: that of the autoencoder. Empty for models of pixels."""
  return {name: tree for name, tree in frozen.items() if name == "autoencoder"}


def image_of(experiment: Experiment, frozen: weights.Weights) -> weights.Weights:
  """The trained weights of the image model that a video stage was inflated from: `frozen_of` undone."""
  image = {}
  for target, source in image_prefixes(experiment).items():
    *outer, name = target
    inner = functools.reduce(lambda tree, part: tree.setdefault(part, {}), outer, image)
    inner[name] = functools.reduce(lambda tree, part: tree[part], source, frozen)
  return image


def drop_text(conditioning: Conditioning, dropped: Bool[Array, " b"]) -> dict[str, Array]:
  """Drops the captions of the examples where `dropped` is true.

  `null_text` replaces them, or else zeros (Imagen section 2.2), of which one state is unmasked.
  """
  if "text" not in conditioning:
    return dict(conditioning)
  text, mask = conditioning["text"], conditioning["text_mask"]
  if "null_text" in conditioning:
    null, null_mask = conditioning["null_text"], conditioning["null_text_mask"]
  else:
    null, null_mask = (
      jnp.zeros_like(text),
      jnp.broadcast_to(jnp.arange(mask.shape[1]) == 0, mask.shape),
    )
  return {
    **conditioning,
    "text": jnp.where(expand_like(dropped, text), null, text),
    "text_mask": jnp.where(dropped[:, None], null_mask, mask),
  }


def unconditional(conditioning: Conditioning) -> dict[str, Array]:
  """The conditioning without captions, for the unconditional half of classifier-free guidance."""
  if "text" not in conditioning:
    return dict(conditioning)
  return drop_text(conditioning, jnp.ones(len(conditioning["text"]), bool))
