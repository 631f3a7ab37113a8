"""Which clips of a whole set are kept, why the others are not, and what is held out.

A clip is dropped for the first reason that applies: no caption, a rule that it breaks, a near duplicate of one that is kept.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from lumiere.data import splits
from lumiere.data.curation import duplicates
from lumiere.data.curation.captions import Caption, of_clips
from lumiere.data.curation.rules import first_broken

KEPT, NO_CAPTION, DUPLICATE = "kept", "no caption", "near duplicate"


def decide(
  clips: pd.DataFrame,
  captions: Mapping[str, Sequence[Caption]],
  rules: Sequence[str],
  *,
  radius: int = duplicates.RADIUS,
  held_out: float = 0.05,
) -> pd.DataFrame:
  """The table of clips with further columns.

  Args:
    clips: columns of `table.CLIPS`, and what others have added.
    captions: by source.
    rules: see `rules`.
    radius: bits in which near duplicates may differ; below 0: duplicates are kept.
    held_out: share of the sources whose clips are for validation, see `splits`.

  Returns:
    the table, with `caption`, `reason` (empty for clips that are kept), `group` (of near duplicates, -1 for clips that were dropped
    before) and `split`.
  """
  clips = clips.reset_index(drop=True)
  clips["caption"] = of_clips(clips, captions)
  reason = np.where(clips["caption"] == "", NO_CAPTION, first_broken(clips, rules)).astype(object)
  group = np.full(len(clips), -1)
  left = np.flatnonzero(reason == "")
  if radius >= 0 and len(left):
    hashes = np.stack(clips["hashes"].to_numpy()[left]).astype(np.uint64)
    group[left] = duplicates.groups(hashes, radius)
    # The largest picture of each group stays; of several, the first.
    pixels = (clips["height"] * clips["width"]).to_numpy()
    seen = {}
    for place in sorted(left.tolist(), key=lambda place: (-pixels[place], place)):
      first = seen.setdefault(group[place], place)
      if first != place:
        reason[place] = f"{DUPLICATE} of {clips['source'][first]}, clip {clips['clip'][first]}"
  clips["reason"], clips["group"] = reason, group
  sources = set(clips["source"][clips["reason"] == ""]) or set(clips["source"])
  chosen = splits.held_out(sources, held_out)
  clips["split"] = np.where(clips["source"].isin(chosen), "validation", "train")
  return clips


def kinds(clips: pd.DataFrame) -> pd.Series:
  """What became of each clip: "kept", or the kind of its reason; a categorical in the order in which reasons are looked at."""
  found = (
    clips["reason"].str.replace(rf"^{DUPLICATE} of .*", DUPLICATE, regex=True).replace("", KEPT)
  )
  rules = [kind for kind in found.unique() if kind not in (KEPT, NO_CAPTION, DUPLICATE)]
  return found.astype(pd.CategoricalDtype([KEPT, NO_CAPTION, *sorted(rules), DUPLICATE]))


def file_counts(sources: pd.DataFrame) -> dict[str, int]:
  """How many files give clips, and how many do not and why; of a damaged file some clips may be kept."""
  problem = sources["problem"].str.split(":").str[0]
  short = (problem == "") & (sources["clips"] == 0)
  counts = {"with clips": int(((problem == "") & ~short).sum())}
  counts |= {
    kind: int(count) for kind, count in problem[problem != ""].value_counts().sort_index().items()
  }
  return counts | ({"without a shot as long as a clip": int(short.sum())} if short.any() else {})
