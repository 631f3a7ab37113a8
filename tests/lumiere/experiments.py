"""Trainings of seconds: the miniature configs, made smaller still."""

from ml_collections import ConfigDict

from configs import ssr_image_tiny, ssr_tiny, stunet_tiny, t2i_tiny
from lumiere.experiment import Experiment

CONFIGS = {
  "t2i": t2i_tiny,
  "stunet": stunet_tiny,
  "ssr_image": ssr_image_tiny,
  "ssr": ssr_tiny,
}
PARENTS = {"stunet": "t2i", "ssr": "ssr_image"}

# The same for all stages, so that they share one dataset.
WORLD = dict(num_train=24, num_held_out=8, resolution=32, num_frames=8, max_things=1, seed=0)


def micro_config(stage: str, data_dir, init_from="", **train) -> ConfigDict:
  """A stage's miniature config with 8-pixel videos of 8 frames and networks of a few layers and channels.

  Tests wait for compiling, which grows with layers: so no attention in space, and super-resolution at one level only.
  """
  config = CONFIGS[stage].get_config()
  config.init_from = str(init_from)
  config.data.data_dir = str(data_dir)
  config.data.moving_shapes = WORLD
  config.data.num_frames = {"t2i": 1, "ssr_image": 1}.get(stage, 8)
  config.model.update(channels=(8, 8), attention_levels=(), norm_groups=4, head_dim=8)
  # The program of a step does not depend on the number of steps: it is compiled once for many tests.
  config.optimizer.update(warmup_steps=0, decay="constant")
  if stage in ("t2i", "stunet"):
    config.data.resolution = 8
    config.model.update(text_pool="attention", pool_heads=2, text_dim=16)
    config.text.encoder.update(d_model=16, d_kv=8, d_ff=16, num_layers=1, num_heads=2)
  else:
    config.data.resolution = 32
    config.super_resolution.crop = 16
    config.model.channels = (8,)
  if stage == "stunet":
    config.temporal.update(factors=(2,), head_dim=8)
  if stage == "ssr":
    config.temporal.factors = ()
  fast = dict(num_steps=4, batch_size=8, log_every=2, eval_every=0, eval_batches=1, sample_every=0)
  config.train.update(fast | dict(num_samples=2, checkpoint_every=2) | train)
  config.sampling.num_steps = 2
  return config


def micro(stage: str, data_dir, init_from="", **train) -> Experiment:
  """The experiment of `micro_config`."""
  return Experiment.from_config(micro_config(stage, data_dir, init_from, **train))


def on_folder(config: ConfigDict, folder) -> Experiment:
  """The experiment of a config with a folder of videos in place of moving shapes."""
  config.data.update(dataset="video_folder", folder=str(folder))
  config.data.video_folder = dict(num_frames=8, resolution=32, validation_share=0.3)
  return Experiment.from_config(config)
