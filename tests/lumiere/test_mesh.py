"""The same numbers on every mesh, and no more communication than the work needs."""

import dataclasses
import functools
import os
import re
import subprocess
import sys
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from lumiere import mesh as meshes
from lumiere import weights
from lumiere.experiment import Experiment
from lumiere.model import abstract_model
from lumiere.sampling.generator import Generator
from lumiere.sections import MeshConfig, TrainConfig
from lumiere.state import TrainState, init_state
from lumiere.training.stages import Stage
from lumiere.training.step import make_train_step
from stunet import layout
from tests.lumiere.experiments import micro, micro_config
from tests.stunet.networks import inputs, random_weights, video_unet

FSDP = MeshConfig(fsdp=8)
FRAMES = MeshConfig(frames=4)
ALL_AXES = MeshConfig(fsdp=2, frames=2)

# With a momentum, which makes no difference to the first step, so that there is a state to split.
DESCENT = optax.sgd(1.0, momentum=0.9)


def conditional(num_frames: int, **train) -> Experiment:
  """A conditional Space-Time U-Net of two levels, of which the coarser has attention, on frames that are no squares. All is
  computed again.
  """
  config = micro_config("stunet", "nowhere", **train)
  config.model.update(channels=(8, 16), attention_levels=(1,), remat_levels=(0, 1))
  config.temporal.update(condition_channels=4)
  config.masks = dict(shares=dict(tube=1))
  config.data.num_frames = num_frames
  config.data = config.data.to_dict() | dict(resolution=(8, 12))
  return Experiment.from_config(config)


def random_batch(stage: Stage) -> dict[str, np.ndarray]:
  rng = np.random.default_rng(0)
  batch = {
    name: rng.uniform(-1, 1, x.shape).astype(x.dtype) for name, x in stage.batch_shapes().items()
  }
  batch["tokens"] = rng.integers(1, 300, batch["tokens"].shape).astype(np.int32)
  return batch | {"mask": np.ones(batch["mask"].shape, bool)}


def prepared(experiment: Experiment, mesh, optimizer):
  """(step, its arguments on the mesh), with random weights in every layer."""
  stage = Stage(experiment)
  rebuild, params, frozen = abstract_model(experiment)
  state = init_state(jax.tree.map(jax.numpy.asarray, random_weights(params, 0)), optimizer)
  shardings = meshes.weight_shardings(state, mesh)
  frozen = random_weights(frozen, 1)
  frozen = jax.device_put(frozen, meshes.weight_shardings(frozen, mesh))
  state = jax.device_put(state, shardings)
  batch = meshes.shard_batch(random_batch(stage), mesh)
  return make_train_step(stage, rebuild, optimizer, shardings), (state, frozen, batch)


class Step(NamedTuple):
  """What a step of gradient descent leaves, so that parameters show gradients as they are, and its program."""

  loss: float
  params: dict
  state: TrainState
  frozen: weights.Weights
  program: str


@functools.cache
def one_step(config: MeshConfig | None, num_frames: int = 4) -> Step:
  """On a mesh of eight devices, or on one device."""
  mesh = meshes.make_mesh(config) if config else meshes.make_mesh(devices=jax.devices()[:1])
  with jax.set_mesh(mesh):
    step, (state, frozen, batch) = prepared(conditional(num_frames), mesh, DESCENT)
    compiled = step.lower(state, frozen, batch).compile()
    state, metrics = compiled(state, frozen, batch)
  params = jax.tree.map(np.asarray, state.params)
  return Step(float(metrics.loss.compute()), params, state, frozen, compiled.as_text())


def assert_close(ours, theirs, tolerance=1e-5):
  assert ours[0] == pytest.approx(theirs[0], rel=tolerance)
  for a, b in zip(jax.tree.leaves(ours[1]), jax.tree.leaves(theirs[1]), strict=True):
    assert np.abs(a - b).max() <= tolerance * np.abs(b).max()


@pytest.mark.parametrize("config", [FSDP, FRAMES, ALL_AXES])
def test_a_step_on_every_mesh_is_that_of_one_device(config):
  """4 -> 2 frames: over four devices the coarser level does not divide, and is computed whole; over two it does."""
  assert_close(one_step(config)[:2], one_step(None)[:2])


def test_attention_over_the_clip_is_that_of_one_device():
  """Of 8 frames 4 are left at the level that attends, one on each of four devices: keys come from all of them."""
  video = video_unet(2, attention_over="clip", feed_forward=2, conditioned=True, seed=3)
  rebuild, params, frozen = weights.split(video)
  x, *rest = inputs(2, 8, 8, 8)
  loss = lambda params, x: jnp.mean(jnp.square(rebuild(params, frozen)(x, *rest)))
  found = []
  for config, devices in ((FRAMES, None), (MeshConfig(), jax.devices()[:1])):
    with jax.set_mesh(meshes.make_mesh(config, devices)):
      value, grads = jax.jit(jax.value_and_grad(loss))(params, x)
      found.append((float(value), jax.tree.map(lambda p, g: np.asarray(p - g), params, grads)))
  assert_close(*found)


