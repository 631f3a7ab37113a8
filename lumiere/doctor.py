"""Looks at whether a training can learn, before hours are spent on it, or at how one stands that is under way.

python -m lumiere.doctor --config=configs/t2i_tiny.py
python -m lumiere.doctor --config=configs/stunet_tiny.py --config.init_from=runs/t2i_tiny --html=doctor.html
python -m lumiere.doctor --workdir=runs/stunet_tiny

With a config it looks at the data, at imported weights, at inflation, lets the stage learn a few clips by heart, and measures
memory, time and the loader, with the stages and the step of train.py. With a workdir it looks at the data and at the newest
checkpoint. Each line says what was measured, and what to do if it is wrong. It ends with code 1 if something is wrong.
"""

import sys

from absl import flags
from ml_collections import config_flags

from lumiere import cli


def main():
  """Prints findings as they are made."""
  values = flags.FLAGS
  if (values.config is None) == (values.workdir is None):
    raise ValueError(
      "one of --config and --workdir is needed: a training to begin, or one that is under way"
    )
  if values.steps < 10:
    raise ValueError(f"--steps={values.steps} must be 10 or more")
  from lumiere import checkpoints
  from lumiere.diagnosis import examine, page
  from lumiere.training.log import quiet_terminal

  quiet_terminal()
  if values.workdir is None:
    what = config_flags.get_config_filename(flags.FLAGS["config"])
    found = examine.new_run(checkpoints.read_experiment(values.config), values.steps)
  else:
    what = values.workdir
    found = examine.run_under_way(
      checkpoints.load_record(values.workdir).experiment, values.workdir
    )
  findings = []
  for finding in found:
    print(finding, flush=True)
    findings.append(finding)
  print(examine.summary(findings))
  if values.html:
    page.write(values.html, f"{what}: {examine.summary(findings)}", findings)
    print(values.html)
  if any(finding.verdict == "wrong" for finding in findings):
    sys.exit(1)


if __name__ == "__main__":
  config_flags.DEFINE_config_file("config", None, "The experiment, one of configs/*.py.")
  flags.DEFINE_string("workdir", None, "Workdir of a run that is under way.")
  flags.DEFINE_integer("steps", 100, "Steps in which a few clips are to be learnt by heart.")
  flags.DEFINE_string("html", None, "A file for a page with plots.")
  cli.run(main)
