"""C3D fine-tuned on UCF101, the network behind the Inception Score of videos (Tran et al., 2015; Saito et al., 2017).

    16 frames of 112x112, BGR, 0..256, less the mean clip of its training
    conv1a P conv2a P conv3a conv3b P conv4a conv4b P conv5a conv5b P fc6 fc7 fc8,   P a maximum over 2x2x2, the first over 1x2x2

Frames are resized with their corners aligned, and the last maximum keeps the row and the column that are left over (7 -> 4): so
does TGAN's code, whose files of weights these are. Other libraries round down, and give other scores.
"""

import dataclasses
import hashlib
import zipfile

import einops
import jax
import jax.numpy as jnp
import numpy as np
import scipy.special
from etils import epath
from flax import nnx, traverse_util
from jaxtyping import Array, Float

from lumiere import weights
from lumiere.evaluation.metrics import resizing
from lumiere.evaluation.metrics.backbone import Backbone

NAMES = ("conv1a", "conv2a", "conv3a", "conv3b", "conv4a", "conv4b", "conv5a", "conv5b")
POOLED = ("conv1a", "conv2a", "conv3b", "conv4b", "conv5b")


@dataclasses.dataclass(frozen=True)
class C3DConfig:
  """Sizes; the defaults are the published ones.

  Attributes:
    widths: of the convolutions, in the order of `NAMES`.
    hidden: width of fc6 and fc7.
    num_classes: of fc8.
    size: height and width of a frame.
    num_frames: of a clip.
  """

  widths: tuple[int, ...] = (64, 128, 256, 256, 512, 512, 512, 512)
  hidden: int = 4096
  num_classes: int = 101
  size: int = 112
  num_frames: int = 16

  @property
  def flat(self) -> int:
    """Numbers that fc6 sees: the last width, by the frames and places that five maxima leave."""
    side = -(-self.size // 2**5)
    return self.widths[-1] * (self.num_frames // 2**4) * side * side


class C3D(nnx.Module):
  """See the module docstring."""

  def __init__(self, config: C3DConfig, *, rngs: nnx.Rngs):
    self.config = config
    c_in, convs = 3, {}
    for name, width in zip(NAMES, config.widths, strict=True):
      convs[name] = nnx.Conv(c_in, width, (3, 3, 3), rngs=rngs)
      c_in = width
    self.convs = nnx.Dict(convs)
    self.fc6 = nnx.Linear(config.flat, config.hidden, rngs=rngs)
    self.fc7 = nnx.Linear(config.hidden, config.hidden, rngs=rngs)
    self.fc8 = nnx.Linear(config.hidden, config.num_classes, rngs=rngs)

  def __call__(self, x: Float[Array, "b t h w 3"]) -> Float[Array, "b classes"]:
    """Logits of clips in BGR, less the mean."""
    for name, conv in self.convs.items():
      x = nnx.relu(conv(x))
      if name in POOLED:
        window = (1 if name == "conv1a" else 2, 2, 2)
        x = nnx.max_pool(x, window, window, "SAME")  # with what is left over, on the far side
    x = einops.rearrange(x, "b t h w c -> b (c t h w)")  # channels first, as in the files
    return self.fc8(nnx.relu(self.fc7(nnx.relu(self.fc6(x)))))


def logits(
  network: C3D, mean: Float[Array, "t size size 3"], clips: Float[Array, "b t h w 3"]
) -> Float[Array, "b classes"]:
  """Logits of clips in RGB, 0..255, of any size."""
  size = network.config.size
  frames = einops.rearrange(clips, "b t h w c -> (b t) h w c")[..., ::-1]
  frames = resizing.resize(frames * (128 / 127.5), size, size, "aligned")
  x = einops.rearrange(frames, "(b t) h w c -> b t h w c", b=len(clips)) - mean[None]
  with jax.default_matmul_precision("highest"):
    return network(x)


def load_backbone(
  path: epath.PathLike, mean_path: epath.PathLike, config: C3DConfig = C3DConfig()
) -> Backbone:
  """C3D with the weights and the mean clip of two .npz files, as TGAN's code reads them.

  Args:
    path: "conv1a/W", "conv1a/b", ..., "fc8/b": `conv3d_deepnetA_ucf.npz`.
    mean_path: "mean" [3, 16, 128, 171]: `mean2.npz`.
    config: sizes.

  Raises:
    ValueError: if a file cannot be read, or is that of another network.
  """
  stored, sum_of_weights = _read(path)
  rebuild, wanted, frozen = weights.split(nnx.eval_shape(lambda: C3D(config, rngs=nnx.Rngs(0))))
  found = {}
  for name in (*NAMES, "fc6", "fc7", "fc8"):
    ours = f"convs/{name}" if name in NAMES else name
    for leaf, theirs in (("kernel", f"{name}/W"), ("bias", f"{name}/b")):
      if theirs not in stored:
        raise ValueError(f"{path} has no {theirs}: it does not hold C3D's weights")
      array = stored[theirs]
      axes = (*range(2, array.ndim), 1, 0) if leaf == "kernel" else (0,)
      found[f"{ours}/{leaf}"] = np.transpose(array, axes)
  try:
    params = weights.merge(wanted, traverse_util.unflatten_dict(found, sep="/"))
  except ValueError as error:
    raise ValueError(f"{path} does not hold C3D's weights: {error}") from error
  means, sum_of_mean = _read(mean_path)
  mean, first = means.get("mean"), 8  # the middle of 128x171 that its training cut out
  if mean is None or mean.ndim != 4 or min(mean.shape[2:]) < first + config.size:
    raise ValueError(f"{mean_path} has no 'mean' [3, {config.num_frames}, 128, 171]")
  mean = mean[:, :, first : first + config.size, first : first + config.size]
  mean = jnp.asarray(np.transpose(mean, (1, 2, 3, 0)), jnp.float32)
  compiled = jax.jit(lambda params, clips: logits(rebuild(params, frozen), mean, clips))
  checksum = hashlib.sha256((sum_of_weights + sum_of_mean).encode()).hexdigest()
  return Backbone("c3d-ucf101", checksum, lambda clips, _: compiled(params, clips))


def _read(path: epath.PathLike) -> tuple[dict[str, np.ndarray], str]:
  """(arrays, SHA-256 of the file)."""
  path = epath.Path(path)
  try:
    with path.open("rb") as file:
      checksum = hashlib.file_digest(file, "sha256").hexdigest()
    with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
      return {name: stored[name] for name in stored.files}, checksum
  except (OSError, ValueError, zipfile.BadZipFile) as error:
    raise ValueError(f"{path} cannot be read as .npz: {error}") from error


def inception_score(
  logits: Float[np.ndarray, "n classes"], splits: int = 10
) -> tuple[float, float]:
  """exp of the mean KL divergence of each video's classes from those of all (Salimans et al., 2016).

  Args:
    logits: of each video.
    splits: parts in which it is computed.

  Returns:
    mean and standard deviation over the parts.

  Raises:
    ValueError: if there are fewer videos than parts.
  """
  if len(logits) < splits:
    raise ValueError(
      f"an Inception Score in {splits} parts needs as many videos, {len(logits)} are given"
    )
  logits = np.asarray(logits, np.float64)
  log_p = scipy.special.log_softmax(logits, axis=1)
  scores = []
  for part in np.array_split(log_p, splits):
    marginal = scipy.special.logsumexp(part, axis=0) - np.log(len(part))
    scores.append(np.exp(np.mean(np.sum(np.exp(part) * (part - marginal), axis=1))))
  return float(np.mean(scores)), float(np.std(scores))
