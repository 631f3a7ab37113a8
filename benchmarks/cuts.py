"""Cuts found in generated videos whose cuts are known, by each detector.

python -m lumiere.fetch --what=transnet
python benchmarks/cuts.py

A video is a shot, something, and another shot, of pictures that pan. A cut counts as found if a detector has one in it (a hard cut to
the frame, a gradual one from its first frame to the one after its last); everything else that a detector has is false.
"""

import pathlib
import sys

import numpy as np
from absl import flags

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))  # for tests/

from lumiere import cli  # noqa: E402

FPS, LENGTH, GRADUAL = 24, 40, 16


def main():
  """Makes videos of each kind, asks the detectors, and prints a table."""
  from lumiere.data.curation.look import detector

  names = flags.FLAGS.detectors
  lines = ["| | cuts | " + " | ".join(f"{n}: recall | precision" for n in names) + " |"]
  lines.append("| --- |" + " --- |" * (1 + 2 * len(names)))
  totals = {name: np.zeros(3, int) for name in names}
  for kind, make in KINDS.items():
    cells, wanted = [], 0
    for name in names:
      counts = np.zeros(3, int)  # found, wanted, false
      for seed in range(flags.FLAGS.num_videos):
        video, begin, end = make(seed)
        cuts = detector(name, float(FPS))
        for frame in video:
          cuts.add(frame)
        inside = (
          [begin <= cut <= end for cut in cuts.indices()] if end else [False] * len(cuts.indices())
        )
        counts += [any(inside), end > 0, len(inside) - sum(inside)]
      totals[name] += counts
      wanted = int(counts[1])
      cells.append(share_cells(counts))
    lines.append(f"| {kind} | {wanted} | " + " | ".join(cells) + " |")
  lines.append("| all | | " + " | ".join(share_cells(totals[n]) for n in names) + " |")
  print("\n".join(lines))


def share_cells(counts) -> str:
  """Recall and precision of (found, wanted, false); where nothing is to be found, the number of false ones."""
  found, wanted, false = (int(x) for x in counts)
  if not wanted:
    return f" | {false} false"
  precision = f"{found / (found + false):.0%}" if found + false else ""
  return f"{found / wanted:.0%} | {precision}"


def shots_of(seed: int) -> tuple[np.ndarray, np.ndarray]:
  """Two shots of different pictures and speeds."""
  from tests.lumiere.data.curation.footage import pan

  size = dict(height=54, width=96)
  return tuple(pan(100 + 2 * seed + i, LENGTH, (seed + i) % 4, **size) for i in range(2))


def hard(seed: int):
  """(video, first frame of the second shot, the same)."""
  one, other = shots_of(seed)
  return np.concatenate([one, other]), LENGTH, LENGTH


def dissolve(seed: int):
  """Both shots go on while one fades into the other."""
  one, other = (shot.astype(float) for shot in shots_of(seed))
  share = np.linspace(0, 1, GRADUAL + 2)[1:-1, None, None, None]
  between = (1 - share) * one[-GRADUAL:] + share * other[:GRADUAL]
  video = np.concatenate([one[:-GRADUAL], between, other[GRADUAL:]])
  return video.round().astype(np.uint8), LENGTH - GRADUAL, LENGTH


def through_black(seed: int):
  """One fades to black, then the other one comes out of it."""
  one, other = (shot.astype(float) for shot in shots_of(seed))
  share = np.linspace(1, 0, GRADUAL)[:, None, None, None]
  video = np.concatenate(
    [one[:-GRADUAL], share * one[-GRADUAL:], share[::-1] * other[:GRADUAL], other[GRADUAL:]]
  )
  return video.round().astype(np.uint8), LENGTH - GRADUAL, LENGTH + GRADUAL


def flash(seed: int):
  """One shot with two white frames in it."""
  video = shots_of(seed)[0].copy()
  video[LENGTH // 2 : LENGTH // 2 + 2] = 255
  return video, 0, 0


def fast_pan(seed: int):
  """One shot that moves by a tenth of its width a frame."""
  from tests.lumiere.data.curation.footage import pan

  return pan(300 + seed, LENGTH, 10, height=54, width=96), 0, 0


KINDS = {
  "hard cut": hard,
  "dissolve of 16 frames": dissolve,
  "fade through black": through_black,
  "flash of 2 frames": flash,
  "fast pan": fast_pan,
}

if __name__ == "__main__":
  flags.DEFINE_list("detectors", ["classical", "transnet"], "Detectors to ask.")
  flags.DEFINE_integer("num_videos", 20, "Videos of each kind.", 1)
  cli.run(main)
