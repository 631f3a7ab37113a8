"""Fine-tunes the miniature image network to a style, on a folder with a few captioned images (paper, section 4).

Only image weights are tuned; the temporal layers stay as they are. Sampling then interpolates between the original and the tuned
image weights, with `sample.py --style=runs/t2i_style_tiny --style_strength=0.75`.

python scripts/style_pictures.py --out=pictures                     (or images of your own, with captions.csv)
python train.py --config=configs/t2i_style_tiny.py --workdir=runs/t2i_style_tiny --config.init_from=runs/t2i_tiny --config.data.folder=pictures
"""

from ml_collections import ConfigDict

from configs import common, t2i_tiny


def get_config() -> ConfigDict:
  config = t2i_tiny.get_config()
  config.data.update(dataset="video_folder", folder="pictures")
  config.data.video_folder = dict(num_frames=1, resolution=common.size(64))
  config.optimizer = common.tiny_optimizer(
    5e-4
  )  # lower than from scratch: the style, not another model
  config.train.update(num_steps=150, batch_size=16, checkpoint_every=150)
  return config
