"""A base is told the guidance weight, then takes half of the steps: trained, resumed, sampled and shared as any other."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from diffusion.guidance import classifier_free
from lumiere import checkpoints, weights
from lumiere import mesh as meshes
from lumiere.experiment import Experiment
from lumiere.model import TEACHER, unconditional, with_teacher
from lumiere.release import make
from lumiere.sampling.cascade import Cascade
from lumiere.training import loop, start
from lumiere.training.stages import Stage
from tests.lumiere.experiments import micro_config, on_folder
from tests.lumiere.runs import made_once


def told_config(runs, init_from=None, **train):
  """Of a network that learns from the unconditional base of `runs`."""
  config = micro_config("stunet", runs["data"], init_from or runs["stunet"], **train)
  config.temporal.guidance_embedding = True
  config.distillation = dict(guidance_scales=(1.0, 6.0), halves_steps=False)
  return config


def halved_config(runs, init_from, **train):
  config = told_config(runs, init_from, **train)
  config.distillation.halves_steps = True
  config.sampling.update(sampler="ddim", num_steps=1)
  return config


@pytest.fixture(scope="module")
def told_run(runs, video_files, tmp_path_factory):
  """Workdir of such a network after two steps, interrupted and resumed once."""

  def train(folder):
    for num_steps in (1, 2):
      config = told_config(runs, num_steps=num_steps, checkpoint_every=1)
      loop.train(on_folder(config, video_files), folder)

  return made_once(tmp_path_factory, "told", train)


def test_it_begins_as_its_teacher_without_guidance_whatever_it_is_told(runs, video_files):
  experiment = on_folder(told_config(runs), video_files)
  stage, mesh = Stage(experiment), meshes.make_mesh(devices=jax.devices()[:1])
  warm_start = start.load_warm_start(stage, mesh)
  rebuild, params, frozen = start.initial_weights(stage, warm_start, mesh)
  z = jax.random.normal(jax.random.key(0), (2, 8, 8, 8, 3))
  given = {
    "text": jnp.ones((2, experiment.text.max_length, 16)),
    "text_mask": jnp.ones((2, experiment.text.max_length), bool),
  }
  schedule, level = experiment.diffusion.make_schedule(), jnp.zeros(2)
  expected = warm_start.rebuild(warm_start.params, warm_start.frozen).denoiser(schedule)
  told = {**given, "guidance_scale": jnp.array([1.0, 6.0])}
  student = rebuild(params, frozen).denoiser(schedule)
  np.testing.assert_array_equal(student(z, level, told), expected(z, level, given))
  teacher = rebuild(frozen[TEACHER], frozen).denoiser(schedule)
  np.testing.assert_array_equal(teacher(z, level, told), expected(z, level, given))
  with pytest.raises(ValueError, match="guidance_scale is missing"):
    student(z, level, given)


def test_weights_may_differ_by_example():
  z, level = jnp.arange(6.0).reshape(2, 3), jnp.zeros(2)
  denoiser = lambda z, log_snr, conditioning: z * conditioning["text"]
  condition = {"text": jnp.full((2, 1), 2.0), "text_mask": jnp.ones((2, 1), bool)}
  both = classifier_free(denoiser, unconditional, jnp.array([1.0, 4.0]))(z, level, condition)
  for index, scale in enumerate((1.0, 4.0)):
    one = classifier_free(denoiser, unconditional, scale)(z, level, condition)
    np.testing.assert_allclose(both[index], one[index], rtol=1e-6)


def test_it_moves_towards_the_guided_prediction(runs, video_files):
  """One batch by heart: the loss against the teacher's guided prediction falls, and the teacher stays what it is."""
  experiment = on_folder(told_config(runs), video_files)
  stage, mesh = Stage(experiment), meshes.make_mesh(devices=jax.devices()[:1])
  rebuild, params, frozen = start.initial_weights(stage, start.load_warm_start(stage, mesh), mesh)
  # Of a trained network: what begins at zero would not read the caption.
  shaken = lambda tree: jax.tree.map(
    lambda x: x + 0.1 * jax.random.normal(jax.random.key(x.size), x.shape), tree
  )
  params = shaken(params)
  frozen = with_teacher(experiment, frozen, params)
  batch = {
    name: jax.random.normal(jax.random.key(1), x.shape)
    if x.dtype == jnp.float32
    else jnp.ones(x.shape, x.dtype)
    for name, x in stage.batch_shapes().items()
  }
  loss = jax.jit(
    jax.value_and_grad(
      lambda params: jnp.mean(stage.losses(rebuild, params, frozen, batch, jax.random.key(2))[0])
    )
  )
  first, grads = loss(params)
  assert first > 0
  reached = jax.tree.map(lambda g: float(jnp.abs(g).max()), grads)
  assert reached["network"]["guidance_embedding"]["dense2"]["kernel"] > 0
  for _ in range(10):
    norm = jnp.sqrt(sum(jnp.sum(g**2) for g in jax.tree.leaves(grads)))
    params = jax.tree.map(lambda p, g, norm=norm: p - 0.03 * g / norm, params, grads)
    last, grads = loss(params)
  assert last < 0.9 * first


