"""Autoencoders of latent models, as `lumiere.convert` and scripts/train_autoencoder.py write them.

    config.json     kind "autoencoder" and sizes
    weights/        Orbax
    checksums/      of the weights

A run that starts from nothing reads one, by `config.autoencoder_from`; afterwards it is among the run's frozen weights.
"""

import dataclasses
import json

import jax
from etils import epath
from flax import nnx

from lumiere import fields, files, trees, weights
from lumiere import mesh as meshes
from lumiere.latents.autoencoder import Autoencoder, AutoencoderConfig


def save(folder: epath.PathLike, config: AutoencoderConfig, tree: weights.Weights):
  """Writes config and weights; leaves may be `weights.Deferred`."""
  folder = epath.Path(folder).resolve()
  trees.save(folder, tree, read_as=("float32",))
  sizes = {"kind": "autoencoder"} | dataclasses.asdict(config)
  (folder / "config.json").write_text(json.dumps(sizes, indent=2) + "\n")


def load_config(folder: epath.PathLike) -> AutoencoderConfig:
  """The config in a folder; raises ValueError if it holds no autoencoder."""
  path = epath.Path(folder) / "config.json"
  if not path.exists():
    raise ValueError(
      f"{folder} holds no autoencoder: lumiere.convert makes one from an AutoencoderKL folder or file"
    )
  sizes = files.read_json(path)
  with files.about(path):
    fields.one_of("kind", sizes.pop("kind", None), ("autoencoder",))
    return fields.from_mapping(AutoencoderConfig, sizes, "autoencoder")


def restore(
  folder: epath.PathLike, config: AutoencoderConfig, mesh: jax.sharding.Mesh
) -> weights.Weights:
  """The weights in a folder, on a mesh.

  Raises:
    ValueError: if the folder holds no autoencoder, another than `config` describes, or weights that cannot be read.
  """
  found = load_config(folder)
  if found != config:
    raise ValueError(f"autoencoder_from={folder} holds {found}, not {config}")
  return trees.restore(epath.Path(folder), meshes.abstract(abstract(config), mesh))


def abstract(config: AutoencoderConfig) -> weights.Weights:
  """Shapes of the weights."""
  return weights.split(nnx.eval_shape(lambda: Autoencoder(config, rngs=weights.Seeds(0))))[1]
