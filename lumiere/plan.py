"""Estimates what a config costs on a TPU slice, without one: memory, time of a step, chip-hours.

python -m lumiere.plan --config=configs/stunet_base.py --topology=v5p:4x4x4

compiles the training step for that slice with the TPU compiler (package libtpu; no TPU is needed) and reports what the compiler
says of it. `--step=sample` plans a step of the sampler instead. `--cost=abstract` counts from shapes alone, in seconds and also
for GPUs (`--topology=h100:8`), and reports the error of such counts on recorded plans (`--record` keeps them in `docs/plans`).
The mesh is that of the config, for example `--config.mesh.fsdp=64`.
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
      raise ValueError("--record keeps only plans that were compiled: this one was not")
    estimated = planning.make_plan(experiment, values.topology, False, **sampled).figures
    print("recorded in", records.write(values.records, settings, plan.figures, estimated))


if __name__ == "__main__":
  config_flags.DEFINE_config_file("config", None, "The experiment to plan.")
  flags.DEFINE_string("topology", "v5p:4x4x4", "Kind and shape of the slice.")
  flags.DEFINE_enum("step", "train", ["train", "sample"], "Which step.")
  flags.DEFINE_integer(
    "clips", None, "--step=sample: clips at a time; default: one per `frames` group."
  )
  flags.DEFINE_integer("num_frames", 0, "--step=sample: frames of a clip; default: as trained.")
  flags.DEFINE_enum("cost", "compiled", ["compiled", "abstract"], "Compile, or count from shapes.")
  flags.DEFINE_string("records", "docs/plans", "Folder with records of compiled plans.")
  flags.DEFINE_bool("record", False, "Add this plan to the records.")
  cli.run(main)
