"""Computes the states of a dataset's captions once, so that training does not run the text encoder.

python -m lumiere.embed --config=configs/stunet_if.py --text_encoder=runs/t5_xxl --out=embeddings/mine

Then train with --config.data.embeddings=embeddings/mine. What is there is not computed again: a run that was stopped goes
on. Several processes share the work.
"""

import dataclasses
import pathlib

import jax
import numpy as np
from absl import flags
from ml_collections import config_flags
from tqdm import tqdm

from lumiere import cli


def main():
  """Reads the flags."""
  for name, value in (("config", flags.FLAGS.config), ("text_encoder", flags.FLAGS.text_encoder), ("out", flags.FLAGS.out)):  # fmt: skip
    if value is None:
      raise ValueError(f"--{name} is missing")
  from lumiere import checkpoints
  from lumiere.pretrained_text import TextEncoder

  experiment = checkpoints.read_experiment(flags.FLAGS.config)
  if experiment.text is None or experiment.text.encoder is not None:
    raise ValueError(f"--config: stage {experiment.stage!r} there reads no precomputed states")
  encoder = TextEncoder.restore(flags.FLAGS.text_encoder, experiment.text.max_length)
  written = embed(experiment, encoder, pathlib.Path(flags.FLAGS.out), flags.FLAGS.batch_size)
  print(f"{written} files written to {flags.FLAGS.out}")


def embed(experiment, encoder, out: pathlib.Path, batch_size: int = 32) -> int:
  """Writes what is missing in `out`; returns the number of files written.

  Args:
    experiment: its data are read, train and validation split.
    encoder: a `TextEncoder`.
    out: see `lumiere.data.embeddings`.
    batch_size: captions encoded at a time.

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

  def states(captions):
    texts = [c.decode("utf-8") if isinstance(c, bytes) else str(c) for c in captions]
    parts = []
    for first in range(0, len(texts), batch_size):
      batch = texts[first : first + batch_size]
      padded = batch + [""] * (batch_size - len(batch))  # one shape, one compilation
      parts.append({name: np.asarray(x)[: len(batch)] for name, x in encoder(padded).items()})
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

  written = 0
  if not (out / "null.npz").exists() and jax.process_index() == 0:
    embeddings.save_shard(out / "null.npz", [""], states([""]))
    written += 1
  plain = dataclasses.replace(experiment.data, embeddings="")
  for split in ("train", "validation"):
    source = sources.make_source(plain, split)
    starts = range(0, len(source), embeddings.ROWS)[jax.process_index() :: jax.process_count()]
    for first in tqdm(starts, desc=split):
      path = embeddings.shard_path(out / split, first)
      if path.exists():
        continue
      last = min(first + embeddings.ROWS, len(source))
      captions = [source[index]["caption"] for index in range(first, last)]
      embeddings.save_shard(path, captions, states(captions))
      written += 1
  return written


if __name__ == "__main__":
  config_flags.DEFINE_config_file("config", None, "The experiment whose dataset is read.")
  flags.DEFINE_string("text_encoder", None, "Folder of a converted text encoder.")
  flags.DEFINE_string("out", None, "Folder to write to.")
  flags.DEFINE_integer("batch_size", 32, "Captions encoded at a time.")
  cli.run(main)
