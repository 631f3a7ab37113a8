"""Known data in sampling: turns a denoiser into one that predicts the given data where they are known.

With x the given data, m in [0, 1] how far they are known, and eps the noise that sampling starts from:

    z'  = alpha x + sigma eps   where m = 1, else z            known data get the noise of the step                    (1)
    x0' = m x + (1 - m) x0                                     and are predicted as they are                           (2)

(1) uses the same noise at every step, so that a deterministic sampler takes known data along one path. The last step ends
in x where m = 1, up to rounding and thresholding. Callers that need x exactly write it into the result.
"""

import jax.numpy as jnp
from jaxtyping import Array, Float

from diffusion.objective import Denoiser, check_prediction, convert
from diffusion.schedule import alpha_sigma, expand_like


def keep_known(
  denoiser: Denoiser,
  prediction: str,
  x: Float[Array, "b *s c"],
  mask: Float[Array, "b *s 1"],
  noise: Float[Array, "b *s c"],
) -> Denoiser:
  """Wraps a denoiser as described in the module docstring.

  Args:
    denoiser: predicts `prediction`.
    prediction: "eps", "v" or "x0".
    x: the given data; values where the mask is 0 are ignored.
    mask: m.
    noise: eps, standard normal.
  """
  check_prediction(prediction)

  def keeping(z, log_snr, conditioning):
    alpha, sigma = alpha_sigma(expand_like(log_snr, z))
    z_known = jnp.where(mask >= 1, alpha * x + sigma * noise, z)
    x0 = convert(denoiser(z_known, log_snr, conditioning), z_known, log_snr, prediction, "x0")
    x0 = mask * x + (1 - mask) * x0
    # The caller converts back with its own z.
    return convert(x0, z, log_snr, "x0", prediction)

  return keeping
