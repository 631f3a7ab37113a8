"""Memory of converting public weights, against the size of the weights.

python benchmarks/convert_memory.py [--scale=0.5] [--form=torch]

Writes files of random numbers with the layout of DeepFloyd IF-I-XL, widths multiplied by SCALE, converts each in a process
of its own and reports the peak of the memory that this process itself allocated (pages of the mapped source file, which
the system can take back at any time, are not counted), over that of a process that only imports.
"""

import json
import pathlib
import subprocess
import sys
import tempfile
import threading
import time

import numpy as np
from absl import flags

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))  # for configs/ and tests/

from lumiere import cli
from tests.lumiere.interop import published

_SCALES = flags.DEFINE_multi_float("scale", [0.125, 0.25, 0.375], "Multiples of IF-I-XL's widths.")
_FORM = flags.DEFINE_enum("form", "safetensors", ("safetensors", "torch"), "What is converted.")
_FOLDER = flags.DEFINE_string("folder", None, "Convert this folder only, and print a line of JSON.")

XL = (704, 1408, 2112, 2816)
MIB = 2**20


def main():
  """Measures one folder, or makes a folder of each scale and prints the table."""
  if _FOLDER.value is not None:
    print(json.dumps(measure(pathlib.Path(_FOLDER.value))))
    return
  baseline = run(pathlib.Path())["peak"]
  print("widths       numbers   file        largest tensor   peak")
  for scale in _SCALES.value:
    with tempfile.TemporaryDirectory() as name:
      folder = pathlib.Path(name)
      total, largest = write(folder, scale)
      row = run(folder)
      print(
        f"{scale:5.3f} x XL  {total / 2 / 1e6:6.0f}M  {total / MIB:6.0f} MiB  {largest / MIB:10.0f} MiB"
        f"  {(row['peak'] - baseline) / MIB:8.0f} MiB"
      )


def run(folder: pathlib.Path) -> dict:
  """`measure` in a process of its own."""
  command = [sys.executable, __file__, f"--folder={folder}"]
  output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
  return json.loads(output.strip().splitlines()[-1])


def measure(folder: pathlib.Path) -> dict:
  """Converts `folder`; the peak of this process's own memory, in bytes."""
  from lumiere.interop import convert

  peak, done = 0, False

  def watch():
    nonlocal peak
    while not done:
      for line in pathlib.Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon"):
          peak = max(peak, int(line.split()[1]) * 1024)
      time.sleep(0.002)

  watcher = threading.Thread(target=watch)
  watcher.start()
  if (folder / "unet").exists():
    convert.convert(folder, folder / "run")
  time.sleep(0.1)
  done = True
  watcher.join()
  return {"peak": peak}


def write(folder: pathlib.Path, scale: float) -> tuple[int, int]:
  """Writes a pipeline folder in float16, tensor by tensor; returns bytes of all tensors and of the largest."""
  import dataclasses

  from flax import nnx, traverse_util

  from configs import stunet_if
  from lumiere import weights
  from lumiere.experiment import Experiment
  from lumiere.interop import architectures, names
  from stunet.image_unet import ImageUNet

  xl = Experiment.from_config(stunet_if.get_config("XL")).model
  width = [int(c * scale) for c in XL]
  config = dataclasses.replace(
    xl, channels=tuple(width), cross_attention_dim=width[-1], embedding_dim=4 * width[0],
    head_dim=width[0] // 4, norm_groups=8,
  )  # fmt: skip
  abstract = weights.split(nnx.eval_shape(lambda: ImageUNet(config, rngs=weights.Seeds(0))))[1]
  header, place, order = {}, 0, []
  for path, leaf in traverse_util.flatten_dict(abstract, sep="/").items():
    source = names.source_of(path, leaf.shape, names.diffusers(config))
    size = 2 * leaf.size
    header[source.key] = {
      "dtype": "F16", "shape": list(source.shape), "data_offsets": [place, place + size]
    }  # fmt: skip
    place += size
    order.append(leaf.size)
  for name, content in (
    ("unet/config.json", architectures.to_diffusers_unet(config, 64)),
    ("scheduler/scheduler_config.json", {"beta_schedule": "squaredcos_cap_v2"}),
  ):
    (folder / name).parent.mkdir(parents=True)
    (folder / name).write_text(json.dumps(content))
  encoded = json.dumps(header).encode()
  rng = np.random.default_rng(0)
  path = folder / "unet" / "model.safetensors"
  with path.open("wb") as file:
    file.write(len(encoded).to_bytes(8, "little") + encoded)
    for count in order:
      file.write(rng.standard_normal(count, dtype=np.float32).astype(np.float16).tobytes())
  if _FORM.value == "torch":
    start = 8 + len(encoded)
    tensors = {
      name: np.memmap(
        path, np.float16, "r", start + entry["data_offsets"][0], tuple(entry["shape"])
      )
      for name, entry in header.items()
    }
    published.write_torch(path.with_name("pytorch_model.bin"), tensors)
    path.unlink()
  return place, 2 * max(order)


if __name__ == "__main__":
  cli.run(main)
