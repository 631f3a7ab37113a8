"""Writes unets.npz and shapes.json beside this file: outputs of independent implementations on the networks of published.py.

pip install torch==2.13.0 diffusers==0.42.1
python -m tests.lumiere.interop.golden.make_goldens
"""

import json

import numpy as np
import torch
from diffusers import DDPMScheduler, UNet2DConditionModel

from tests.lumiere.interop.published import (
  ADM_DOWN,
  ADM_UP,
  GLIDE,
  GOLDEN,
  IF_I,
  IF_II,
  SCHEDULER,
  adm_shapes,
  draw,
)
from tests.parity import adm_reference


def main():
  """Runs the networks."""
  rng = np.random.default_rng(0)
  normal = lambda *shape: rng.standard_normal(shape).astype(np.float32)
  arrays, shapes = {}, {}
  timesteps = np.array([7.0, 900.0], np.float32)
  levels = np.array([250.0, 0.0], np.float32)
  for name, config in (("if_i", IF_I), ("if_ii", IF_II)):
    model = UNet2DConditionModel(**config).eval()
    shapes[name] = {key: list(tensor.shape) for key, tensor in model.state_dict().items()}
    model.load_state_dict({k: torch.from_numpy(v) for k, v in draw(shapes[name]).items()})
    x, text = normal(2, config["in_channels"], 16, 16), normal(2, 5, 24)
    labels = torch.from_numpy(levels) if name == "if_ii" else None
    with torch.no_grad():
      output = model(
        torch.from_numpy(x),
        torch.from_numpy(timesteps),
        torch.from_numpy(text),
        class_labels=labels,
      ).sample.numpy()
    arrays |= {f"{name}/x": x, f"{name}/text": text, f"{name}/output": output}
    if name == "if_i":
      arrays |= trajectory(model, normal)

  shapes["glide"] = adm_shapes(GLIDE)
  state = {k: torch.from_numpy(v) for k, v in draw(shapes["glide"]).items()}
  x, text = normal(2, 3, 16, 16), normal(2, 5, 24)
  output = adm_reference.forward(
    state, torch.from_numpy(x), torch.from_numpy(timesteps), torch.from_numpy(text),
    head_dim=GLIDE.head_dim, down=ADM_DOWN, up=ADM_UP,
  ).numpy()  # fmt: skip
  arrays |= {"glide/x": x, "glide/text": text, "glide/output": output}
  arrays |= {"timesteps": timesteps, "levels": levels}
  np.savez_compressed(GOLDEN / "unets.npz", **arrays)
  (GOLDEN / "shapes.json").write_text(json.dumps(shapes))


GUIDANCE_SCALE = 3.0


def trajectory(model, normal) -> dict[str, np.ndarray]:
  """Ten ancestral steps of the IF-I network as its pipeline takes them, with guidance and dynamic thresholding."""
  scheduler = DDPMScheduler(**{k: v for k, v in SCHEDULER.items() if k[0] != "_"} | {"variance_type": "fixed_small"})  # fmt: skip
  scheduler.set_timesteps(10)
  text, null = normal(2, 5, 24), np.repeat(normal(1, 5, 24), 2, axis=0)
  noises = normal(11, 2, 3, 16, 16)
  z = torch.from_numpy(noises[0])
  states = [z.numpy()]
  original = torch.randn
  for step, timestep in enumerate(scheduler.timesteps):
    with torch.no_grad():
      predict = lambda states, z=z, t=timestep: model(z, t, torch.from_numpy(states)).sample[:, :3]
      conditional, unconditional = predict(text), predict(null)
    guided = unconditional + GUIDANCE_SCALE * (conditional - unconditional)
    noise = torch.from_numpy(noises[step + 1])
    torch.randn = lambda *args, noise=noise, **kwargs: noise
    try:
      z = scheduler.step(guided, timestep, z).prev_sample
    finally:
      torch.randn = original
    states.append(z.numpy())
  return {
    "trajectory/text": text,
    "trajectory/null": null,
    "trajectory/noises": noises,
    "trajectory/states": np.stack(states),
  }


if __name__ == "__main__":
  main()
