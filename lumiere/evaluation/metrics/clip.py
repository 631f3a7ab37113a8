"""CLIPSIM and frame consistency: what CLIP says of frames and captions.

CLIPSIM              mean over frames of cos(vector of the caption, vector of the frame)   (Wu et al., 2021)     (1)
frame consistency    mean over neighbouring frames of cos(vector, next vector)                                 (2)
"""

import dataclasses
from collections.abc import Callable, Sequence

import einops
import jax
import jax.numpy as jnp
import numpy as np
from etils import epath
from jaxtyping import Array, Float

from lumiere import mesh as meshes
from lumiere import pretrained_text, weights
from lumiere.evaluation.metrics.backbone import Backbone
from lumiere.sections import MeshConfig
from lumiere.text.clip import ClipConfig, ClipEncoder

# Of the pictures that CLIP was trained on.
MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


@dataclasses.dataclass(frozen=True)
class Clip:
  """A converted CLIP model.

  Attributes:
    backbone: (clips in 0..255, _) -> the vectors of their frames, one after the other: [b t * width].
    width: of a vector.
    text_vectors: captions -> vectors of length 1 [n width].
  """

  backbone: Backbone
  width: int
  text_vectors: Callable[[Sequence[str]], Float[np.ndarray, "n d"]]

  @classmethod
  def load(cls, folder: epath.PathLike) -> "Clip":
    """Reads what `lumiere.convert` made of a folder of transformers.

    Raises:
      ValueError: if the folder holds no CLIP model with both transformers.
    """
    folder = epath.Path(folder).resolve()
    config = pretrained_text.load_config(folder)
    if not isinstance(config, ClipConfig):
      raise ValueError(f"{folder} holds another text encoder than CLIP")
    if not config.image_d_model:
      raise ValueError(f"{folder} has no image transformer: convert a whole CLIP model")
    rebuild, *_ = weights.split(pretrained_text.abstract(config))
    mesh = meshes.make_mesh(MeshConfig(), jax.local_devices()[:1])
    # From there to wherever the videos are.
    params = jax.device_get(
      pretrained_text.load_weights(folder, config, jnp.dtype("float32"), mesh)
    )
    tokenizer = pretrained_text.load_tokenizer(folder, config, config.length)
    text = jax.jit(lambda p, batch: rebuild(p, {}).text_vectors(batch["tokens"], batch["mask"]))
    image = jax.jit(lambda p, clips: _frame_vectors(rebuild(p, {}), clips, config.image_size))
    backbone = Backbone(
      f"clip-{config.image_d_model}-{config.patch_size}",
      pretrained_text.checksum_of(folder),
      lambda clips, _: image(params, clips),
    )
    return cls(
      backbone,
      config.projection_dim,
      lambda captions: np.asarray(text(params, tokenizer(captions))),
    )

  def vectors_of_texts(
    self, captions: Sequence[str], batch_size: int = 64
  ) -> Float[np.ndarray, "n d"]:
    """Vectors of any number of captions, `batch_size` at a time."""
    rows = []
    for first in range(0, len(captions), batch_size):
      batch = list(captions[first : first + batch_size])
      rows.append(self.text_vectors([*batch, *[""] * (batch_size - len(batch))])[: len(batch)])
    return np.concatenate(rows)

  def vectors_of_frames(self, rows: Float[np.ndarray, "n td"]) -> Float[np.ndarray, "n t d"]:
    """The backbone's rows, a vector a frame."""
    return einops.rearrange(rows, "n (t d) -> n t d", d=self.width)


def _frame_vectors(encoder: ClipEncoder, clips: Float[Array, "b t h w 3"], size: int):
  b = len(clips)
  pictures = prepared(einops.rearrange(clips, "b t h w c -> (b t) h w c"), size)
  return einops.rearrange(encoder.image_vectors(pictures), "(b t) d -> b (t d)", b=b)


def prepared(frames: Float[Array, "n h w 3"], size: int) -> Float[Array, "n size size 3"]:
  """Frames in 0..255 as CLIP takes them: the shorter side resized (cubic, antialiased), the middle cut out, normalised."""
  _, height, width, _ = frames.shape
  short = min(height, width)
  new = (int(size * height / short), int(size * width / short))
  resized = jax.image.resize(frames, (len(frames), *new, 3), "cubic")
  top, left = (new[0] - size) // 2, (new[1] - size) // 2
  middle = jnp.clip(resized[:, top : top + size, left : left + size], 0, 255) / 255
  mean, std = (jnp.asarray(x)[None, None, None] for x in (MEAN, STD))
  return (middle - mean) / std


def clipsim(
  frames: Float[np.ndarray, "n t d"], captions: Float[np.ndarray, "n d"]
) -> Float[np.ndarray, " n"]:
  """(1) of each video, given vectors of length 1."""
  return np.einsum("ntd,nd->n", frames, captions) / frames.shape[1]


def consistency(frames: Float[np.ndarray, "n t d"]) -> Float[np.ndarray, " n"]:
  """(2) of each video of two frames or more, given vectors of length 1."""
  if frames.shape[1] < 2:
    raise ValueError("the consistency of frames needs 2 frames or more of each video")
  return np.sum(frames[:, 1:] * frames[:, :-1], axis=-1).mean(axis=1)
