"""Public weights -> a checkpoint of ours, and back.

python -m lumiere.convert --source=IF-I-M-v1.0 --out=runs/if_m                   (a pipeline folder of diffusers)
python -m lumiere.convert --source=IF-I-M-v1.0/unet --out=runs/if_m              (its U-Net alone)
python -m lumiere.convert --source=IF-I-M-v1.0 --out=runs/if_m                   (DeepFloyd's own folder: config.yml)
python -m lumiere.convert --source=base.pt --architecture=glide_base --out=runs/glide
python -m lumiere.convert --source=stable-diffusion-v1-5 --out=runs/sd           (the U-Net of Stable Diffusion)
python -m lumiere.convert --source=v1-5.ckpt --architecture=stable_diffusion_1 --out=runs/sd
python -m lumiere.convert --source=t5-v1_1-xxl --out=runs/t5_xxl                 (a text encoder)
python -m lumiere.convert --source=IF-I-M-v1.0/text_encoder --out=runs/t5_xxl --variant=fp16
python -m lumiere.convert --source=runs/t2i --to=diffusers --out=mine            (a run of ours, back)

Says what it recognised, fits every tensor by name and shape before it reads the first, and writes them one at a time: no
more than the largest tensor is held in memory. `--report` shows the whole list.
"""

import pathlib

from absl import flags

from lumiere import cli


def main():
  """Reads the flags and converts."""
  for name in ("source", "out"):
    if not flags.FLAGS[name].value:
      raise ValueError(f"--{name} is missing")
  source, out = pathlib.Path(flags.FLAGS.source), pathlib.Path(flags.FLAGS.out)
  if not source.exists():
    raise ValueError(f"--source={source} does not exist")
  if out.exists():
    raise ValueError(f"--out={out} exists already: nothing is overwritten")
  from lumiere.interop import convert as interop

  if flags.FLAGS.to == "diffusers":
    interop.export(source, out)
    return
  fitted = interop.convert(source, out, flags.FLAGS.architecture, flags.FLAGS.variant)
  if flags.FLAGS.report:
    print(fitted.report())
  print(f"{fitted.summary()}\nwritten to {out}")


if __name__ == "__main__":
  from lumiere.interop import architectures

  flags.DEFINE_string("source", None, "Folder or file with the weights.")
  flags.DEFINE_string("out", None, "Folder to write; it must not be there yet.")
  flags.DEFINE_enum("to", "lumiere", ("lumiere", "diffusers"), "What to write.")
  flags.DEFINE_enum(
    "architecture", None, tuple(architectures.PUBLISHED), "What a bare file of weights is."
  )
  flags.DEFINE_string(
    "variant",
    None,
    "Which of several weights that lie together: fp16, non_ema; ema of a .pt file, or of a single file of Stable Diffusion.",
  )
  flags.DEFINE_bool("report", False, "Print every tensor and where it went.")
  cli.run(main)
