"""What a config costs on a TPU slice that is not at hand: does it fit, how fast is it, how many chip-hours.

python -m lumiere.plan --config=configs/stunet_base.py --topology=v5p:4x4x4

compiles the very step that `train.py` runs, with the TPU compiler and for that slice (package libtpu; no TPU is needed), and
reports what the compiler says of it. `--step=sample` plans a step of the sampler instead. `--cost=abstract` asks no
compiler: it counts from shapes alone, in seconds, and says how far off such counts were where the compiler was asked too
(`--record` keeps what it says in `docs/plans`), and does so for GPUs too, `--topology=h100:8`. The mesh is the config's,
`--config.mesh.fsdp=64`.
"""

from absl import flags
from ml_collections import config_flags

from lumiere import cli


def main():
  """Reads the flags and prints the plan."""
  from lumiere import checkpoints
  from lumiere.planning import plan as planning
  from lumiere.planning import records

  values = flags.FLAGS
  if values.config is None:
    raise ValueError(
      "--config is missing: give an experiment, such as --config=configs/stunet_base.py"
    )
  experiment = checkpoints.read_experiment(values.config)
  sampled = {}
  num_steps = experiment.train.num_steps
  if values.step == "sample":
    _, count = planning.parse_topology(values.topology)
    sampled = {
      "clips": values.clips or count // experiment.mesh.frames,
      "frames": values.num_frames,
    }
    num_steps = experiment.sampling.num_steps
  plan = planning.make_plan(experiment, values.topology, values.cost == "compiled", **sampled)
  settings = records.settings_of(experiment, values.topology, values.step, plan.clips_per_step)
  if values.cost == "abstract":
    plan.notes += records.errors(values.records, settings, plan.figures)
  print(plan.report(num_steps))
  if values.record:
    if values.cost != "compiled" or not plan.seconds:
      raise ValueError("--record keeps plans that were compiled to the end: this one was not")
    estimated = planning.make_plan(experiment, values.topology, False, **sampled).figures
    print("recorded in", records.write(values.records, settings, plan.figures, estimated))


if __name__ == "__main__":
  config_flags.DEFINE_config_file("config", None, "The experiment to plan.")
  flags.DEFINE_string("topology", "v5p:4x4x4", "The slice: kind and shape.")
  flags.DEFINE_enum("step", "train", ["train", "sample"], "Which step.")
  flags.DEFINE_integer("clips", None, "--step=sample: clips at a time; default: one a `frames`.")
  flags.DEFINE_integer("num_frames", 0, "--step=sample: of a clip; default: as trained.")
  flags.DEFINE_enum("cost", "compiled", ["compiled", "abstract"], "Ask the compiler, or count.")
  flags.DEFINE_string("records", "docs/plans", "Folder of plans that were compiled.")
  flags.DEFINE_bool("record", False, "Keep this plan there.")
  cli.run(main)
