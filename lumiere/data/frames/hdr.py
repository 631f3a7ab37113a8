"""High dynamic range -> BT.709, as a player on an ordinary screen shows it (ITU-R BT.2100, BT.2408).

With e' the signal in [0, 1] and l the light that a screen gives for it, in cd/m2,

    PQ    l = 10000 (max(p - c1, 0) / (c2 - c3 p))^(1 / m1),   p = e'^(1 / m2)                                         (1)
    HLG   e = e'^2 / 3 up to e' = 1/2, (exp((e' - c) / a) + b) / 12 above;   l = 1000 y^0.2 e                          (2)

where y is the luminance of e. Diffuse white is at 203 cd/m2: l / 203 is taken to the primaries of BT.709, clipped to [0, 1],
and encoded for a screen whose light is the 2.4th power of its signal (BT.1886).
"""

import functools

import numpy as np
from av.video.reformatter import ColorTrc
from jaxtyping import Float, UInt8, UInt16

TRANSFERS = (ColorTrc.SMPTE2084, ColorTrc.ARIB_STD_B67)  # PQ, HLG
WHITE = 203.0

_LUMINANCE = np.array([0.2627, 0.6780, 0.0593], np.float32)
# Linear light: BT.2020 primaries -> BT.709 primaries (BT.2087).
_TO_BT709 = np.array(
  [[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]], np.float32
)


def to_sdr(signal: UInt16[np.ndarray, "h w 3"], transfer: int) -> UInt8[np.ndarray, "h w 3"]:
  """R'G'B' with BT.2020 primaries in full range, 0..65535 -> R'G'B' of BT.709, 0..255.

  Args:
    signal: pixels.
    transfer: one of `TRANSFERS`.
  """
  light = _light(transfer).take(signal)
  if transfer == ColorTrc.ARIB_STD_B67:
    light *= 1000 / WHITE * (light @ _LUMINANCE)[..., None] ** np.float32(0.2)
  shown = light @ _TO_BT709.T
  return _encoded().take(np.rint(shown.clip(0, 1) * 65535).astype(np.uint16))


@functools.cache
def _light(transfer: int) -> Float[np.ndarray, "65536"]:
  """l / 203 of (1), or e of (2), for every level of a signal."""
  levels = np.linspace(0, 1, 65536)
  if transfer == ColorTrc.SMPTE2084:
    p = levels ** (1 / 78.84375)
    ratio = np.maximum(p - 0.8359375, 0) / (18.8515625 - 18.6875 * p)
    light = 10000 / WHITE * ratio ** (1 / 0.1593017578125)
  else:
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    light = np.where(levels <= 0.5, levels**2 / 3, (np.exp((levels - c) / a) + b) / 12)
  return light.astype(np.float32)


@functools.cache
def _encoded() -> UInt8[np.ndarray, "65536"]:
  """The signal, 0..255, for every level of light."""
  return np.rint(255 * np.linspace(0, 1, 65536) ** (1 / 2.4)).astype(np.uint8)
