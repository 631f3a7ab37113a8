"""The sections of an experiment, each a frozen dataclass that documents its fields and refuses what cannot be.

The networks' own sections are `ImageUNetConfig`, `TemporalConfig` and `MaskConfig`, which lie with what they describe.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

from diffusion.levels import Levels
from diffusion.objective import Objective
from diffusion.samplers import make_sampler
from diffusion.schedule import make_schedule
from diffusion.thresholding import make_threshold
from lumiere.averages import LONGEST, SHORTEST
from lumiere.fields import at_least, between, named, one_of
from lumiere.sizes import Size, size_of
from lumiere.text.t5 import T5Config
from lumiere.text.tokenize import VOCAB_SIZE, ByteTokenizer, check_words
from stunet.image_unet import MAX_BLOCKS

# Sampler steps beyond this are a slip of the finger: their table alone would take the memory.
MAX_STEPS = 10_000
EVALUATION_METRICS = ("fvd", "kvd")
# Entries of I3D's logits: a Fréchet distance needs more videos.
I3D_WIDTH = 400


DATASETS = ("moving_shapes", "moving_shapes_endless", "video_folder", "curated")
# Those whose clips are not stored in one size.
OF_ANY_SIZE = ("moving_shapes_endless", "curated")


@dataclasses.dataclass(frozen=True)
class DataConfig:
  """The dataset and the shape of its clips.

  Attributes:
    dataset: "moving_shapes", "moving_shapes_endless", which draws every clip anew and keeps none, "video_folder", or "curated", what
      `lumiere.curate --write` has stored.
    num_frames: frames of a training clip; 1 for the image stages.
    resolution: side, or (height, width), of the network's output, in pixels.
    buckets: sizes of training clips, each (height, width); a batch has one of them, a clip the one of which the least is cut off.
      Empty: all have `resolution`. Of clips that have a size of their own, which are "curated" and "moving_shapes_endless".
    max_cut: largest share of a clip's picture that may be cut off to fit a bucket, in [0, 1); other clips are left out.
    fps: frames per second of the clips.
    data_dir: where prepared datasets are kept.
    embeddings: folder of precomputed caption states, written by `lumiere.embed`; empty for none.
    folder: video_folder: the folder of videos and captions; curated: the folder that was given as --out.
    moving_shapes: further settings of that dataset's builder, `MovingShapesConfig`.
    moving_shapes_endless: settings of that world, `EndlessConfig`.
    video_folder: further settings of that dataset's builder, `VideoFolderConfig`; clips are stored in these frames and pixels.
    num_workers: loader processes; 0 loads in the training process.
  """

  dataset: str
  num_frames: int
  resolution: int | tuple[int, ...]
  buckets: tuple[tuple[int, ...], ...] = ()
  max_cut: float = 0.25
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
    size_of(self.resolution, "data.resolution")
    for bucket in self.buckets:
      size_of(bucket, "data.buckets")
    if len(set(self.buckets)) < len(self.buckets):
      raise ValueError(f"data.buckets={self.buckets} must differ")
    between("data.max_cut", self.max_cut, 0, 0.99)
    at_least("data.num_workers", self.num_workers, 0)
    between("data.fps", self.fps, 0.1, 1000)
    one_of("data.dataset", self.dataset, DATASETS)
    if self.buckets and self.dataset not in OF_ANY_SIZE:
      raise ValueError(
        f"data.buckets={self.buckets} must be empty for dataset={self.dataset!r}, whose clips are all stored in one size; "
        f"those of {' and '.join(OF_ANY_SIZE)} have sizes of their own"
      )
    if self.dataset == "moving_shapes_endless" and self.embeddings:
      raise ValueError(f"data.embeddings={self.embeddings!r} must be empty for an endless world")
    if self.dataset == "video_folder" and not self.folder:
      raise ValueError(
        "data.folder is empty: dataset='video_folder' needs the folder with the videos and their captions"
      )
    if self.dataset == "curated" and not self.folder:
      raise ValueError(
        "data.folder is empty: dataset='curated' needs the folder that lumiere.curate wrote"
      )

  @property
  def size(self) -> Size:
    """(height, width) of the network's output."""
    return size_of(self.resolution)

  @property
  def training_sizes(self) -> tuple[Size, ...]:
    """Those of the batches that are trained on."""
    return tuple(map(size_of, self.buckets)) or (self.size,)


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
    weighting: "uniform" in that space, "min_snr", "v", "power" or "sigmoid".
    min_snr_gamma: gamma of min_snr.
    v_gamma: gamma of v.
    snr_power: exponent of power.
    sigmoid_bias: bias of sigmoid.
  """

  schedule: Mapping[str, Any] = dataclasses.field(default_factory=lambda: {"name": "cosine"})
  prediction: str = "v"
  weighting: str = "uniform"
  min_snr_gamma: float = 5.0
  v_gamma: float = 16.0
  snr_power: float = 0.25
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
      self.prediction,
      self.weighting,
      self.min_snr_gamma,
      self.v_gamma,
      self.snr_power,
      self.sigmoid_bias,
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
    guidance_interval: (lowest, highest) log-SNR at which there is guidance; at other noise levels the network is called with
      the caption only, half of the operations (Kynkäänniemi et al., 2024). Empty: at all levels.
    guidance_rescale: in [0, 1]; 1 restores the standard deviation of the conditional prediction (Lin et al., 2023).
    threshold: name and options of `diffusion.thresholding.make_threshold`.
    variance: of the "ddpm" sampler: "small", "large", or "learned", which interpolates between the two as further output
      channels of the network say. Image stages only: training on videos does not train those channels.
    window: frames of a MultiDiffusion window; 0 denoises the whole clip at once.
    stride: frames from the start of one window to the next; consecutive windows share window - stride frames.
    window_weights: "uniform" (the paper's mean) or "tapered".
    windows_per_batch: the most windows denoised at a time; more is faster and takes more memory.
    augmentation_level: super-resolution: noise level of the condition, in [0, 1].
  """

  sampler: str = "ddim"
  num_steps: int = 50
  log_snr_shift: float = 0.0
  guidance_scale: float = 1.0
  guidance_interval: tuple[float, ...] = ()
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
    object.__setattr__(self, "guidance_interval", tuple(self.guidance_interval))
    if len(self.guidance_interval) not in (0, 2) or sorted(self.guidance_interval) != [
      *self.guidance_interval
    ]:
      raise ValueError(
        f"guidance_interval={self.guidance_interval} must be (lowest, highest) log-SNR, such as (-6, 2), or empty"
      )
    between("guidance_rescale", self.guidance_rescale, 0, 1)
    between("augmentation_level", self.augmentation_level, 0, 1)
    at_least("window", self.window, 0)
    at_least("windows_per_batch", self.windows_per_batch, 1)
    one_of("window_weights", self.window_weights, ("uniform", "tapered"))
    if self.window and not 1 <= self.stride <= self.window:
      raise ValueError(f"stride={self.stride} must be between 1 and window={self.window}")

  def at(self, log_snr: float) -> "SamplingConfig":
    """The settings of a step from this noise level: outside `guidance_interval` they are those without guidance."""
    guided = self.guidance_scale not in (0, 1)
    if guided and self.guidance_interval:
      lowest, highest = self.guidance_interval
      scale = self.guidance_scale if lowest <= log_snr <= highest else 1.0
      return dataclasses.replace(self, guidance_scale=scale, guidance_interval=())
    return self

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
class DistillationConfig:
  """What a network learns from the one that it starts from, its teacher, in place of the data (`diffusion.distillation`).

  Attributes:
    guidance_scales: (lowest, highest) guidance weight. A network with `temporal.guidance_embedding` learns the guided prediction for
      any weight between them, with one call in place of two. Empty for a network that is not told a weight.
    halves_steps: whether each of the `sampling.num_steps` steps learns to do what two steps of the teacher do.
  """

  guidance_scales: tuple[float, ...] = ()
  halves_steps: bool = False

  def __post_init__(self):
    object.__setattr__(self, "guidance_scales", tuple(self.guidance_scales))
    if self.guidance_scales:
      if (
        len(self.guidance_scales) != 2 or not 0 < self.guidance_scales[0] <= self.guidance_scales[1]
      ):
        raise ValueError(
          f"distillation.guidance_scales={self.guidance_scales} must be (lowest, highest), above 0, such as (1, 6), or empty"
        )
    elif not self.halves_steps:
      raise ValueError(
        "distillation has nothing to learn: give guidance_scales, or set halves_steps=True"
      )


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
class OptimizerConfig:
  """Optax settings.

  Attributes:
    name: "adam", "adafactor", or "muon" for kernels and Adam for all other weights.
    learning_rate: peak learning rate.
    warmup_steps: steps of linear warm-up.
    decay: "constant", or "cosine" down to zero at the last step.
    clip_norm: gradients are scaled down to this global norm; 0 is no clipping.
    b1: Adam's decay rate of the first moment.
    b2: Adam's decay rate of the second moment.
    weight_decay: decoupled weight decay.
  """

  name: str = "adam"
  learning_rate: float = 1e-4
  warmup_steps: int = 10_000
  decay: str = "constant"
  clip_norm: float = 1.0
  b1: float = 0.9
  b2: float = 0.999
  weight_decay: float = 0.0

  def __post_init__(self):
    one_of("optimizer.name", self.name, ("adam", "adafactor", "muon"))
    one_of("optimizer.decay", self.decay, ("constant", "cosine"))
    for field in ("learning_rate", "warmup_steps", "clip_norm", "weight_decay"):
      at_least(f"optimizer.{field}", getattr(self, field), 0)
    for field in ("b1", "b2"):
      between(f"optimizer.{field}", getattr(self, field), 0, 1)


@dataclasses.dataclass(frozen=True)
class EvaluationConfig:
  """FVD or KVD of what the averaged weights make of held-out captions, against the clips that have these captions.

  Attributes:
    every: steps between evaluations, which also follow the last step; 0 for none.
    metrics: "fvd", which needs more than 400 videos, or "kvd", which does with few.
    num_videos: how many are made, and taken from the held-out split.
    i3d: file of I3D's weights; empty for where `python -m lumiere.fetch --what=i3d` puts it.
  """

  every: int = 0
  metrics: tuple[str, ...] = ("kvd",)
  num_videos: int = 64
  i3d: str = ""

  def __post_init__(self):
    object.__setattr__(self, "metrics", tuple(self.metrics))
    at_least("evaluation.every", self.every, 0)
    if not self.metrics:
      raise ValueError(f"evaluation.metrics is empty: give {' or '.join(EVALUATION_METRICS)}")
    for metric in self.metrics:
      one_of("evaluation.metrics", metric, EVALUATION_METRICS)
    at_least(
      "evaluation.num_videos", self.num_videos, I3D_WIDTH + 1 if "fvd" in self.metrics else 2
    )
