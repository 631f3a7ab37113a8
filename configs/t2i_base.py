"""Text-to-image at the paper's base resolution, 128x128: the network that `stunet_base` inflates and freezes.

Lumiere starts from a pretrained pixel-space text-to-image model whose architecture the paper does not give. Sizes follow Imagen
(2205.11487, appendix F), Google's own, with one finer level for 128x128. Captions come as precomputed T5-v1.1-XXL
states, which `python -m lumiere.embed` writes.

Hardware: a TPU pod; not trained by us. Public weights are the practical start.

python train.py --config=configs/t2i_base.py --workdir=gs://BUCKET/t2i_base --config.data.folder=FOLDER
"""

from ml_collections import ConfigDict

from configs import common


def get_config() -> ConfigDict:
  config = ConfigDict()
  config.stage = "t2i"
  config.seed = 0
  config.dtype = "auto"  # bfloat16 on accelerators
  config.init_from = ""

  config.model = dict(
    channels=(256, 512, 1024, 1536, 2048),  # Imagen: 512 x (1, 2, 3, 4) at 64..8; ours: 256 at 128
    num_res_blocks=3,  # Imagen
    attention_levels=(2, 3, 4),  # Imagen: at 32, 16 and 8
    text_dim=4096,  # Imagen: T5-XXL
    cross_attention_dim=2048,  # DeepFloyd IF: the coarsest width
    text_norm="layer",  # Imagen
    text_pool="attention",  # Imagen
    pool_heads=64,  # DeepFloyd IF
    head_dim=64,  # Imagen
    norm_groups=32,  # ADM
    activation="silu",  # ADM
    remat_levels=(0, 1),  # ours
  )
  config.text = dict(
    encoder=None, max_length=128, drop_rate=0.1
  )  # Imagen: 10 %; the length is ours

  # Ours: the paper discloses neither schedule nor prediction. v is steadier at high resolution (Imagen Video), the shift
  # is 2 log(64 / 128) (simple diffusion, 2301.11093).
  config.diffusion = dict(
    schedule=dict(name="cosine", log_snr_shift=-1.386), prediction="v", weighting="uniform"
  )

  config.data = dict(
    dataset="video_folder",
    num_frames=1,
    resolution=common.size(128),  # paper
    buckets=(),
    fps=16.0,  # paper
    data_dir="data",
    embeddings="embeddings",  # yours: lumiere.embed writes them
    folder="videos",  # yours
    video_folder=dict(num_frames=80, resolution=common.size(128)),
    num_workers=16,
  )
  config.optimizer = dict(
    name="adafactor", learning_rate=1e-4, warmup_steps=10_000, decay="constant", clip_norm=1.0
  )  # Imagen's base; the clipping is ours
  config.mesh = dict(fsdp=1, frames=1)
  config.train = dict(
    num_steps=2_500_000,  # Imagen
    batch_size=2048,  # Imagen
    num_microbatches=1,
    frozen_dtype="float32",
    ema_decay=0.9999,  # usual
    log_every=100,
    eval_every=5000,
    eval_batches=8,
    sample_every=10_000,
    num_samples=16,
    checkpoint_every=2000,
    max_checkpoints=3,
    profile_steps=0,
  )
  config.sampling = dict(
    sampler="ddim",
    num_steps=64,
    guidance_scale=7.5,
    threshold=dict(name="dynamic", percentile=0.995),
  )  # ours; the threshold is Imagen's
  return config
