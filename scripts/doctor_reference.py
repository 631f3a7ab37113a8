"""Measures the curves that lumiere.doctor shows beside a config's own: how the larger miniature learns a few clips by heart.

python scripts/doctor_reference.py

Image stages begin from scratch, video stages around the image networks of the models that ship. It writes
lumiere/diagnosis/reference.json.
"""

import importlib
import json
import pathlib
import sys
import tempfile

from absl import flags

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))  # for configs/

from lumiere import cli  # noqa: E402

CONFIGS = {
  "t2i": "t2i_release",
  "stunet": "stunet_release",
  "ssr_image": "ssr_image_release",
  "ssr": "ssr_release",
}


def main():
  """Measures each stage, and writes the file after each."""
  import jax

  from lumiere import checkpoints, pretrained
  from lumiere import mesh as meshes
  from lumiere.diagnosis import learning
  from lumiere.diagnosis.networks import Network
  from lumiere.experiment import Experiment
  from lumiere.training import loop, start
  from lumiere.training.stages import Stage

  out = pathlib.Path(learning.__file__).with_name("reference.json")
  curves = json.loads(out.read_text())
  for name, config_name in CONFIGS.items():
    config = importlib.import_module(f"configs.{config_name}").get_config()
    with tempfile.TemporaryDirectory() as folder:
      if name in ("stunet", "ssr"):
        shipped = pretrained.BASE if name == "stunet" else pretrained.SSR
        image = Network.image_of(checkpoints.load_trained(shipped, (name,)))
        checkpoints.save_imported(folder, image.experiment, jax.device_get(image.params))
        config.init_from = folder
      experiment = Experiment.from_config(config)
      stage, mesh = Stage(experiment), meshes.make_mesh(experiment.mesh)
      warm_start = start.load_warm_start(stage, mesh)
    batch = next(iter(loop.make_loader(experiment, "train")))
    with jax.set_mesh(mesh):
      weights = start.initial_weights(stage, warm_start, mesh)
      fitted = learning.fit(experiment, *weights, batch, flags.FLAGS.steps, mesh)
    points = [[step, round(loss, 4)] for step, loss in learning.curve(fitted.losses)]
    curves[name] = {"config": f"configs/{config_name}.py", "points": points}
    out.write_text(json.dumps(curves, indent=2) + "\n")
    print(name, points)


if __name__ == "__main__":
  flags.DEFINE_integer("steps", 100, "Steps of each.")
  cli.run(main)
