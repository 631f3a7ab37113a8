"""Trains one stage of Lumiere.

python train.py --config=configs/stunet_base.py --workdir=gs://BUCKET/stunet [--config.train.batch_size=32]

The same command in the same workdir resumes from the last checkpoint; it needs nothing but the workdir and the data.
WORKDIR/train.log has the full log; --verbosity=0 also prints it.
"""

from absl import flags
from ml_collections import config_flags

from lumiere import cli, processes

_CONFIG = config_flags.DEFINE_config_file("config", help_string="Experiment, one of configs/*.py.")
_WORKDIR = flags.DEFINE_string(
  "workdir", None, "Folder for checkpoints, logs and samples; default: runs/ and the config's name."
)
processes.define_flags()
for _name in processes.FLAGS:
  flags.declare_key_flag(_name)


def main():
  """Reads the flags and trains."""
  if _CONFIG.value is None:
    raise ValueError(
      "--config is missing: give an experiment, such as --config=configs/t2i_tiny.py"
    )
  # Imported after the flags are parsed, so that a wrong one is reported at once.
  from lumiere import checkpoints
  from lumiere.training import loop
  from lumiere.training.log import RunLog, quiet_terminal

  name = (
    config_flags.get_config_filename(flags.FLAGS["config"]).rsplit("/", 1)[-1].removesuffix(".py")
  )
  workdir = _WORKDIR.value or f"runs/{name}"
  quiet_terminal()
  with RunLog() as log:
    processes.share_cores()
    processes.initialize()
    experiment = checkpoints.read_experiment(_CONFIG.value, workdir)
    log.write_to(workdir)
    loop.train(experiment, workdir)


if __name__ == "__main__":
  cli.run(main)
