"""Fine-tunes the larger miniature's image network to a style, from a folder with a few captioned pictures (section 4).

Only image weights are styled; the video layers were trained around the original ones and stay as they are.

scripts/train_release.py draws the pictures and runs this. By hand:

python scripts/style_pictures.py --out=pictures                     (or pictures of yours, with captions.csv)
python train.py --config=configs/t2i_style_release.py --workdir=runs/release/t2i_style --config.init_from=runs/release/t2i --config.data.folder=pictures
"""

from ml_collections import ConfigDict

from configs import common, t2i_release


def get_config() -> ConfigDict:
  config = t2i_release.get_config()
  config.data.update(dataset="video_folder", folder="pictures")
  config.data.video_folder = dict(num_frames=1, resolution=common.size(64))
  # The base's temporal layers still know what they see, as a mosaic changes no more than how pixels are made of it.
  config.optimizer = common.tiny_optimizer(1e-4)
  config.train.update(num_steps=300, batch_size=16, ema_decay=0.98, checkpoint_every=150)
  return config
