import jax.numpy as jnp
import numpy as np
import pytest

from diffusion.guidance import classifier_free
from diffusion.thresholding import dynamic, make_threshold, static

Z = jnp.asarray(np.random.default_rng(0).normal(size=(3, 8, 2)), jnp.float32)
LOG_SNR = jnp.array([0.0, 1.0, 2.0])
CONDITION = {"c": jnp.array([1.0, 2.0, 3.0])}


def denoiser(z, log_snr, conditioning):
  return z * conditioning["c"][:, None, None] + log_snr[:, None, None]


def unconditional(conditioning):
  return {"c": jnp.zeros_like(conditioning["c"])}


@pytest.mark.parametrize("scale", [0.0, 1.0, 2.5])
def test_guidance_is_the_line_through_both_predictions(scale):
  guided = classifier_free(denoiser, unconditional, scale)(Z, LOG_SNR, CONDITION)
  with_, without = denoiser(Z, LOG_SNR, CONDITION), denoiser(Z, LOG_SNR, unconditional(CONDITION))
  np.testing.assert_allclose(guided, without + scale * (with_ - without), rtol=1e-5, atol=1e-6)


def test_full_rescale_restores_the_spread_of_the_conditional_prediction():
  with_ = denoiser(Z, LOG_SNR, CONDITION)
  rescaled = classifier_free(denoiser, unconditional, 6.0, rescale=1.0)(Z, LOG_SNR, CONDITION)
  np.testing.assert_allclose(np.std(rescaled, axis=(1, 2)), np.std(with_, axis=(1, 2)), rtol=1e-4)
  plain = classifier_free(denoiser, unconditional, 6.0)(Z, LOG_SNR, CONDITION)
  half = classifier_free(denoiser, unconditional, 6.0, rescale=0.5)(Z, LOG_SNR, CONDITION)
  np.testing.assert_allclose(half, (plain + rescaled) / 2, rtol=1e-4, atol=1e-5)


def test_scale_one_calls_the_denoiser_once_with_its_own_batch():
  assert classifier_free(denoiser, unconditional, 1.0) is denoiser


@pytest.mark.parametrize("scale,rescale", [(-1.0, 0.0), (2.0, 1.5)])
def test_values_out_of_range_are_refused(scale, rescale):
  with pytest.raises(ValueError, match="guidance_scale=-1|rescale=1.5"):
    classifier_free(denoiser, unconditional, scale, rescale)


def test_static_threshold_clips():
  np.testing.assert_array_equal(static(jnp.array([-2.0, 0.3, 1.5])), np.float32([-1, 0.3, 1]))


def test_dynamic_threshold_leaves_small_values_and_scales_each_example_by_its_own_percentile():
  values = np.random.default_rng(1).uniform(-1, 1, (2, 1001)).astype(np.float32)
  x0 = jnp.asarray(np.stack([values[0], 4 * values[1]]))
  out = dynamic(x0, 0.9)
  np.testing.assert_array_equal(out[0], values[0])
  limit = np.quantile(np.abs(x0[1]), 0.9)
  np.testing.assert_allclose(out[1], np.clip(x0[1], -limit, limit) / limit, rtol=1e-5)
  np.testing.assert_allclose(dynamic(x0, 0.9, 1.5)[1], np.clip(x0[1], -1.5, 1.5) / 1.5, rtol=1e-6)


@pytest.mark.parametrize(
  "make,error,message",
  [
    (lambda: make_threshold("clip"), ValueError, "'clip'.*none, static, dynamic"),
    (lambda: make_threshold("static", percentile=0.9), TypeError, "percentile"),
    (lambda: make_threshold("dynamic", percentile=0.0), ValueError, "percentile=0"),
    (lambda: make_threshold("dynamic", maximum=0.5), ValueError, "maximum=0.5"),
  ],
)
def test_bad_thresholds_are_refused(make, error, message):
  with pytest.raises(error, match=message):
    make()
