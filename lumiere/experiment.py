"""The schema of an experiment: the fields of a config file, each documented once.

`configs/*.py` return plain ConfigDicts. `Experiment.from_config` turns one into frozen dataclasses and rejects unknown fields
and invalid values before anything is compiled or read.
"""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from lumiere.fields import at_least, between, from_mapping, one_of
from lumiere.latents.autoencoder import AutoencoderConfig
from lumiere.masks import MaskConfig
from lumiere.sections import (
  DataConfig,
  DiffusionConfig,
  DistillationConfig,
  EvaluationConfig,
  MeshConfig,
  OptimizerConfig,
  SamplingConfig,
  SuperResolutionConfig,
  TextConfig,
  TrainConfig,
)
from lumiere.sizes import check_multiple, size_of
from ssr.ssr_unet import check_channels
from stunet.image_unet import ImageUNetConfig
from stunet.stunet import TemporalConfig, check_fits, check_num_frames

STAGES = ("t2i", "stunet", "ssr_image", "ssr")
# The image stage that a video stage is inflated from.
PARENTS = {"stunet": "t2i", "ssr": "ssr_image"}


@dataclasses.dataclass(frozen=True)
class Experiment:
  """Everything that defines a training run: enough to build its network, repeat its training and sample from it.

  Attributes:
    stage: "t2i", "stunet", "ssr_image" or "ssr" (lumiere/training/stages.py).
    model: the image U-Net.
    data: the clips.
    train: the loop.
    diffusion: process and objective.
    optimizer: optax.
    sampling: defaults for sampling.
    mesh: how the devices share the work.
    text: captions; None for networks without text.
    temporal: what inflation adds; required in the video stages, absent in the image stages.
    masks: masks of the pixels that a conditional stunet is given, with one more of temporal.condition_channels than what is denoised
      has channels; None for other networks.
    super_resolution: required in the ssr stages, absent in the others.
    autoencoder: whose latents the network denoises, in place of pixels; None for pixels. It is never trained with the network.
    autoencoder_from: folder of its weights, which `lumiere.convert` wrote; read by a "t2i" run that starts from nothing.
    distillation: what a video network learns from the one that `init_from` names; None for networks that learn from the data.
    evaluation: FVD or KVD against held-out clips, for stunet.
    init_from: workdir whose weights training starts from: of the same stage; for a video stage also of the image stage that
      it freezes; for an image stage also of a video stage, whose image part is taken.
    seed: of weights, noise and data order.
    dtype: of the network's computation: "float32", "bfloat16" or "auto" (bfloat16 on accelerators).
  """

  stage: str
  model: ImageUNetConfig
  data: DataConfig
  train: TrainConfig
  diffusion: DiffusionConfig = dataclasses.field(default_factory=DiffusionConfig)
  optimizer: OptimizerConfig = dataclasses.field(default_factory=OptimizerConfig)
  sampling: SamplingConfig = dataclasses.field(default_factory=SamplingConfig)
  mesh: MeshConfig = dataclasses.field(default_factory=MeshConfig)
  text: TextConfig | None = None
  temporal: TemporalConfig | None = None
  masks: MaskConfig | None = None
  super_resolution: SuperResolutionConfig | None = None
  autoencoder: AutoencoderConfig | None = None
  autoencoder_from: str = ""
  distillation: DistillationConfig | None = None
  evaluation: EvaluationConfig = dataclasses.field(default_factory=EvaluationConfig)
  init_from: str = ""
  seed: int = 0
  dtype: str = "auto"

  def __post_init__(self):
    one_of("stage", self.stage, STAGES)
    at_least("seed", self.seed, 0)
    one_of("dtype", self.dtype, ("auto", "float32", "bfloat16"))
    for field, wanted in (
      ("temporal", self.is_video),
      ("super_resolution", self.is_super_resolution),
    ):
      if (getattr(self, field) is not None) != wanted:
        raise ValueError(
          f"config.{field} must be {'given' if wanted else 'left out'} for stage={self.stage!r}"
        )
    self._check_latents()
    channels = self.temporal.condition_channels if self.temporal else 0
    wanted = self.channels + 1
    if channels != (wanted if self.masks else 0) or (self.masks and self.stage != "stunet"):
      raise ValueError(
        f"config.masks and temporal.condition_channels={channels} must be given together, for stage='stunet' and as "
        f"{wanted}, or not at all"
      )
    if self.evaluation.every and self.stage != "stunet":
      raise ValueError(
        f"config.evaluation.every={self.evaluation.every} must be 0 for stage={self.stage!r}: videos of a 'stunet' are evaluated"
      )
    if (self.text is not None) != (self.model.text_dim > 0):
      raise ValueError(
        f"config.text and model.text_dim={self.model.text_dim} must be given together or not at all"
      )
    if self.text and self.text.encoder and self.text.encoder.d_model != self.model.text_dim:
      raise ValueError(
        f"model.text_dim={self.model.text_dim} must equal text.encoder.d_model={self.text.encoder.d_model}"
      )
    if self.sampling.variance == "learned" and (self.is_video or self.model.out_channels != 6):
      raise ValueError(
        f"sampling.variance='learned' needs an image stage and model.out_channels=6, not stage={self.stage!r} "
        f"and {self.model.out_channels}"
      )
    self._check_distillation()
    if self.is_super_resolution:
      check_channels(self.model)
    for name, size in (
      ("resolution", self.data.size),
      *(("buckets", s) for s in self.data.buckets),
    ):
      check_multiple(f"data.{name}", size_of(size), self.multiple)
    if self.is_video:
      check_fits(self.model, self.temporal)
      check_num_frames(self.data.num_frames, self.temporal.total_factor)
    elif self.data.num_frames != 1:
      raise ValueError(
        f"data.num_frames={self.data.num_frames} must be 1 for the image stage {self.stage!r}"
      )

  def _check_latents(self):
    if self.autoencoder is None:
      if self.autoencoder_from:
        raise ValueError(
          f"config.autoencoder_from={self.autoencoder_from!r} must be empty without config.autoencoder"
        )
      if not self.is_super_resolution and self.model.in_channels != self.channels:
        raise ValueError(
          f"model.in_channels={self.model.in_channels} must be 3, those of pixels; a network of latents needs config.autoencoder"
        )
      return
    if self.is_super_resolution:
      raise ValueError(
        f"config.autoencoder must be left out for stage={self.stage!r}: super-resolution works on pixels"
      )
    given = self.model.in_channels, self.model.out_channels
    if given != (self.channels, self.channels):
      raise ValueError(
        f"model.in_channels and out_channels are {given[0]} and {given[1]}; latents of this autoencoder have {self.channels}"
      )
    if self.sampling.threshold.get("name") != "none":
      raise ValueError(
        f"sampling.threshold={dict(self.sampling.threshold)} must be dict(name='none'): latents have no range to be kept in"
      )

  def _check_distillation(self):
    told, distillation, sampling = self.is_told_guidance, self.distillation, self.sampling
    if told != bool(distillation and distillation.guidance_scales):
      raise ValueError(
        f"config.distillation.guidance_scales and temporal.guidance_embedding={told} must be given together or not at all"
      )
    if distillation is None:
      return
    if not self.is_video:
      raise ValueError(f"config.distillation must be left out for the image stage {self.stage!r}")
    if told:
      if self.text is None:
        raise ValueError("config.distillation.guidance_scales needs a network with text")
      self.check_told(sampling)
    if distillation.halves_steps and (
      sampling.sampler != "ddim" or self.diffusion.weighting == "sigmoid"
    ):
      raise ValueError(
        f"distillation.halves_steps needs sampling.sampler='ddim' and a diffusion.weighting other than 'sigmoid', not "
        f"{sampling.sampler!r} and {self.diffusion.weighting!r}"
      )

  def check_told(self, sampling: SamplingConfig):
    """Raises ValueError if the network is told the guidance weight and has not learnt what `sampling` asks for."""
    if not self.is_told_guidance:
      return
    without = (1.0,) if sampling.guidance_interval else ()
    for scale in (sampling.guidance_scale, *without):
      between("sampling.guidance_scale", scale, *self.distillation.guidance_scales)
    if sampling.guidance_rescale:
      raise ValueError(
        f"sampling.guidance_rescale={sampling.guidance_rescale} must be 0 for a network that is told the guidance weight"
      )

  @property
  def is_told_guidance(self) -> bool:
    """Whether the network is told the guidance weight, and called once a step."""
    return self.temporal is not None and self.temporal.guidance_embedding

  @property
  def is_video(self) -> bool:
    """Whether this stage trains an inflated network on clips."""
    return self.stage in ("stunet", "ssr")

  @property
  def channels(self) -> int:
    """Of what is denoised: pixels, or the latents of `autoencoder`."""
    return self.autoencoder.latent_channels if self.autoencoder else 3

  @property
  def factor(self) -> int:
    """How many pixels high and wide one place of what is denoised is."""
    return self.autoencoder.factor if self.autoencoder else 1

  @property
  def multiple(self) -> int:
    """What height and width of its videos are multiples of, in pixels."""
    own = self.model.multiple * self.factor
    return math.lcm(own, self.super_resolution.factor) if self.super_resolution else own

  @property
  def is_super_resolution(self) -> bool:
    """Whether this stage upsamples a low-resolution condition."""
    return self.stage in ("ssr_image", "ssr")

  @property
  def compute_dtype(self):
    """The dtype that `dtype` means on this machine."""
    if self.dtype == "auto":
      return jnp.float32 if jax.default_backend() == "cpu" else jnp.bfloat16
    return jnp.dtype(self.dtype).type

  @classmethod
  def from_config(cls, config: ConfigDict | Mapping[str, Any]) -> "Experiment":
    """Checks a ConfigDict (or a plain dict) and freezes it.

    Raises:
      ValueError: names the field, its value and what is accepted.
    """
    return from_mapping(
      cls, config.to_dict() if isinstance(config, ConfigDict) else config, "config"
    )

  def to_json(self) -> dict[str, Any]:
    """A plain dict that `from_config` reads back."""
    return dataclasses.asdict(self)
