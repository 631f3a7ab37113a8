"""Blocks that several experiments share."""

from ml_collections import ConfigDict, config_dict


def size(default: int | tuple[int, int]) -> config_dict.FieldReference:
  """A field for a side or (height, width) in pixels: `--config.data.resolution=24` or `"--config.data.resolution=(24, 40)"`."""
  return config_dict.FieldReference(default, field_type=object)


def tiny_clips(num_frames: int, resolution: int) -> ConfigDict:
  """`moving_shapes`, two seconds at 8 frames a second, as every miniature stage sees it."""
  return ConfigDict(
    dict(
      dataset="moving_shapes",
      num_frames=num_frames,
      resolution=size(resolution),
      buckets=(),
      fps=8.0,
      data_dir="data",
      embeddings="",
      moving_shapes=dict(
        num_train=3072, num_held_out=256, resolution=size(64), num_frames=16, max_things=1, seed=0
      ),
      folder="",  # for dataset="video_folder"
      video_folder=dict(num_frames=16, resolution=size(64)),
      num_workers=0,
    )
  )


def tiny_text() -> ConfigDict:
  """A byte-level T5 encoder small enough to train with the network."""
  encoder = dict(vocab_size=384, d_model=64, d_kv=8, d_ff=128, num_layers=2, num_heads=8)
  return ConfigDict(dict(encoder=encoder, max_length=72, drop_rate=0.1))


def tiny_optimizer(learning_rate: float) -> ConfigDict:
  """Adam for a run of minutes: short warm-up, cosine down to zero."""
  return ConfigDict(
    dict(
      name="adam",
      learning_rate=learning_rate,
      b2=0.999,
      warmup_steps=50,
      decay="cosine",
      clip_norm=1.0,
    )
  )


def tiny_image_unet() -> ConfigDict:
  """The miniature text-to-image U-Net: the same code as the paper-sized one with small numbers."""
  return ConfigDict(
    dict(
      channels=(16, 48, 64),
      num_res_blocks=1,
      attention_levels=(2,),
      text_dim=64,
      text_pool="attention",
      pool_heads=4,
      head_dim=16,
      norm_groups=8,
    )
  )


def tiny_ssr_unet() -> ConfigDict:
  """The miniature super-resolution U-Net: no attention and no text, so that it runs at any size."""
  return ConfigDict(
    dict(
      channels=(16, 32, 48),
      num_res_blocks=1,
      in_channels=6,
      augmentation_embedding=True,
      norm_groups=8,
    )
  )


def diffusion(prediction: str = "v", log_snr_shift: float = 0.0) -> ConfigDict:
  """Continuous cosine schedule. The paper does not disclose its process: ours to choose."""
  return ConfigDict(
    dict(
      schedule=dict(name="cosine", log_snr_shift=log_snr_shift),
      prediction=prediction,
      weighting="uniform",
    )
  )


def mask_shares() -> ConfigDict:
  """How often a conditional network sees each kind of mask: one model for every application, and for plain text."""
  return ConfigDict(
    dict(
      none=0.15,
      first_frame=0.2,
      first_and_last=0.1,
      any_frames=0.1,
      box=0.05,
      tube=0.1,
      hole=0.1,
      border=0.1,
      still_region=0.1,
    )
  )


def release_diffusion() -> ConfigDict:
  """That of the release: x0, of which flat colours need few values, with detail weighed as v weighs it."""
  config = diffusion("x0")
  config.update(weighting="v", v_gamma=16.0)
  return config


def release_optimizer() -> ConfigDict:
  """Muon: half of the steps that Adam needs for the same loss, each a third longer in the image network."""
  config = tiny_optimizer(2e-3)
  config.name = "muon"
  return config


def endless_clips(num_frames: int, resolution: int) -> ConfigDict:
  """`moving_shapes_endless`, two seconds at 8 frames a second, as every stage of the release sees it."""
  return ConfigDict(
    dict(
      dataset="moving_shapes_endless",
      num_frames=num_frames,
      resolution=size(resolution),
      buckets=(),
      fps=8.0,
      data_dir="data",
      embeddings="",
      moving_shapes=dict(),
      moving_shapes_endless=dict(num_frames=16, max_things=2, share_of_two=0.3, seed=0),
      folder="",
      video_folder=dict(num_frames=16, resolution=size(64)),
      num_workers=0,
    )
  )


def release_text() -> ConfigDict:
  """The encoder of the release: a token for each word of the world's captions, so that they are short."""
  encoder = dict(vocab_size=384, d_model=64, d_kv=8, d_ff=128, num_layers=3, num_heads=8)
  words = (
    *("a", "and", "one", "on", "not", "the", "to"),
    *("circle", "square", "triangle"),
    *("red", "green", "blue", "yellow", "cyan", "magenta", "white", "black", "gray", "navy"),
    *("stays", "still", "does", "move", "rests", "moves", "drifts", "slides"),
    *("left", "right", "up", "down", "bounces", "jumps", "circles", "orbits", "spins", "rotates"),
    *("clockwise", "counterclockwise", "grows", "gets", "bigger", "becomes", "larger"),
    *("shrinks", "smaller", "slowly", "gently", "quickly", "fast"),
  )
  return ConfigDict(dict(encoder=encoder, max_length=32, words=words, drop_rate=0.1))
