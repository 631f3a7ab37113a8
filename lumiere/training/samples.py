"""Samples during training: video files, and a contact sheet in the workdir and in TensorBoard."""

from collections.abc import Iterator

import einops
import jax
import jax.numpy as jnp
import numpy as np
from absl import logging
from etils import epath

from lumiere import processes
from lumiere.data import frames, loader, sources
from lumiere.experiment import Experiment
from lumiere.sampling import cascade
from lumiere.sampling.generator import Generator, SamplingError
from lumiere.training.stages import Stage
from lumiere.training.writers import metric_writers


def write(
  stage: Stage,
  generator: Generator,
  workdir: epath.PathLike,
  writer: metric_writers.MetricWriter,
):
  """Samples for the first held-out examples, with the same noise every time.

  Writes WORKDIR/samples/STEP/sheet.png, for video stages also one .mp4 per example. For super-resolution the sheet shows the
  condition, the sample and the truth below each other.
  """
  experiment = stage.experiment
  batch = held_out(stage, min(experiment.train.num_samples, experiment.train.batch_size))
  truth = batch["video" if experiment.is_video else "image"]
  keys = cascade.example_keys(experiment.seed, 0, len(truth))
  conditioning = generator.encode_batch(batch)
  shown = []
  if experiment.is_super_resolution:
    conditioning |= stage.low_res_conditioning(jnp.asarray(truth), jax.random.key(experiment.seed))
    shown = [conditioning["low_res"]]
  try:
    sampled = processes.whole(generator.sample(conditioning, truth.shape[1:], keys))
  except SamplingError as error:  # in all processes
    logging.warning("No samples at step %d: %s", generator.step, error)
    return
  if not processes.is_first():
    return
  shown = [*shown, sampled, truth] if shown else [sampled]
  rows = frames.to_uint8(np.stack([np.asarray(x) for x in shown], axis=1))
  if not experiment.is_video:
    rows = rows[:, :, None]
  folder = epath.Path(workdir) / "samples" / str(generator.step)
  folder.mkdir(parents=True, exist_ok=True)
  sheet = frames.contact_sheet(list(einops.rearrange(rows, "b n t h w c -> (b n) t h w c")))
  frames.write_image(folder / "sheet.png", sheet)
  if experiment.is_video:
    for index, video in enumerate(frames.to_uint8(np.asarray(sampled))):
      frames.write_video(folder / f"{index:02d}.mp4", video, experiment.data.fps)
  writer.write_images(generator.step, {"samples": sheet[None]})


def held_out(stage: Stage, count: int) -> dict[str, np.ndarray]:
  """The first examples of the validation split, as one batch."""
  return next(held_out_batches(stage.experiment, count))


def held_out_batches(experiment: Experiment, batch_size: int) -> Iterator[dict[str, np.ndarray]]:
  """The validation split in its own order, again and again; the same in every process."""
  source = sources.make_source(experiment.data, "validation")
  batches = loader.make_loader(
    source,
    batch_size=batch_size,
    seed=experiment.seed,
    shuffle=False,
    groups=sources.groups_of(source),
    transforms=sources.transforms(experiment),
    process_index=0,
    process_count=1,
  )
  return iter(batches)
