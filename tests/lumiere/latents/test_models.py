"""Models of latents: trained, inflated, resumed, sampled with given pixels, and shared, as those of pixels are."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from lumiere import checkpoints, pretrained_autoencoder, weights
from lumiere import mesh as meshes
from lumiere.experiment import Experiment
from lumiere.latents.autoencoder import Autoencoder, AutoencoderConfig
from lumiere.masks import shown
from lumiere.model import Model
from lumiere.release import make
from lumiere.sampling.cascade import Cascade
from lumiere.training import loop, start
from lumiere.training.stages import Stage
from tests.lumiere.experiments import micro_config, on_folder
from tests.lumiere.runs import made_once

AUTOENCODER = AutoencoderConfig(
  channels=(8, 8), num_res_blocks=1, latent_channels=2, norm_groups=4, scaling_factor=0.5
)


def latent_config(stage: str, root, init_from="", **train):
  """A stage's smallest config, for latents of 8x8 in frames of 16x16."""
  config = micro_config(stage, root / "data", init_from, **train)
  config.autoencoder = dataclasses.asdict(AUTOENCODER)
  config.autoencoder_from = str(root / "autoencoder")
  config.model.update(in_channels=2, out_channels=2)
  config.data.resolution = 16
  config.sampling.threshold = dict(name="none")
  if stage == "stunet":
    config.temporal.condition_channels = 3
    config.masks = dict(shares=dict(none=1, first_frame=1, box=1))
  return config


@pytest.fixture(scope="module")
def latent_runs(video_files, tmp_path_factory):
  """Workdirs: an autoencoder, an image model of its latents, and the base inflated from that, which was resumed once."""

  def train(root):
    tree = weights.split(Autoencoder(AUTOENCODER, rngs=weights.Seeds(3)))[1]
    pretrained_autoencoder.save(root / "autoencoder", AUTOENCODER, tree)
    loop.train(on_folder(latent_config("t2i", root, num_steps=1), video_files), root / "t2i")
    for num_steps in (1, 2):
      config = latent_config("stunet", root, root / "t2i", num_steps=num_steps, checkpoint_every=1)
      loop.train(on_folder(config, video_files), root / "stunet")

  return made_once(tmp_path_factory, "latent", train)


def test_the_autoencoder_stays_what_it_was(latent_runs):
  mesh = meshes.one_device()
  expected = pretrained_autoencoder.restore(latent_runs / "autoencoder", AUTOENCODER, mesh)
  for stage in ("t2i", "stunet"):
    trained = checkpoints.load_trained(latent_runs / stage, (stage,))
    jax.tree.map(np.testing.assert_array_equal, trained.frozen["autoencoder"], expected)
    assert "autoencoder" not in trained.params


def test_given_pixels_come_back_exactly(latent_runs):
  cascade = Cascade.restore(latent_runs / "stunet")
  rng = np.random.default_rng(0)
  image = rng.integers(0, 256, (16, 16, 3), np.uint8)
  [video] = cascade.animate(["a red circle"], [image])
  assert video.shape == (8, 16, 16, 3)
  np.testing.assert_array_equal(video[0], image)
  clip = rng.integers(0, 256, (8, 16, 16, 3), np.uint8)
  new = np.zeros((8, 16, 16), bool)
  new[:, 3:9, 5:12] = True
  [video] = cascade.fill(["a red circle"], clip, new)
  np.testing.assert_array_equal(video[~new], clip[~new])
  assert (video[new] != clip[new]).any()
  [same] = cascade.edit(["a red circle"], clip, strength=0)
  np.testing.assert_array_equal(same, clip)
  [other] = cascade.edit(["a red circle"], clip, strength=1.0)
  assert other.shape == clip.shape


def test_long_videos_are_made_in_windows(latent_runs):
  cascade = Cascade.restore(latent_runs / "stunet")
  [video] = cascade.generate(["a red circle"], num_frames=16)
  assert video.shape == (16, 16, 16, 3)


def test_a_style_is_another_network_for_the_same_latents(latent_runs):
  cascade = Cascade.restore(latent_runs / "stunet")
  before, after = cascade, cascade.restyle(latent_runs / "t2i", 1.0)
  made = [each.generate(["a red circle"]) for each in (before, after)]
  np.testing.assert_array_equal(*made)  # it is the network that was inflated


