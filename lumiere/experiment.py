"""The schema of an experiment: the fields of a config file, each documented once.

`configs/*.py` return plain ConfigDicts. `Experiment.from_config` turns one into frozen dataclasses and rejects unknown fields
and invalid values before anything is compiled or read.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from diffusion.levels import Levels
from diffusion.objective import Objective
from diffusion.samplers import make_sampler
from diffusion.schedule import make_schedule
from diffusion.thresholding import make_threshold
from lumiere.averages import LONGEST, SHORTEST
from lumiere.fields import at_least, between, from_mapping, named, one_of
from lumiere.masks import CHANNELS, MaskConfig
from lumiere.sections import EvaluationConfig, OptimizerConfig
from lumiere.text.t5 import T5Config
from lumiere.text.tokenize import VOCAB_SIZE, ByteTokenizer, check_words
from ssr.ssr_unet import check_channels
from stunet.image_unet import MAX_BLOCKS, ImageUNetConfig
from stunet.stunet import TemporalConfig, check_fits, check_num_frames

# Sampler steps beyond this are a slip of the finger: their table alone would take the memory.
MAX_STEPS = 10_000
STAGES = ("t2i", "stunet", "ssr_image", "ssr")
# The image stage that a video stage is inflated from.
PARENTS = {"stunet": "t2i", "ssr": "ssr_image"}


@dataclasses.dataclass(frozen=True)
class DataConfig:
  """The dataset and the shape of its clips.

  Attributes:
    dataset: "moving_shapes", "moving_shapes_endless", which draws every clip anew and keeps none, or "video_folder".
    num_frames: frames of a training clip; 1 for the image stages.
    resolution: height and width of the network's output, in pixels.
    fps: frames per second of the clips.
    data_dir: where prepared datasets are kept.
    embeddings: folder of precomputed caption states, written by `lumiere.embed`; empty for none.
    folder: video_folder: the folder of videos and captions.
    moving_shapes: further settings of that dataset's builder, `MovingShapesConfig`.
    moving_shapes_endless: settings of that world, `EndlessConfig`.
    video_folder: further settings of that dataset's builder, `VideoFolderConfig`; clips are stored in these frames and pixels.
    num_workers: loader processes; 0 loads in the training process.
  """

  dataset: str
  num_frames: int
  resolution: int
  fps: float = 8.0
  data_dir: str = "data"
  embeddings: str = ""
  folder: str = ""
  moving_shapes: Mapping[str, Any] = dataclasses.field(default_factory=dict)
  moving_shapes_endless: Mapping[str, Any] = dataclasses.field(default_factory=dict)
  video_folder: Mapping[str, Any] = dataclasses.field(default_factory=dict)
  num_workers: int = 0

  def __post_init__(self):
    at_least("data.num_frames", self.num_frames, 1)
    at_least("data.resolution", self.resolution, 1)
    at_least("data.num_workers", self.num_workers, 0)
    between("data.fps", self.fps, 0.1, 1000)
    one_of("data.dataset", self.dataset, ("moving_shapes", "moving_shapes_endless", "video_folder"))
    if self.dataset == "moving_shapes_endless" and self.embeddings:
      raise ValueError(f"data.embeddings={self.embeddings!r} must be empty for an endless world")
    if self.dataset == "video_folder" and not self.folder:
      raise ValueError(
        "data.folder is empty: dataset='video_folder' needs the folder with the videos and their captions"
      )


@dataclasses.dataclass(frozen=True)
class TextConfig:
  """How the networks are conditioned on captions.

  Attributes:
    encoder: T5 encoder, trained with the text-to-image stage and frozen afterwards; None if captions come as precomputed states.
    max_length: tokens kept of a caption.
    words: texts are split at these, one token each; the rest is spelled in bytes (`lumiere.text.tokenize.ByteTokenizer`).
    drop_rate: share of training examples whose caption is dropped, for classifier-free guidance.
    null: what replaces a dropped caption: "zeros", or "empty", the states of the empty caption (DeepFloyd IF, GLIDE).
  """

  encoder: T5Config | None = None
  max_length: int = 128
  words: tuple[str, ...] = ()
  drop_rate: float = 0.1
  null: str = "zeros"

  def __post_init__(self):
    one_of("text.null", self.null, ("zeros", "empty"))
    object.__setattr__(self, "words", tuple(self.words))
    check_words("text.words", self.words)
    if self.encoder:
      at_least("text.encoder.vocab_size", self.encoder.vocab_size, VOCAB_SIZE)
      between("text.encoder.num_layers", self.encoder.num_layers, 1, MAX_BLOCKS)
    at_least("text.max_length", self.max_length, 2)
    between("text.drop_rate", self.drop_rate, 0, 1)

  def make_tokenizer(self) -> ByteTokenizer:
    """What turns captions into the encoder's tokens."""
    return ByteTokenizer(self.max_length, self.words)


