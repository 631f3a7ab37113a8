"""What may change when a run goes on: each field has its verdict."""

import dataclasses

import pytest

from lumiere import checkpoints
from lumiere.experiment import Experiment
from lumiere.training import resume
from tests.lumiere.experiments import micro_config


def config(**train):
  """Of a stage that has every section but masks."""
  config = micro_config("ssr", "data", "parent", **train)
  config.optimizer.update(decay="cosine", learning_rate=1e-3, warmup_steps=0)
  return config


def record(config, step=2) -> checkpoints.Record:
  return checkpoints.Record(step, Experiment.from_config(config), {}, {}, {})


def checked(change: dict, before=None, step=2) -> Experiment:
  """A run of `before` that goes on with some fields changed."""
  before = before or config()
  now = before.copy_and_resolve_references()
  with now.unlocked():
    now.update_from_flattened_dict(change)
  return resume.checked(Experiment.from_config(now), record(before, step), "runs/x")


def test_every_field_has_a_verdict_and_every_verdict_a_field():
  """A field that is added to the schema must be decided upon."""
  fields = set()
  for field in dataclasses.fields(Experiment):
    sections = [
      t for t in getattr(field.type, "__args__", (field.type,)) if dataclasses.is_dataclass(t)
    ]
    fields.add(field.name)
    for section in sections:
      fields |= {f"{field.name}.{f.name}" for f in dataclasses.fields(section)}
  assert set(resume.CHANGES) <= fields
  for field in fields:
    inside = any(other.startswith(f"{field}.") for other in fields)
    assert inside or resume.verdict_on(field)[0] in (resume.FREE, resume.WARNED, resume.REFUSED)
  for verdict, why in resume.CHANGES.values():
    assert bool(why) == (verdict != resume.FREE)


def test_nothing_changed_says_nothing(caplog):
  assert checked({}) == Experiment.from_config(config()) and not caplog.text


@pytest.mark.parametrize(
  ("change", "words"),
  [
    ({"model.channels": (16,)}, r"model.channels=\(16,\) differs from the run in runs/x, \(8,\)"),
    ({"model.norm_groups": 2}, "the saved weights are those of another network"),
    ({"super_resolution.factor": 2}, "super_resolution.factor=2 differs.*trained for the other"),
    ({"diffusion.prediction": "eps"}, "diffusion.prediction='eps' differs .*, 'x0'"),
    ({"optimizer.name": "adafactor"}, "the saved state is that of another optimizer"),
  ],
)  # fmt: skip
def test_what_makes_the_saved_state_useless_is_refused_with_the_reason(change, words):
  with pytest.raises(ValueError, match=words):
    checked(change)


def test_another_stage_is_refused():
  other = micro_config("ssr_image", "data")
  with pytest.raises(
    ValueError, match="config.stage='ssr_image' differs.*another kind of training"
  ):
    resume.checked(Experiment.from_config(other), record(config()), "runs/x")


@pytest.mark.parametrize(
  ("change", "words"),
  [
    ({"seed": 3}, "config.seed=3 differs from the run in runs/x, 0: noise and the order"),
    ({"train.batch_size": 16}, "config.train.batch_size=16 differs from the run in runs/x, 8: a step"),
    ({"data.fps": 4.0}, "it goes on with other clips"),
    ({"dtype": "bfloat16"}, "rounding differs"),
    ({"init_from": "other"}, "config.init_from='other' differs from the run in runs/x, 'parent': it is not"),
  ],
)  # fmt: skip
def test_what_changes_the_training_from_here_on_is_warned_of(change, words, caplog):
  checked(change)
  assert words in caplog.text


@pytest.mark.parametrize(
  "change",
  [
    {"train.log_every": 1, "train.max_checkpoints": 9, "mesh.fsdp": 2, "sampling.num_steps": 9},
    {"data.data_dir": "elsewhere", "data.num_workers": 3, "model.remat_levels": (0,)},
    {"init_from": ""},
  ],
)
def test_what_changes_nothing_that_is_learned_is_free(change, caplog):
  changed = checked(change)
  assert not caplog.text and changed.init_from == "parent"


@pytest.mark.parametrize(
  ("num_steps", "step", "words"),
  [
    (8, 4, "the learning rate rises at step 4, from 0 to 0.0005"),
    (16, 2, "the learning rate rises at step 2, from 0.0005 to 0.000962"),
    (3, 2, "the learning rate falls at step 2, from 0.0005 to 0.00025"),
  ],
)
def test_more_steps_on_a_cosine_raise_the_learning_rate_again(num_steps, step, words, caplog):
  """Of 4 steps at 1e-3: (1 + cos(pi step / num_steps)) / 2."""
  checked({"train.num_steps": num_steps}, step=step)
  assert words in caplog.text and f"config.train.num_steps={num_steps} differs" in caplog.text


def test_another_learning_rate_is_said(caplog):
  checked({"optimizer.learning_rate": 2e-3}, step=0)
  assert "config.optimizer.learning_rate=0.002 differs" in caplog.text
  assert "the learning rate rises at step 0, from 0.001 to 0.002" in caplog.text


def test_more_steps_at_a_constant_learning_rate_are_free(caplog):
  constant = config()
  constant.optimizer.decay = "constant"
  assert checked({"train.num_steps": 100}, constant).train.num_steps == 100 and not caplog.text
