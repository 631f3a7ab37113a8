"""The error of a model of the endless world beside that of the best denoiser there is, by noise level.

"other motion" is how much the model's error grows when it is given a caption of another motion.

python benchmarks/gap.py --model=runs/release/stunet
"""

from absl import flags

from lumiere import cli, pretrained

LOG_SNRS = (-12.0, -10.0, -8.0, -7.0, -6.0, -5.0, -4.0, -3.0, -2.0, -1.0, 0.0)


def main():
  """Measures and prints a table."""
  from lumiere import checkpoints
  from lumiere.evaluation import best_denoiser
  from lumiere.evaluation.held_out import HeldOut
  from lumiere.sampling.generator import Generator

  values = flags.FLAGS
  trained = checkpoints.load_trained(values.model or pretrained.BASE, ("t2i", "stunet"))
  generator = Generator(
    trained.experiment, trained.step, trained.rebuild, trained.params, trained.frozen
  )
  captions = HeldOut.load(trained.experiment.data, "test", values.num_clips).captions
  gaps = best_denoiser.measure(generator, captions, LOG_SNRS, values.num_scenes)
  print(f"Mean square error of x0 on {values.num_clips} clips; best: of {values.num_scenes} scenes")
  print(
    f"{'log-SNR':>8}{'model':>10}{'other motion':>14}{'best':>10}{'ratio':>8}{'scenes that count':>20}"
  )
  for gap in gaps:
    ratio = gap.model / gap.best
    misled = f"{gap.misled / gap.model - 1:+.1%}"
    print(
      f"{gap.log_snr:>8g}{gap.model:>10.5f}{misled:>14}{gap.best:>10.5f}{ratio:>8.2f}{gap.effective:>20.1f}"
    )


if __name__ == "__main__":
  flags.DEFINE_string(
    "model", None, "Run or release of a base or its image model; default: the base that ships."
  )
  flags.DEFINE_integer("num_clips", 24, "Held-out captions.", 1)
  flags.DEFINE_integer("num_scenes", 2000, "Scenes that each caption may mean.", 1)
  cli.run(main)