def test_a_release_holds_the_autoencoder(latent_runs, tmp_path):
  make.make(latent_runs / "stunet", tmp_path / "release", license="apache-2.0", about="a test")
  trained, shared = (
    checkpoints.load_trained(folder, ("stunet",))
    for folder in (latent_runs / "stunet", tmp_path / "release")
  )
  jax.tree.map(
    lambda own, kept: np.testing.assert_array_equal(
      kept, own.astype(jnp.bfloat16).astype(own.dtype)
    ),
    trained.frozen["autoencoder"],
    shared.frozen["autoencoder"],
  )
  make.make(latent_runs / "stunet", tmp_path / "motion", temporal_only=True)
  make.make(tmp_path / "motion", tmp_path / "joined", image=latent_runs / "t2i")
  made = [
    Cascade.restore(tmp_path / name).generate(["a red circle"]) for name in ("release", "joined")
  ]
  np.testing.assert_array_equal(*made)


NO_NETWORK = nnx.Linear(1, 1, rngs=nnx.Rngs(0))


def model_of_latents() -> Model:
  return Model(NO_NETWORK, None, Autoencoder(AUTOENCODER, rngs=weights.Seeds(3)))


def test_nothing_unknown_shows_in_known_latents():
  model, rng = model_of_latents(), np.random.default_rng(1)
  pixels = jnp.asarray(rng.uniform(-1, 1, (1, 2, 8, 8, 3)), jnp.float32)
  mask = np.ones((1, 2, 8, 8, 1), np.float32)
  mask[0, 0, 2:5, 3:4] = 0
  mask[0, 1, 7, 7] = 0.25
  latents, known = model.known(pixels, jnp.asarray(mask))
  expected = np.ones((1, 2, 4, 4, 1), np.float32)
  expected[0, 0, 1:3, 1] = 0
  expected[0, 1, 3, 3] = 0.25
  np.testing.assert_array_equal(known, expected)
  others = jnp.where(mask > 0, pixels, 0.7)
  np.testing.assert_array_equal(
    shown(*model.known(others, jnp.asarray(mask))), shown(latents, known)
  )


def test_models_of_pixels_are_not_touched():
  model = Model(NO_NETWORK, None, None)
  pixels, mask = jnp.ones((1, 2, 4, 4, 3)), jnp.ones((1, 2, 4, 4, 1))
  assert model.encode(pixels) is pixels and model.decode(pixels) is pixels
  assert model.known(pixels, mask) == (pixels, mask)


@pytest.mark.parametrize(
  "change,match",
  [
    (lambda c: c.model.update(in_channels=3), "latents of this autoencoder have 2"),
    (lambda c: c.sampling.update(threshold=dict(name="static")), "must be dict"),
    (lambda c: c.temporal.update(condition_channels=4), "as 3, or not at all"),
    (lambda c: c.data.update(resolution=18), "resolution"),
    (lambda c: delattr(c, "autoencoder"), "must be empty without config.autoencoder"),
    (lambda c: c.autoencoder.update(channels=(8, 6)), "norm_groups=4 does not divide 6"),
  ],
)
def test_what_does_not_go_with_latents_is_refused(tmp_path, change, match):
  config = latent_config("stunet", tmp_path)
  change(config)
  with pytest.raises(ValueError, match=match):
    Experiment.from_config(config)


def test_a_start_from_nothing_needs_an_autoencoder(latent_runs, video_files):
  config = latent_config("t2i", latent_runs)
  config.autoencoder_from = ""
  with pytest.raises(ValueError, match="autoencoder_from is empty"):
    start.load_warm_start(Stage(on_folder(config, video_files)), meshes.one_device())
  config.autoencoder_from = str(latent_runs / "t2i")
  stage = Stage(on_folder(config, video_files))
  with pytest.raises(ValueError, match="holds no autoencoder"):
    start.initial_weights(stage, None, meshes.one_device())
  config.autoencoder_from = str(latent_runs / "autoencoder")
  config.autoencoder.scaling_factor = 0.25
  stage = Stage(on_folder(config, video_files))
  with pytest.raises(ValueError, match="not Autoencoder"):
    start.initial_weights(stage, None, meshes.one_device())