@dataclasses.dataclass(frozen=True)
class DiffusionConfig:
  """The diffusion process and the objective.

  Attributes:
    schedule: name and options of `diffusion.schedule.make_schedule`.
    prediction: what the network predicts: "eps", "v" or "x0".
    weighting: "uniform" in that space, "min_snr", "v" or "sigmoid".
    min_snr_gamma: gamma of min_snr.
    v_gamma: gamma of v.
    sigmoid_bias: bias of sigmoid.
  """

  schedule: Mapping[str, Any] = dataclasses.field(default_factory=lambda: {"name": "cosine"})
  prediction: str = "v"
  weighting: str = "uniform"
  min_snr_gamma: float = 5.0
  v_gamma: float = 16.0
  sigmoid_bias: float = 0.0

  def __post_init__(self):
    self.make_schedule()
    self.make_objective()

  def make_schedule(self):
    """The schedule that `schedule` describes."""
    return named("diffusion.schedule", make_schedule, self.schedule)

  def make_objective(self) -> Objective:
    """The training objective."""
    return Objective(
      self.prediction, self.weighting, self.min_snr_gamma, self.v_gamma, self.sigmoid_bias
    )


@dataclasses.dataclass(frozen=True)
class SuperResolutionConfig:
  """Spatial super-resolution.

  Attributes:
    factor: high resolution over low resolution.
    crop: side of the training crops in high-resolution pixels; 0 trains on whole frames.
    aligned: whether the condition is upsampled with aligned corners, as DeepFloyd IF does.
  """

  factor: int = 4
  crop: int = 0
  aligned: bool = False

  def __post_init__(self):
    at_least("super_resolution.factor", self.factor, 1)
    if self.crop % self.factor:
      raise ValueError(
        f"super_resolution.crop={self.crop} must be a multiple of super_resolution.factor={self.factor}"
      )


@dataclasses.dataclass(frozen=True)
class SamplingConfig:
  """How a trained network is sampled by default; flags of sample.py override it.

  Attributes:
    sampler: "ddpm", "ddim" or "dpm++".
    num_steps: sampler steps.
    log_snr_shift: added to the noise levels of all steps but the first; below 0, more steps are at high noise.
    guidance_scale: classifier-free guidance weight; 1 is none.
    guidance_rescale: in [0, 1]; 1 restores the standard deviation of the conditional prediction (Lin et al., 2023).
    threshold: name and options of `diffusion.thresholding.make_threshold`.
    variance: of the "ddpm" sampler: "small", "large", or "learned", which interpolates between the two as further output
      channels of the network say. Image stages only: training on videos does not train those channels.
    window: frames of a MultiDiffusion window; 0 denoises the whole clip at once.
    stride: frames from the start of one window to the next; consecutive windows share window - stride frames.
    window_weights: "uniform" (the paper's mean) or "tapered".
    windows_per_batch: windows denoised at a time; more is faster and takes more memory.
    augmentation_level: super-resolution: noise level of the condition, in [0, 1].
  """

  sampler: str = "ddim"
  num_steps: int = 50
  log_snr_shift: float = 0.0
  guidance_scale: float = 1.0
  guidance_rescale: float = 0.0
  threshold: Mapping[str, Any] = dataclasses.field(default_factory=lambda: {"name": "static"})
  variance: str = "small"
  window: int = 0
  stride: int = 0
  window_weights: str = "uniform"
  windows_per_batch: int = 1
  augmentation_level: float = 0.1

  def __post_init__(self):
    one_of("variance", self.variance, ("small", "large", "learned"))
    self.make_sampler()
    self.make_threshold()
    self.make_levels()
    between("num_steps", self.num_steps, 1, MAX_STEPS)
    at_least("guidance_scale", self.guidance_scale, 0)
    between("guidance_rescale", self.guidance_rescale, 0, 1)
    between("augmentation_level", self.augmentation_level, 0, 1)
    at_least("window", self.window, 0)
    at_least("windows_per_batch", self.windows_per_batch, 1)
    one_of("window_weights", self.window_weights, ("uniform", "tapered"))
    if self.window and not 1 <= self.stride <= self.window:
      raise ValueError(f"stride={self.stride} must be between 1 and window={self.window}")

  def make_sampler(self):
    """The sampler that `sampler` names."""
    options = {"gamma": 1.0} if (self.sampler, self.variance) == ("ddpm", "large") else {}
    return make_sampler(self.sampler, **options)

  def make_levels(self) -> Levels:
    """The noise levels that are passed."""
    return Levels(self.log_snr_shift)

  def make_threshold(self):
    """The function that keeps predictions of x0 in range."""
    return named("sampling.threshold", make_threshold, self.threshold)


