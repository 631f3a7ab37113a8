"""Plans: what they count, what they say, and (with the TPU compiler at hand) what a compiler makes of it."""

import dataclasses
import functools

import pytest

from lumiere.experiment import Experiment
from lumiere.planning import plan, records
from lumiere.sections import MeshConfig
from tests.lumiere.experiments import micro_config


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


def test_frames_split_activations_and_work():
  """Four times the clips, about a quarter of each: halos, and levels that all compute whole, come on top."""
  whole, split = (planned("stunet", frames=n, fsdp=4) for n in (1, 4))
  assert 1 <= split.memory["activations"] / whole.memory["activations"] < 1.5
  assert 1 <= split.chip_flops / whole.chip_flops < 1.5
  assert split.model_flops == whole.model_flops


def test_the_report_says_whether_it_fits():
  found = planned(fsdp=1)
  assert found.report(10).endswith("IT FITS")
  full = dataclasses.replace(found, memory=found.memory | {"activations": 16 * plan.GIB})
  assert "IT DOES NOT FIT" in full.report(10)


def test_a_sampling_step_has_no_average_and_no_optimizer():
  clips = functools.partial(plan.make_plan, micro("stunet", fsdp=4, frames=4), "v5e:4x4", False)
  four, eight = clips(clips=4), clips(clips=8)
  assert set(four.memory) == {
    "parameters",
    "frozen parameters",
    "clips and conditions",
    "activations",
  }
  assert eight.model_flops == 2 * four.model_flops
  assert eight.chip_flops == 2 * four.chip_flops
  # 16 training examples, forward and backward, against 8, forward only.
  assert eight.model_flops < planned("stunet", fsdp=4).model_flops / 2


def test_windows_of_super_resolution_are_shared():
  """Sixteen devices take a window each of a clip of thirteen: one round; one device takes thirteen."""
  experiment = micro("ssr", fsdp=4)
  windows = dataclasses.replace(experiment.sampling, window=8, stride=6, guidance_scale=1.0)
  experiment = dataclasses.replace(experiment, sampling=windows)
  found = plan.make_plan(experiment, "v5e:4x4", False, clips=1, frames=80)
  assert found.chip_flops * 13 == pytest.approx(found.model_flops)


def test_an_estimate_says_how_far_off_it_is(tmp_path):
  experiment = micro(fsdp=4)
  settings = records.settings_of(experiment, "v5e:4x4", "train", 16)
  figures = planned(fsdp=4).figures
  assert "error unknown" in records.errors(str(tmp_path), settings, figures)[0]
  compiled = {name: 2 * value for name, value in figures.items()}
  records.write(str(tmp_path), settings, compiled, figures)
  (same,) = records.errors(str(tmp_path), settings, figures)
  assert "plan with the same settings: memory -50%, operations -50%, time -50%" in same
  (other,) = records.errors(str(tmp_path), settings | {"clips": 32}, figures)
  assert "in 1 such steps that were compiled: memory -50% to -50%" in other


def test_gpus_are_counted_and_not_compiled_for():
  found = plan.make_plan(micro(fsdp=4), "h100:8", compiled=False)
  assert found.num_chips == 8 and found.chip.memory == 79.6 * plan.GIB
  assert found.chip_flops == 2 * planned(fsdp=4).chip_flops  # of 16 chips
  with pytest.raises(ValueError, match="h100:8: only TPUs can be compiled for"):
    plan.make_plan(micro(fsdp=4), "h100:8", compiled=True)


@pytest.mark.parametrize(
  "topology", ["v9:2x2", "v5e", "v5e:big", "v5e:4", "v5e:0x4", "h100:0", "h100:2x2", ""]
)
def test_slices_that_are_not_known(topology):
  with pytest.raises(ValueError, match="expected one of v5e, v5p, v6e, h100, h200 and a shape"):
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
  assert 0.5 < found.chip_flops / found.compiled_flops < 2
