"""What has to fit together for a cascade; each check is done before weights are read, which takes minutes at the paper's size."""

import math

from etils import epath

from lumiere import checkpoints, pretrained_text
from lumiere.experiment import Experiment
from lumiere.trained import Record


def multiple_of(base: Experiment, ssr: Experiment | None) -> int:
  """What height and width of the videos of a cascade are multiples of."""
  if ssr is None:
    return base.multiple
  return math.lcm(base.multiple * ssr.super_resolution.factor, ssr.multiple)


def check_conditional(experiment: Experiment):
  """Raises ValueError unless a base takes known pixels."""
  if not experiment.masks:
    raise ValueError(
      "this base takes no known pixels: fine-tune it with config.masks (configs/stunet_masked_tiny.py)"
    )


def check_text_encoder(workdir: epath.PathLike, record: Record, text_encoder: epath.PathLike):
  """Raises ValueError if a run was trained on caption states of another text encoder."""
  trained, given = record.provenance.get("text_encoder"), pretrained_text.checksum_of(text_encoder)
  if trained and trained["checksum"] != given:
    raise ValueError(
      f"text_encoder={text_encoder} is not the one that {workdir} was trained with: its checksum is {given}, that of the "
      f"training's is {trained['checksum']}"
    )


def check_style(experiment: Experiment, style: epath.PathLike):
  """Raises CheckpointError unless a workdir is that of a "t2i" run, ValueError unless its network is that of the base."""
  trained, _ = checkpoints.load_experiment(style, stages=("t2i",))
  for field in ("model", "text", "diffusion", "autoencoder"):
    ours, theirs = getattr(experiment, field), getattr(trained, field)
    if field == "diffusion":  # how the loss was weighted does not matter to a network
      ours, theirs = ((d.schedule, d.prediction) for d in (ours, theirs))
    if ours != theirs:
      raise ValueError(
        f"style={style}: its {field} is not that of the base: {theirs} there, {ours} here"
      )
