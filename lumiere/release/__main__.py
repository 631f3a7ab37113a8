"""A trained model as a folder to share: weights that nothing is executed from, their config and a model card.

python -m lumiere.release --workdir=runs/stunet_masked_tiny --out=release/base
python -m lumiere.release --workdir=runs/stunet_masked_tiny --out=release/motion --only=temporal        (without the image weights)
python -m lumiere.release --workdir=release/motion --with_image=runs/t2i_tiny --out=release/joined      (and with them again)

Every program takes such a folder where it takes the workdir of a run.
"""

from absl import flags

from lumiere import cli


def main():
  """Reads the flags and writes the release."""
  values = flags.FLAGS
  for name in ("workdir", "out"):
    if not values[name].value:
      raise ValueError(f"--{name} is missing")
  if values.with_image and (values.step is not None or values.ema is not None or values.only):
    raise ValueError(
      "--with_image joins a release as it is: --step, --ema and --only are of no use"
    )
  from lumiere.release import make

  described = make.make(
    values.workdir,
    values.out,
    step=values.step,
    ema=values.ema,
    temporal_only=values.only == "temporal",
    image=values.with_image,
    sampling=changes(values.sampling),
    scores=make.read_scores(values.scores),
    about=values.about,
    license=values.license,
  )
  print(f"{values.out}: {described['stage']}, step {described['step']}, {described['average']}")


def changes(pairs: list[str]) -> dict[str, object]:
  """--sampling=FIELD=VALUE as a dict; raises ValueError."""
  import yaml

  found = {}
  for pair in pairs:
    name, equals, value = pair.partition("=")
    if not equals:
      raise ValueError(f"--sampling={pair} must be FIELD=VALUE, such as guidance_scale=3")
    found[name] = yaml.safe_load(value)
  return found


if __name__ == "__main__":
  flags.DEFINE_string("workdir", None, "Workdir of a training run, or a release.")
  flags.DEFINE_string("out", None, "Folder to write; it must not be there yet.")
  flags.DEFINE_integer("step", None, "Checkpoint of the run; default: the newest.")
  flags.DEFINE_float(
    "ema",
    None,
    "Length of the average, such as 0.1, for runs with config.train.averages; default: the average that training used.",
  )
  flags.DEFINE_enum(
    "only", None, ["temporal"], "temporal: leave out the image weights of a video model."
  )
  flags.DEFINE_string(
    "with_image",
    None,
    "Run or release of the image model, for a temporal part that was released alone.",
  )
  flags.DEFINE_multi_string(
    "sampling",
    [],
    "FIELD=VALUE: a sampling default that differs from the run's, such as num_steps=32.",
  )
  flags.DEFINE_string(
    "scores",
    None,
    "JSON file with what was measured, for the model card: {name: number} or {column: {name: number}}.",
  )
  flags.DEFINE_string("about", "", "A sentence for the top of the model card.")
  flags.DEFINE_string("license", "", "SPDX name of the licence, such as apache-2.0.")
  cli.run(main)