def test_a_batch_in_parts_is_the_mean_of_its_parts():
  """Against gradients of the parts, taken one by one with the keys that the step gives them."""
  config = micro_config("t2i", "nowhere", num_microbatches=2)
  config.model.channels = (8,)
  experiment = Experiment.from_config(config)
  mesh = meshes.make_mesh(devices=jax.devices()[:1])
  stage, parts = Stage(experiment), []
  with jax.set_mesh(mesh):
    step, (state, frozen, batch) = prepared(experiment, mesh, DESCENT)
    rebuild = abstract_model(experiment)[0]
    loss = jax.jit(
      jax.value_and_grad(
        lambda params, part, key: stage.losses(rebuild, params, frozen, part, key)[0].mean()
      )
    )
    keys = jax.random.split(jax.random.fold_in(jax.random.key(experiment.seed), 0), 2)
    for index in range(2):
      part = jax.tree.map(lambda x, index=index: x[index::2], batch)
      parts.append(loss(state.params, part, keys[index]))
    expected = jax.tree.map(
      lambda p, a, b: np.asarray(p - (a + b) / 2), state.params, parts[0][1], parts[1][1]
    )
    state, metrics = step(state, frozen, batch)
  ours = float(metrics.loss.compute()), jax.tree.map(np.asarray, state.params)
  assert_close(ours, (float(parts[0][0] + parts[1][0]) / 2, expected))


def collectives(text: str, kind: str) -> list[tuple[int, ...]]:
  """Shapes that the collectives of a kind give."""
  found = re.findall(rf"= \(?\w+\[([\d,]*)\][^=]* {kind}(?:-start)?\(", text)
  return [tuple(map(int, shape.split(","))) if shape else () for shape in found]


def test_frames_are_exchanged_as_halos_at_every_level():
  """One frame goes to either neighbour; places and frames are swapped for temporal attention."""
  text = one_step(FRAMES, 8).program  # 4 frames at the coarser level: one a device
  halos = collectives(text, "collective-permute")
  # [examples of a device, one frame, height, width, channels]
  for size in ((8, 12), (4, 6)):
    assert any(np.prod(shape) == 4 * np.prod(size) * 8 for shape in halos), (size, halos)
  assert all(np.prod(shape) <= 4 * 8 * 12 * 16 for shape in halos)
  # Not the vectors that masks are drawn from.
  assert not [shape for shape in collectives(text, "all-gather") if len(shape) > 1]
  assert collectives(text, "all-to-all")


def test_frames_that_do_not_divide_are_gathered_at_the_coarsest_level_only():
  """2 frames there, of 4 devices: gathered before time is halved for the last time."""
  text = one_step(FRAMES).program
  halos = collectives(text, "collective-permute")
  assert (
    max(np.prod(shape) for shape in halos) == 4 * 8 * 12 * 8
  )  # one frame of a device's examples
  gathered = [shape for shape in collectives(text, "all-gather") if len(shape) > 1]
  own_examples = 4 * 4 * 4 * 6 * 8  # all their frames, at the coarsest level before time is halved
  assert gathered and all(np.prod(shape) <= own_examples for shape in gathered)


def test_weights_are_gathered_and_activations_never():
  """Neither for the gradients of weights, which compilers are tempted to split by channels."""
  step = one_step(FSDP)
  sizes = {leaf.size for leaf in jax.tree.leaves((step.params, step.frozen))}
  gathered = collectives(step.program, "all-gather")
  assert gathered and {int(np.prod(shape)) for shape in gathered if len(shape) > 1} <= sizes
  assert not collectives(step.program, "all-to-all")


def test_weights_with_all_that_belongs_to_them_are_split():
  """Every kernel, its average and its optimizer state: an eighth on each of eight devices."""
  state, frozen = one_step(FSDP).state, one_step(FSDP).frozen
  for tree in (state, frozen):
    for leaf in jax.tree.leaves(tree):
      here = leaf.addressable_shards[0].data.size
      divides = leaf.ndim > 1 and any(size % 8 == 0 for size in leaf.shape)
      assert here * (8 if divides else 1) == leaf.size
  trained = weights.count(state.params)
  assert sum(leaf.size for leaf in jax.tree.leaves(state.opt_state)) == trained


