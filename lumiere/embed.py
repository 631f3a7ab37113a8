"""Computes the states of a dataset's captions once, so that training does not run the text encoder.

python -m lumiere.embed --config=configs/stunet_if.py --text_encoder=runs/t5_xxl --out=embeddings/mine

Then train with --config.data.embeddings=embeddings/mine. States are found by the caption and the encoder that they are
of: what is there is kept, what is not is made, after a run that was stopped as well as after a caption was mended, a video
added, or for another dataset in the same folder. States of another encoder are removed. Several processes share the work.
"""

import dataclasses
import re
from typing import NamedTuple

import jax
import numpy as np
from absl import flags
from etils import epath
from ml_collections import config_flags
from tqdm import tqdm

from lumiere import cli, processes


class Counts(NamedTuple):
  """Captions whose states were made, and kept; states of other encoders that were removed; captions that were cut."""

  made: int
  kept: int
  removed: int
  cut: int

  def __str__(self) -> str:
    removed = f", {self.removed} of another encoder removed" if self.removed else ""
    cut = (
      f"; {self.cut} of those made are too long, and their ends are not read" if self.cut else ""
    )
    return f"states of {self.made} captions made, of {self.kept} kept{removed}{cut}"


def main():
  """Reads the flags."""
  for name, value in (("config", flags.FLAGS.config), ("text_encoder", flags.FLAGS.text_encoder), ("out", flags.FLAGS.out)):  # fmt: skip
    if value is None:
      raise ValueError(f"--{name} is missing")
  from lumiere import checkpoints
  from lumiere.pretrained_text import TextEncoder

  processes.initialize()
  experiment = checkpoints.read_experiment(flags.FLAGS.config)
  if experiment.text is None or experiment.text.encoder is not None:
    raise ValueError(f"--config: stage {experiment.stage!r} there reads no precomputed states")
  encoder = TextEncoder.restore(flags.FLAGS.text_encoder, experiment.text.max_length)
  counts = embed(experiment, encoder, flags.FLAGS.out, flags.FLAGS.batch_size)
  print(f"{flags.FLAGS.out}: {counts}")


def embed(experiment, encoder, out: epath.PathLike, batch_size: int = 32) -> Counts:
  """Brings the states in `out` up to date with the captions of a dataset, train and validation split.

  Args:
    experiment: its data are read.
    encoder: a `TextEncoder`.
    out: see `lumiere.data.embeddings`.
    batch_size: captions encoded at a time.

  Returns:
    how many were made and kept, by this process.

  Raises:
    ValueError: if the encoder's width is not the network's.
  """
  from lumiere.data import embeddings, sources

  width = experiment.model.text_dim
  if encoder.config.d_model != width:
    raise ValueError(
      f"text_encoder gives states of width {encoder.config.d_model}; model.text_dim={width}"
    )
  if batch_size < 1:
    raise ValueError(f"batch_size={batch_size} must be 1 or more")
  out = epath.Path(out)
  whose = embeddings.Encoder(encoder.checksum, experiment.text.max_length)
  plain = dataclasses.replace(experiment.data, embeddings="")
  # What cannot be is said before anything is removed.
  splits = [sources.make_source(plain, split) for split in ("train", "validation")]
  with processes.first_goes_ahead("other encoders"):
    removed = remove_others(out, whose) if processes.is_first() else 0
  stored = {int(key) for _, rows in embeddings.files_of(out, whose) for key in rows["key"]}
  made, kept, too_long, waiting = set(), set(), set(), {}

  def make():
    texts = [c.decode() if isinstance(c, bytes) else str(c) for c in waiting.values()]
    embeddings.save_states(out, whose, texts, encode(encoder, texts, batch_size))
    made.update(waiting)
    tokenizer = encoder.tokenizer
    too_long.update(text for text in texts if tokenizer.count(text) > tokenizer.max_length)
    waiting.clear()

  for caption in captions_of(splits):
    key = int(embeddings.key_of(caption))
    if key in stored:
      kept.add(key)
    elif key not in made:
      waiting[key] = caption
    if len(waiting) == embeddings.ROWS:
      make()
  if waiting:
    make()
  processes.wait_for_all("states")
  if processes.is_first():
    try:
      known = embeddings.Index.read(out).datasets
    except ValueError:
      known = ()
    dataset = sources.digest(sources.fingerprint(plain))
    embeddings.write_index(out, whose, sorted({*known, dataset}))
  processes.wait_for_all("index")
  return Counts(len(made), len(kept), removed, len(too_long))


def captions_of(splits):
  """The captions that this process sees to, each time that they come up; first of all the empty one."""
  yield ""
  for source in splits:
    mine = range(len(source))[jax.process_index() :: jax.process_count()]
    for index in tqdm(mine, unit="caption", disable=None):
      yield source[index]["caption"]


def encode(encoder, texts: list[str], batch_size: int) -> dict[str, np.ndarray]:
  """States of captions, `batch_size` at a time."""
  parts = []
  for first in range(0, len(texts), batch_size):
    batch = texts[first : first + batch_size]
    padded = batch + [""] * (batch_size - len(batch))  # one shape, one compilation
    parts.append({name: np.asarray(x)[: len(batch)] for name, x in encoder(padded).items()})
  return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def remove_others(out: epath.Path, whose) -> int:
  """Removes the states of other encoders than `whose`, and the index of them; returns how many there were."""
  from lumiere.data import embeddings

  removed = 0
  for folder in sorted(out.iterdir()) if out.exists() else ():
    if re.fullmatch("[0-9a-f]{16}-[0-9]+", folder.name) and folder.name != str(whose):
      (out / "index.npz").unlink(missing_ok=True)  # first, so that nobody trains on half of them
      removed += sum(len(rows) for _, rows in embeddings.files_of(out, folder.name))
      folder.rmtree()
  return removed


if __name__ == "__main__":
  config_flags.DEFINE_config_file("config", None, "The experiment whose dataset is read.")
  flags.DEFINE_string("text_encoder", None, "Folder of a converted text encoder.")
  flags.DEFINE_string("out", None, "Folder to write to.")
  flags.DEFINE_integer("batch_size", 32, "Captions encoded at a time.")
  processes.define_flags()
  cli.run(main)
