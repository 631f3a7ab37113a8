"""Which clips are kept: rules over the columns of the table, such as `motion > 0.05 and blur < 0.6`."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

# Thresholds that keep ordinary footage, to be looked at in the report and changed: no set is like another.
DEFAULT_RULES = (
  "brightness > 0.05 and brightness < 0.95",
  "contrast > 0.02",
  "blur < 0.6",
  "text < 0.05",
  "motion > 0.005 or local_motion > 0.02",  # not still
  "motion < 2",  # two frame heights a second: shaken, or noise
)


def first_broken(table: pd.DataFrame, rules: Sequence[str]) -> np.ndarray:
  """The first rule that each row breaks; an empty string for rows that break none. A missing value breaks its rule.

  Raises:
    ValueError: names the rule that cannot be understood, and the columns that there are.
  """
  broken = np.full(len(table), "", object)
  for rule in rules:
    try:
      holds = table.eval(rule, engine="python")
    except Exception as error:  # pandas raises what its parser comes upon
      columns = ", ".join(name for name in table.columns if table[name].dtype.kind in "bif")
      raise ValueError(
        f"--keep={rule!r} is no rule ({' '.join(str(error).split())}): compare columns, {columns}, as in 'motion > 0.05 and blur < 0.6'"
      ) from error
    holds = np.asarray(holds)
    if holds.dtype != bool or holds.shape != broken.shape:
      raise ValueError(f"--keep={rule!r} must say yes or no of each clip, as 'motion > 0.05' does")
    broken[(broken == "") & ~holds] = rule
  return broken
