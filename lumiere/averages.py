"""Averages of any length, found after training (Karras et al., 2024, section 3).

A power-function average of exponent g weighs the weights of step s, up to step t, as s^g. It is kept by

    average_t = beta_t average_{t-1} + (1 - beta_t) weights_t,   beta_t = (1 - 1/t)^(g + 1)                          (1)

and its length is given as the standard deviation of that profile relative to t,

    length = sqrt((g + 1) / ((g + 2)^2 (g + 3)))                                                                    (2)

Training keeps two of them, and leaves both in the workdir from time to time. The profile of any other length is then nearly a
sum of those that were left; its coefficients are the least squares solution, where profiles p of (t, g) have the products

    <p_1, p_2> = (g_1 + 1)(g_2 + 1) m^(g_1 + g_2 + 1) / ((g_1 + g_2 + 1) t_1^(g_1 + 1) t_2^(g_2 + 1)),   m = min(t_1, t_2)   (3)
"""

from collections.abc import Sequence

import jax
import numpy as np
from etils import epath
from flax import traverse_util
from jaxtyping import Float64

from lumiere.weights import Weights

# Lengths beyond these say nothing of where training went: the profile is flat, or a single step.
SHORTEST, LONGEST = 0.01, 0.28
FOLDER = "averages"


def exponent(length: float) -> float:
  """g of equation (2): the real root of g^3 + 7 g^2 + (16 - length^-2) g + 12 - length^-2.

  Raises:
    ValueError: if `length` is out of range.
  """
  if not SHORTEST <= length <= LONGEST:
    raise ValueError(
      f"the length of an average, {length}, must be between {SHORTEST} and {LONGEST}"
    )
  steep = length**-2
  roots = np.roots([1, 7, 16 - steep, 12 - steep])
  return float(np.max(roots[np.abs(roots.imag) < 1e-6].real))


def updated(average: Weights, params: Weights, step, length: float) -> Weights:
  """Equation (1): the average after step `step`, counted from 1, of which `params` are the weights."""
  keep = (1 - 1 / step) ** (exponent(length) + 1)
  return jax.tree.map(lambda a, p: keep * a + (1 - keep) * p, average, params)


def coefficients(
  stored: Sequence[tuple[int, float]], step: int, length: float
) -> Float64[np.ndarray, " n"]:
  """Of the sum of stored averages, (step, length) each, that is nearest to the average of `length` at `step`."""
  steps, powers = (
    np.array([s for s, _ in stored], float),
    np.array([exponent(n) for _, n in stored]),
  )
  gram = _product(steps[:, None], powers[:, None], steps, powers)
  return np.linalg.lstsq(gram, _product(steps, powers, float(step), exponent(length)), rcond=None)[
    0
  ]


def _product(t1, g1, t2, g2):
  """Equation (3), by ratios, which stay in range."""
  least = np.minimum(t1, t2)
  scale = (g1 + 1) * (g2 + 1) / (g1 + g2 + 1) / least
  return scale * (least / t1) ** (g1 + 1) * (least / t2) ** (g2 + 1)


def leave(
  workdir: epath.PathLike, step: int, averages: Sequence[Weights], lengths: Sequence[float]
):
  """Writes averages to WORKDIR/averages/STEP.npz, in half precision."""
  leaves = {}
  for index, average in enumerate(averages):
    for path, leaf in traverse_util.flatten_dict(average, sep="/").items():
      leaves[f"{index}/{path}"] = np.asarray(leaf, np.float16)
  folder = epath.Path(workdir) / FOLDER
  folder.mkdir(parents=True, exist_ok=True)
  part = folder / f"{step}.part"
  with part.open("wb") as file:
    np.savez(file, lengths=np.array(lengths), **leaves)
  part.rename(folder / f"{step}.npz")


def combine(workdir: epath.PathLike, params: Weights, step: int, length: float) -> Weights:
  """The average of `length` at `step`, from what training left in a workdir.

  Args:
    workdir: of the run.
    params: give the tree, shapes and dtypes.
    step: the last step of the average; averages were left there.
    length: relative standard deviation of the profile.

  Raises:
    ValueError: if nothing was left at `step`, or `length` is out of range.
  """
  folder = epath.Path(workdir) / FOLDER
  files = {int(path.stem): path for path in folder.glob("*.npz")} if folder.exists() else {}
  if step not in files:
    raise ValueError(
      f"{workdir} keeps no averages of step {step}: it was trained without config.train.averages, or saved nothing then"
    )
  stored, sources = [], []
  for own in sorted(s for s in files if s <= step):
    with files[own].open("rb") as file, np.load(file) as leaves:
      for index, kept in enumerate(leaves["lengths"]):
        stored.append((own, float(kept)))
        sources.append((files[own], index))
  total = {path: np.zeros(leaf.shape) for path, leaf in _flat(params).items()}
  for factor, (path, index) in zip(coefficients(stored, step, length), sources, strict=True):
    with path.open("rb") as file, np.load(file) as leaves:
      for name, leaf in total.items():
        leaf += factor * leaves[f"{index}/{name}"].astype(np.float64)
  like = _flat(params)
  return traverse_util.unflatten_dict(
    {name: leaf.astype(like[name].dtype) for name, leaf in total.items()}, sep="/"
  )


def _flat(tree: Weights) -> dict:
  return traverse_util.flatten_dict(tree, sep="/")
