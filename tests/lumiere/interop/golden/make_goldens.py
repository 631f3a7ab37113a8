"""Writes unets.npz and shapes.json beside this file: outputs of independent implementations on the networks of published.py.

pip install torch==2.13.0 diffusers==0.42.1
python -m tests.lumiere.interop.golden.make_goldens
"""

import json

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import DDPMScheduler, UNet2DConditionModel
from diffusers.pipelines.deprecated.unclip.text_proj import UnCLIPTextProjModel

from lumiere.interop import architectures
from tests.lumiere.interop.published import (
  ADM_DOWN,
  ADM_UP,
  GLIDE,
  GOLDEN,
  IF_I,
  IF_II,
  IF_PARAMS,
  IF_UP,
  KARLO,
  KARLO_DECODER,
  KARLO_TEXT,
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
  shapes["if_own"] = adm_shapes(architectures.from_if(IF_PARAMS))
  x, text = normal(2, 6, 16, 16), normal(2, 5, 24)
  output = adm_reference.forward(
    {k: torch.from_numpy(v) for k, v in draw(shapes["if_own"]).items()},
    *map(torch.from_numpy, (x, timesteps, text)), levels=torch.from_numpy(levels), head_dim=16,
    down=ADM_DOWN, up=IF_UP, act=F.gelu, scale=0.7071, pool_heads=4,
  ).numpy()  # fmt: skip
  arrays |= {"if_own/x": x, "if_own/text": text, "if_own/output": output}
  arrays |= karlo(shapes, torch.from_numpy(timesteps), normal)
  np.savez_compressed(GOLDEN / "unets.npz", **arrays)
  (GOLDEN / "shapes.json").write_text(json.dumps(shapes))


@torch.no_grad()
def karlo(shapes, timesteps, normal) -> dict[str, np.ndarray]:
  """Its decoder in diffusers' parts and in its own naming. The second example has no image, and few tokens."""
  x, states = torch.from_numpy(normal(2, 3, 16, 16)), torch.from_numpy(normal(2, 7, 24))
  mask = torch.ones(2, 7, dtype=torch.bool)
  mask[1, 0] = mask[1, 5:] = False
  image, caption, text = states[:, 0], states[:, 1], states[:, 2:]
  without = lambda learned: torch.where(mask[:, :1], image, learned)

  unet, text_proj = UNet2DConditionModel(**KARLO_DECODER).eval(), UnCLIPTextProjModel(**KARLO_TEXT)
  for name, model in (("karlo", unet), ("karlo_text", text_proj)):
    shapes[name] = {key: list(tensor.shape) for key, tensor in model.state_dict().items()}
    model.load_state_dict({k: torch.from_numpy(v) for k, v in draw(shapes[name]).items()})
  attended, vector = text_proj(
    image_embeddings=without(text_proj.learned_classifier_free_guidance_embeddings),
    prompt_embeds=caption, text_encoder_hidden_states=text, do_classifier_free_guidance=False,
  )  # fmt: skip
  output = unet(
    x, timesteps, attended, class_labels=vector,
    attention_mask=F.pad(mask[:, 2:], (3, 0), value=True),
  ).sample  # fmt: skip

  shapes["karlo_own"] = adm_shapes(KARLO, "model.")
  state = {
    k.removeprefix("model."): torch.from_numpy(v) for k, v in draw(shapes["karlo_own"]).items()
  }
  own = adm_reference.forward(
    state, x, timesteps, text, clip=(without(state["cf_param"]), caption), mask=mask[:, 2:],
    head_dim=KARLO.head_dim, down=ADM_DOWN, up=ADM_UP,
  )  # fmt: skip
  arrays = dict(x=x, text=states, mask=mask, output=output)
  return {f"karlo/{k}": v.numpy() for k, v in arrays.items()} | {"karlo_own/output": own.numpy()}


GUIDANCE_SCALE = 3.0


def trajectory(model, normal) -> dict[str, np.ndarray]:
  """Ten ancestral steps of the IF-I network as its pipeline takes them, with guidance and dynamic thresholding."""
  scheduler = DDPMScheduler(**{k: v for k, v in SCHEDULER.items() if k[0] != "_"})
  scheduler.set_timesteps(10)
  text, null = normal(2, 5, 24), np.repeat(normal(1, 5, 24), 2, axis=0)
  noises = normal(11, 2, 3, 16, 16)
  z = torch.from_numpy(noises[0])
  states = [z.numpy()]
  original = torch.randn
  for step, timestep in enumerate(scheduler.timesteps):
    with torch.no_grad():
      predict = lambda states, z=z, t=timestep: model(z, t, torch.from_numpy(states)).sample
      (conditional, variance), (unconditional, _) = (
        predict(states).split(3, dim=1) for states in (text, null)
      )
    guided = unconditional + GUIDANCE_SCALE * (conditional - unconditional)
    guided = torch.cat([guided, variance], dim=1)  # the pipeline takes the conditional variance
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
