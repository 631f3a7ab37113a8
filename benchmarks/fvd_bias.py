"""How FVD and KVD of two sets of true clips, which should be 0, depend on the number of clips.

python -m lumiere.fetch --what=i3d
python benchmarks/fvd_bias.py --num_clips=1600

Clips are those of moving shapes, 16 frames of 128x128 pixels. Of each number, disjoint sets are drawn several times.
"""

import pathlib
import sys

import numpy as np
from absl import flags

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))

from lumiere import cli  # noqa: E402

COUNTS = (50, 100, 200, 401, 500, 600, 800, 1200, 1600, 2400)


def main():
  """Computes features once, and prints a table."""
  from benchmarks import damage
  from lumiere import user_cache
  from lumiere.evaluation.metrics import i3d_weights
  from lumiere.evaluation.metrics.distances import Moments, frechet, kernel_distance

  values = flags.FLAGS
  backbone = i3d_weights.load_backbone(user_cache.folder() / i3d_weights.NAME)
  rows = damage.features_of(backbone, damage.clips_of_moving_shapes(values.num_clips))
  rng = np.random.default_rng(0)
  print(f"{'clips':>6}{'FVD':>18}{'KVD':>18}")
  for count in COUNTS:
    if 2 * count > len(rows):
      break
    found = {"fvd": [], "kvd": []}
    for _ in range(values.repeats):
      first, second = np.split(rows[rng.permutation(len(rows))[: 2 * count]], 2)
      if count > rows.shape[1]:
        found["fvd"].append(frechet(Moments.of(first), Moments.of(second)))
      found["kvd"].append(kernel_distance(first, second))
    cells = [
      f"{np.mean(v):.2f} ± {np.std(v, ddof=1):.2f}" if v else "refused" for v in found.values()
    ]
    print(f"{count:>6}" + "".join(f"{cell:>18}" for cell in cells), flush=True)


if __name__ == "__main__":
  flags.DEFINE_integer("num_clips", 1600, "Clips in all.", 100)
  flags.DEFINE_integer("repeats", 5, "Draws of each number.", 2)
  cli.run(main)
