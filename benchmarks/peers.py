"""Our networks beside those of PyTorch's libraries on this machine: forward passes and a gradient with the same weights.

make test-parity   # installs diffusers and transformers
python benchmarks/peers.py --cores=2

Both sides have the same number of cores and compute in float32; ours share the examples, as in train.py. They take turns; a ratio
is ours / theirs of one turn, so that below 1 we are faster, and the median is given with the smallest and largest. Weights are
converted, and the results checked to be the same.
"""

import json
import os
import pathlib
import sys
import tempfile
import time
from collections.abc import Callable

import numpy as np
from absl import flags

from lumiere import cli

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))  # for tests/

_CORES = flags.DEFINE_integer("cores", 2, "Cores that both sides have.", lower_bound=1)
_ROUNDS = flags.DEFINE_integer("rounds", 7, "Turns that are timed, after one other.", lower_bound=1)
_OUT = flags.DEFINE_string("out", "out/peers", "Where the figures go.")

# A call of ours, and one of theirs.
Pair = tuple[Callable[[], object], Callable[[], object]]

# An image network like DeepFloyd IF's, in small: 32x32 images, attention at the two coarser levels.
UNET = dict(
  sample_size=32,
  in_channels=3,
  out_channels=6,
  block_out_channels=[64, 128, 192],
  layers_per_block=2,
  down_block_types=["ResnetDownsampleBlock2D", *["SimpleCrossAttnDownBlock2D"] * 2],
  mid_block_type="UNetMidBlock2DSimpleCrossAttn",
  up_block_types=[*["SimpleCrossAttnUpBlock2D"] * 2, "ResnetUpsampleBlock2D"],
  attention_head_dim=32,
  cross_attention_dim=128,
  encoder_hid_dim=64,
  encoder_hid_dim_type="text_proj",
  cross_attention_norm="group_norm",
  addition_embed_type="text",
  addition_embed_type_num_heads=8,
  act_fn="silu",
  resnet_time_scale_shift="scale_shift",
  norm_num_groups=32,
)
T5 = dict(vocab_size=384, d_model=512, d_kv=64, d_ff=1024, num_layers=8, num_heads=6)


def main():
  """Times the rows, prints them, and writes peers.json."""
  os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: _CORES.value])
  import torch

  from lumiere import processes

  torch.set_num_threads(_CORES.value)
  processes.share_cores()
  rows = {
    "unet": lambda: unet_pair(gradient=False),
    "unet-gradient": lambda: unet_pair(gradient=True),
    "t5": t5_pair,
  }
  found = {}
  for name, make in rows.items():
    ours, theirs = make()
    seconds = {"ours": [], "theirs": []}
    for turn in range(1 + _ROUNDS.value):
      for side, call in (("ours", ours), ("theirs", theirs)):
        begun = time.perf_counter()
        call()
        if turn:
          seconds[side].append(time.perf_counter() - begun)
    ratios = np.array(seconds["ours"]) / np.array(seconds["theirs"])
    found[name] = {"ratio": float(np.median(ratios)), **seconds}
    print(
      f"{name:16} {np.median(ratios):.2f} ({ratios.min():.2f} to {ratios.max():.2f})   "
      f"ours {np.median(seconds['ours']):.3f} s, theirs {np.median(seconds['theirs']):.3f} s",
      flush=True,
    )
  out = pathlib.Path(_OUT.value)
  out.mkdir(parents=True, exist_ok=True)
  name = f"peers_{_CORES.value}.json"
  (out / name).write_text(json.dumps(found, indent=2) + "\n")


def unet_pair(gradient: bool) -> Pair:
  """16 images of 32x32 through the same image U-Net of diffusers; with `gradient` also back to all weights."""
  import diffusers
  import jax
  import jax.numpy as jnp
  import torch
  from jax.sharding import NamedSharding

  from lumiere import checkpoints
  from lumiere.interop import convert
  from lumiere.mesh import make_mesh
  from stunet import layout
  from tests.lumiere.interop.published import SCHEDULER

  torch.manual_seed(0)
  model = diffusers.UNet2DConditionModel(**UNET)
  with tempfile.TemporaryDirectory() as folder:
    folder = pathlib.Path(folder)
    model.save_pretrained(folder / "unet")
    scheduler = {name: value for name, value in SCHEDULER.items() if name[0] != "_"}
    diffusers.DDPMScheduler(**scheduler).save_pretrained(folder / "scheduler")
    convert.convert(folder, folder / "run")
    trained = checkpoints.load_trained(folder / "run", ("t2i",))
  rng = np.random.default_rng(0)
  x = rng.standard_normal((16, 3, 32, 32)).astype(np.float32)
  text = rng.standard_normal((16, 32, 64)).astype(np.float32)
  timesteps = rng.integers(0, 1000, 16).astype(np.float32)
  shared, whole = NamedSharding(make_mesh(), layout.spec("examples")), jax.P()
  given = jax.device_put((np.moveaxis(x, 1, -1), timesteps, text), shared)
  params = jax.device_put(trained.params, NamedSharding(shared.mesh, whole))
  apply = lambda params, *given: trained.rebuild(params, trained.frozen).network(*given)
  run = jax.jit(apply)
  tensors = tuple(map(torch.from_numpy, (x, timesteps, text)))
  with torch.no_grad():
    expected = np.moveaxis(model(*tensors).sample.numpy(), 1, -1)
  error = np.abs(np.asarray(run(params, *given)) - expected).max() / np.abs(expected).max()
  if error > 1e-4:
    raise ValueError(f"the networks differ by {error:.1e}")
  if not gradient:

    def theirs():
      with torch.no_grad():
        model(*tensors)

    return lambda: jax.block_until_ready(run(params, *given)), theirs
  run_back = jax.jit(jax.grad(lambda *arguments: jnp.mean(jnp.square(apply(*arguments)))))

  def theirs_back():
    model.zero_grad()
    torch.mean(torch.square(model(*tensors).sample)).backward()

  return lambda: jax.block_until_ready(run_back(params, *given)), theirs_back


def t5_pair() -> Pair:
  """States of 16 captions of up to 64 tokens by the same T5 encoder of transformers."""
  import jax
  import torch
  import transformers

  from lumiere.interop import convert
  from lumiere.pretrained_text import TextEncoder

  torch.manual_seed(0)
  config = transformers.T5Config(**T5, feed_forward_proj="gated-gelu", tie_word_embeddings=False)
  model = transformers.T5EncoderModel(config).eval()
  with tempfile.TemporaryDirectory() as folder:
    folder = pathlib.Path(folder)
    model.save_pretrained(folder / "t5")
    convert.convert(folder / "t5", folder / "ours")
    encoder = TextEncoder.restore(folder / "ours", max_length=64)
  captions = [f"caption {index}, a red circle moves left on navy, slowly" for index in range(16)]
  batch = encoder.tokenizer(captions)
  tensors = {
    "input_ids": torch.from_numpy(batch["tokens"]).long(),
    "attention_mask": torch.from_numpy(batch["mask"]).long(),
  }

  def theirs():
    with torch.no_grad():
      return model(**tensors).last_hidden_state.numpy()

  states = np.asarray(encoder(captions)["text"])
  error = np.abs(states - theirs())[batch["mask"]].max() / np.abs(states).max()
  if error > 1e-4:
    raise ValueError(f"the encoders differ by {error:.1e}")
  return lambda: jax.block_until_ready(encoder(captions)), theirs


if __name__ == "__main__":
  cli.run(main)
