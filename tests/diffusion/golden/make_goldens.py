"""Makes schedulers.npz beside this file: what diffusers' schedulers do, step by step, with given predictions and noise.

pip install torch==2.13.0 diffusers==0.42.1
python tests/diffusion/golden/make_goldens.py
"""

import pathlib

import numpy as np
import torch
from diffusers import DDIMScheduler, DDPMScheduler, DPMSolverMultistepScheduler

SHAPE = (2, 3, 4)
STEPS = 8  # divides 1000: else the steps of the DDIM scheduler do not meet
SCHEDULES = {"squaredcos_cap_v2": {}, "linear": {}}
KINDS = {"eps": "epsilon", "v": "v_prediction", "x0": "sample"}


class Replay:
  """Stands in for the noise that a scheduler draws."""

  def __init__(self, noise):
    self.noise = list(noise)

  def __call__(self, shape, **_):
    return self.noise.pop(0)


def main():
  rng = np.random.default_rng(0)
  arrays = {}
  for schedule in SCHEDULES:
    for prediction, kind in KINDS.items():
      shared = dict(
        beta_schedule=schedule,
        prediction_type=kind,
        num_train_timesteps=1000,
        timestep_spacing="trailing",
      )
      clip = dict(clip_sample=True, clip_sample_range=1.0)
      schedulers = {
        "ddpm_small": (DDPMScheduler(**shared, **clip, variance_type="fixed_small"), {}),
        "ddpm_large": (DDPMScheduler(**shared, **clip, variance_type="fixed_large"), {}),
        "ddim": (
          DDIMScheduler(**shared, **clip, set_alpha_to_one=True),
          dict(eta=0.0, use_clipped_model_output=True),
        ),
        "ddim_eta": (
          DDIMScheduler(**shared, **clip, set_alpha_to_one=True),
          dict(eta=0.7, use_clipped_model_output=True),
        ),
        "dpm": (
          DPMSolverMultistepScheduler(
            **shared,
            algorithm_type="dpmsolver++",
            solver_order=2,
            lower_order_final=True,
            final_sigmas_type="zero",
            thresholding=False,
          ),
          {},
        ),
      }
      for name, (scheduler, options) in schedulers.items():
        scheduler.set_timesteps(STEPS)
        z = torch.tensor(rng.normal(size=SHAPE), dtype=torch.float64)
        predictions = torch.tensor(0.7 * rng.normal(size=(STEPS, *SHAPE)), dtype=torch.float64)
        noise = torch.tensor(rng.normal(size=(STEPS, *SHAPE)), dtype=torch.float64)
        states = [z]
        for index, timestep in enumerate(scheduler.timesteps):
          if name.startswith("ddim_"):
            options["variance_noise"] = noise[index]
          if name.startswith("ddpm"):
            import diffusers.schedulers.scheduling_ddpm as module

            module.randn_tensor = Replay([noise[index]])
          z = scheduler.step(predictions[index], timestep, z, **options).prev_sample
          states.append(z)
        key = f"{schedule}/{prediction}/{name}"
        arrays[f"{key}/states"] = torch.stack(states).numpy()
        arrays[f"{key}/predictions"] = predictions.numpy()
        arrays[f"{key}/noise"] = noise.numpy()
        arrays[f"{key}/timesteps"] = scheduler.timesteps.numpy()
    arrays[f"{schedule}/alphas_cumprod"] = scheduler.alphas_cumprod.numpy()
  path = pathlib.Path(__file__).with_name("schedulers.npz")
  np.savez_compressed(path, **{k: v.astype(np.float32) for k, v in arrays.items()})
  print(path.name, path.stat().st_size, "bytes")


if __name__ == "__main__":
  main()