@dataclasses.dataclass(frozen=True)
class MeshConfig:
  """How the devices share the work; the remaining factor of their number is data parallelism.

  Attributes:
    fsdp: devices that share the weights, and examples too.
    frames: devices that share each clip, along time.
  """

  fsdp: int = 1
  frames: int = 1

  def __post_init__(self):
    at_least("mesh.fsdp", self.fsdp, 1)
    at_least("mesh.frames", self.frames, 1)


@dataclasses.dataclass(frozen=True)
class TrainConfig:
  """The loop.

  Attributes:
    num_steps: steps of the whole run.
    batch_size: examples a step, over all devices and processes.
    num_microbatches: parts of a batch that are processed one after another: less memory, the same step.
    frozen_dtype: dtype in which frozen weights are kept: "float32" or "bfloat16".
    log_snr_shift: added to the noise levels that the schedule draws; below 0, training sees more noise.
    log_snr_spread: factor of their distances from the level at the middle of the schedule.
    averages: lengths of further averages, (0.05, 0.1) for one, from which others are found later (`lumiere.averages`).
    ema_decay: decay of the moving average of the weights, ramped up in the first steps.
    log_every: steps between reports.
    eval_every: steps between evaluations on the held-out split; 0 for none.
    eval_batches: batches of an evaluation.
    sample_every: steps between sample sheets; 0 for none.
    num_samples: clips on a sample sheet.
    checkpoint_every: steps between checkpoints.
    max_checkpoints: checkpoints kept.
    profile_steps: number of steps to profile, shortly after the start; 0 for none.
  """

  num_steps: int
  batch_size: int
  num_microbatches: int = 1
  frozen_dtype: str = "float32"
  log_snr_shift: float = 0.0
  log_snr_spread: float = 1.0
  averages: tuple[float, ...] = ()
  ema_decay: float = 0.9999
  log_every: int = 100
  eval_every: int = 1000
  eval_batches: int = 8
  sample_every: int = 5000
  num_samples: int = 8
  checkpoint_every: int = 1000
  max_checkpoints: int = 3
  profile_steps: int = 0

  def __post_init__(self):
    counts = ("num_steps", "batch_size", "num_microbatches", "log_every", "eval_batches")
    for field in (*counts, "checkpoint_every", "max_checkpoints", "num_samples"):
      at_least(f"train.{field}", getattr(self, field), 1)
    for field in ("eval_every", "sample_every", "profile_steps"):
      at_least(f"train.{field}", getattr(self, field), 0)
    between("train.ema_decay", self.ema_decay, 0, 1)
    one_of("train.frozen_dtype", self.frozen_dtype, ("float32", "bfloat16"))
    self.make_levels()
    object.__setattr__(self, "averages", tuple(self.averages))
    for length in self.averages:
      between("train.averages", length, SHORTEST, LONGEST)

  def make_levels(self) -> Levels:
    """The noise levels that training draws."""
    return Levels(self.log_snr_shift, self.log_snr_spread)


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
    masks: masks of the pixels that a conditional stunet is given, with temporal.condition_channels=4; None for other networks.
    super_resolution: required in the ssr stages, absent in the others.
    evaluation: FVD or KVD against held-out clips, for stunet.
    init_from: workdir whose weights training starts from; the video stages take their frozen image network from it.
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
    channels = self.temporal.condition_channels if self.temporal else 0
    if channels != (CHANNELS if self.masks else 0) or (self.masks and self.stage != "stunet"):
      raise ValueError(
        f"config.masks and temporal.condition_channels={channels} must be given together, for stage='stunet' and as "
        f"{CHANNELS}, or not at all"
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
    if self.is_super_resolution:
      check_channels(self.model)
    if self.is_video:
      check_fits(self.model, self.temporal)
      check_num_frames(self.data.num_frames, self.temporal.total_factor)
    elif self.data.num_frames != 1:
      raise ValueError(
        f"data.num_frames={self.data.num_frames} must be 1 for the image stage {self.stage!r}"
      )

  @property
  def is_video(self) -> bool:
    """Whether this stage trains an inflated network on clips."""
    return self.stage in ("stunet", "ssr")

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
