"""Text-to-video from Stable Diffusion 2.1, inflated and frozen: 80 frames of 768x768 at 16 fps, in latents of 96x96.

The weights for 768x768 pixels predict v. For those of the base, with 512x512 pixels, add
--config.diffusion.prediction=eps --config.data.resolution=512 --config.data.video_folder.resolution=512.

python -m lumiere.convert --source=stable-diffusion-2-1 --out=runs/sd21
python -m lumiere.convert --source=stable-diffusion-2-1/text_encoder --out=runs/clip
python train.py --config=configs/stunet_sd21.py --config.init_from=runs/sd21 --workdir=runs/stunet_sd21
"""

from ml_collections import ConfigDict

from configs import common, stunet_sd15


def get_config() -> ConfigDict:
  config = stunet_sd15.get_config()
  config.model.update(text_dim=1024, num_heads=0, head_dim=64)
  config.diffusion.prediction = "v"
  config.data.resolution = common.size(768)
  config.data.video_folder.resolution = common.size(768)
  return config