@pytest.mark.parametrize("stage", ["stunet", "ssr"])
def test_sampling_on_a_mesh_is_sampling_on_one_device(stage):
  """The base network with its frames split, super-resolution with the five windows of one clip on eight devices."""
  experiment = conditional(16) if stage == "stunet" else micro("ssr", "nowhere")
  rebuild, params, frozen = abstract_model(experiment)
  params, frozen = random_weights(params, 0), random_weights(frozen, 1)
  keys = jax.random.split(jax.random.key(0), 2 if stage == "stunet" else 1)
  sampling = dataclasses.replace(experiment.sampling, num_steps=2)
  if stage == "ssr":
    sampling = dataclasses.replace(sampling, window=4, stride=3)

  def sampled(mesh):
    generator = Generator(
      experiment,
      0,
      rebuild,
      jax.device_put(params, meshes.weight_shardings(params, mesh)),
      jax.device_put(frozen, meshes.weight_shardings(frozen, mesh)),
    )
    with jax.set_mesh(mesh):
      if stage == "stunet":
        conditioning, shape = generator.encode(["a circle", "a square"]), (16, 8, 12, 3)
      else:
        conditioning, shape = generator.condition_on(low_res, 0.1, keys), (16, 16, 20, 3)
      return np.asarray(generator.sample(conditioning, shape, keys, sampling))

  low_res = np.random.default_rng(0).uniform(-1, 1, (1, 16, 4, 5, 3)).astype(np.float32)
  config = MeshConfig(frames=4) if stage == "stunet" else MeshConfig(fsdp=2)
  one = sampled(meshes.make_mesh(devices=jax.devices()[:1]))
  assert np.linalg.norm(sampled(meshes.make_mesh(config)) - one) < 1e-5 * np.linalg.norm(one)


@pytest.mark.parametrize(
  ("changes", "message"),
  [
    (dict(fsdp=3), "fsdp=3 x frames=1 does not divide the 8 devices"),
    (dict(frames=0), "mesh.frames=0 must be 1 or more"),
  ],
)
def test_meshes_that_cannot_be(changes, message):
  with pytest.raises(ValueError, match=message):
    meshes.make_mesh(MeshConfig(**changes))


def test_what_does_not_fit_the_mesh():
  with pytest.raises(ValueError, match="batch_size=8 must be a multiple of 16"):
    experiment = conditional(8, num_microbatches=2)
    meshes.check_fits(experiment, meshes.make_mesh())
  with pytest.raises(ValueError, match="frames=8 must divide data.num_frames=4"):
    meshes.check_fits(conditional(4), meshes.make_mesh(MeshConfig(frames=8)))


@pytest.mark.parametrize(
  ("batch_size", "num_microbatches", "mesh", "count"),
  [
    (16, 1, {}, 8),
    (12, 1, {}, 6),
    (12, 2, {}, 6),
    (7, 1, {}, 7),
    (10, 2, {}, 5),
    (3, 1, {}, 3),
    (6, 1, dict(fsdp=2), 6),
    (1, 1, dict(frames=4), 4),
    (2, 1, dict(frames=4), 8),
    (3, 1, dict(fsdp=4), 8),  # does not fit, which `check_fits` says
  ],
)
def test_as_many_devices_of_a_cpu_train_as_share_its_batches(
  batch_size, num_microbatches, mesh, count, monkeypatch
):
  experiment = dataclasses.replace(
    conditional(8),
    train=TrainConfig(1, batch_size, num_microbatches=num_microbatches),
    mesh=MeshConfig(**mesh),
  )
  assert meshes.devices_of(experiment) == jax.devices()  # as the tests give their number
  monkeypatch.delenv("XLA_FLAGS", raising=False)
  monkeypatch.delenv("JAX_NUM_CPU_DEVICES", raising=False)
  devices = meshes.devices_of(experiment)
  assert devices == jax.devices()[:count]
  if count % 8 or batch_size != 3:
    meshes.check_fits(experiment, meshes.make_mesh(experiment.mesh, devices))


def test_cores_are_devices_unless_the_environment_says_otherwise():
  cores = str(len(os.sched_getaffinity(0)))
  for variables, expected in (
    ({}, cores),
    ({"JAX_NUM_CPU_DEVICES": "3"}, "3"),
    ({"XLA_FLAGS": "--xla_force_host_platform_device_count=5"}, "5"),
  ):
    program = "import jax; from lumiere import processes; processes.share_cores(); print(jax.device_count())"
    kept = {k: v for k, v in os.environ.items() if k not in ("XLA_FLAGS", "JAX_NUM_CPU_DEVICES")}
    run = subprocess.run(
      [sys.executable, "-c", program], env=kept | variables, capture_output=True, text=True
    )
    assert run.stdout.split() == [expected], run.stderr


def test_kernels_are_split_along_their_inputs():
  assert layout.weight_spec((3, 3, 16, 32), 8) == layout.spec(None, None, "weights")
  assert layout.weight_spec((3, 3, 3, 32), 8) == layout.spec(None, None, None, "weights")
  assert layout.weight_spec((8, 3, 5), 8) == layout.spec("weights")
  for shape in ((32,), (), (3, 3, 3, 7)):
    assert layout.weight_spec(shape, 8) == jax.sharding.PartitionSpec()
