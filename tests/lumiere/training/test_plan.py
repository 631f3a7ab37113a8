"""Plans: what they count, what they say, and (with the TPU compiler at hand) what a compiler makes of it."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import pytest

from lumiere.experiment import Experiment, MeshConfig
from lumiere.training import plan
from tests.lumiere.training.experiments import micro_config


def micro(stage="t2i", **mesh) -> Experiment:
  config = micro_config(stage, "nowhere")
  config.train.batch_size = 16
  config.mesh = mesh
  return Experiment.from_config(config)


@functools.cache
def planned(stage="t2i", **mesh) -> plan.Plan:
  return plan.make_plan(micro(stage, **mesh), "v5e:4x4", compiled=False)


def test_weights_lie_in_as_many_parts_as_fsdp_has():
  one, eight = (planned(fsdp=n) for n in (1, 8))
  for kind in ("parameters", "average", "optimizer"):
    assert one.memory[kind] / 8 < eight.memory[kind] < one.memory[kind] / 4  # vectors are repeated
  assert one.memory["batch"] == pytest.approx(eight.memory["batch"])


def test_what_is_frozen_has_no_average_no_optimizer_and_no_gradient():
  found = planned("stunet", frames=1, fsdp=4).memory
  assert found["frozen parameters"] > 0
  assert found["average"] == found["gradients"] == found["parameters"]
  assert found["optimizer"] <= 2 * found["parameters"] + 64


def test_frames_split_the_activations():
  whole, split = (planned("stunet", frames=n, fsdp=4).memory for n in (1, 4))
  assert split["activations"] == whole["activations"]  # four times the clips, a quarter of each


def test_the_report_says_whether_it_fits():
  found = planned(fsdp=1)
  assert found.report(10).endswith("IT FITS")
  full = dataclasses.replace(found, memory=found.memory | {"activations": 16 * plan.GIB})
  assert "IT DOES NOT FIT" in full.report(10)


def test_peak_bytes_of_a_chain():
  """Each product is held until the next one has used it."""
  chain = lambda x, k: ((x @ k) @ k) @ k
  shapes = jax.ShapeDtypeStruct((2, 8, 8), jnp.float32), jax.ShapeDtypeStruct((8, 8), jnp.float32)
  assert plan.peak_bytes(jax.make_jaxpr(chain)(*shapes).jaxpr) == 2 * (2 * 8 * 8 * 4)


def test_collectives_are_read_from_the_program():
  text = """
  %all-gather.1 = bf16[8,16]{1,0} all-gather(%a), channel_id=1
  %cp = (f32[4]{0}, f32[4]{0}, u32[]) collective-permute-start(%b), channel_id=2
  %all-reduce.2 = (f32[2]{0}, f32[3]{0}) all-reduce(%c, %d), channel_id=3
  """
  sizes = plan.collective_bytes(text)
  assert sizes == {"all-gather": 256, "collective-permute": 16, "all-reduce": 20}


@pytest.mark.parametrize("topology", ["v9:2x2", "v5e", "v5e:big", ""])
def test_slices_that_are_not_known(topology):
  with pytest.raises(ValueError, match="expected one of v5e, v5p, v6e and a shape"):
    plan.parse_topology(topology)


def test_a_mesh_that_the_slice_does_not_have():
  with pytest.raises(ValueError, match="fsdp x frames = 3 does not divide the 16 chips"):
    plan.make_plan(micro(fsdp=3), "v5e:4x4", compiled=False)
  experiment = dataclasses.replace(micro(), mesh=MeshConfig(fsdp=16))
  small = dataclasses.replace(experiment.train, batch_size=8)
  with pytest.raises(ValueError, match="batch_size=8 must be a multiple of 16"):
    plan.make_plan(dataclasses.replace(experiment, train=small), "v5e:4x4", compiled=False)


def test_the_compiler_agrees():
  """`make test-plan` installs libtpu for this."""
  pytest.importorskip("libtpu", reason="the TPU compiler is not installed: make test-plan")
  found = plan.make_plan(micro(fsdp=4), "v5e:2x2", compiled=True)
  assert found.fits and found.seconds > 0
  assert found.collective_bytes["all-gather"] > 0
  assert 0.5 < found.step_flops / found.num_chips / found.compiled_flops < 2