def test_resumed_it_has_its_teacher_still_and_is_sampled_without_it(runs, told_run):
  trained = checkpoints.load_trained(told_run, ("stunet",))
  assert trained.step == 2 and TEACHER not in trained.frozen
  cascade = Cascade.restore(told_run)
  weaker = dataclasses.replace(cascade.base.experiment.sampling, guidance_scale=1.5)
  strong, weak = (cascade.generate(["a red circle"], sampling=each) for each in (None, weaker))
  assert strong.shape == weak.shape == (1, 8, 8, 8, 3)
  with pytest.raises(ValueError, match="guidance_scale=7.0 must be between 1.0 and 6.0"):
    cascade.generate(["a red circle"], sampling=dataclasses.replace(weaker, guidance_scale=7.0))


def test_its_release_is_the_student_alone(told_run, tmp_path):
  make.make(told_run, tmp_path / "release", license="apache-2.0", about="a test")
  shared = checkpoints.load_trained(tmp_path / "release", ("stunet",))
  own = checkpoints.load_trained(told_run, ("stunet",))
  assert weights.count(shared.params) == weights.count(own.params)
  assert TEACHER not in shared.frozen


def test_its_steps_are_halved(runs, told_run, video_files, tmp_path):
  config = halved_config(runs, told_run, num_steps=1)
  loop.train(on_folder(config, video_files), tmp_path)
  assert checkpoints.load_trained(tmp_path, ("stunet",)).step == 1


def refused(config, video_files, match):
  with pytest.raises(ValueError, match=match):
    experiment = on_folder(config, video_files)
    start.load_warm_start(Stage(experiment), meshes.one_device())


def test_teachers_that_do_not_go_with_it_are_refused(runs, told_run, video_files):
  refused(told_config(runs, init_from=told_run), video_files, "is told the guidance weight already")
  refused(halved_config(runs, runs["stunet"]), video_files, "distill it with halves_steps=False")
  refused(told_config(runs, init_from=runs["t2i"]), video_files, "holds a 't2i' checkpoint")
  config = halved_config(runs, told_run)
  config.distillation.guidance_scales = (1.0, 8.0)
  refused(config, video_files, "guidance_scales=8.0 must be between 1.0 and 6.0")
  config = told_config(runs)
  config.init_from = ""
  refused(config, video_files, "the 'stunet' network to distill")


@pytest.mark.parametrize(
  "change,match",
  [
    (lambda c: c.temporal.update(guidance_embedding=False), "must be given together"),
    (lambda c: c.distillation.update(guidance_scales=()), "nothing to learn"),
    (lambda c: c.distillation.update(guidance_scales=(3.0, 1.0)), "lowest, highest"),
    (lambda c: c.distillation.update(guidance_scales=(5.0, 6.0)), "guidance_scale=4.0"),
    (lambda c: c.distillation.update(halves_steps=True), "sampling.sampler='ddim'"),
    (lambda c: c.sampling.update(guidance_rescale=0.5), "guidance_rescale=0.5 must be 0"),
  ],
)
def test_sections_that_contradict_each_other_are_refused(runs, change, match):
  config = told_config(runs)
  change(config)
  with pytest.raises(ValueError, match=match):
    Experiment.from_config(config)
