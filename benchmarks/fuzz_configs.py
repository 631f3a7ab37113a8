"""Changes configs at random, and checks that each is refused in one clear line or gives a network that can be built.

python benchmarks/fuzz_configs.py [--cases=2000] [--seed=0]

A case takes one of the miniature configs and removes, adds or replaces one or two fields, sections included. It may be
refused with a ValueError of one line, before anything is built. One that is accepted has to build its network and its
table of noise levels. Anything else is counted as a fault; there may be none.
"""

import collections
import copy
import importlib
import math
import pathlib
import random
import signal
import sys
import traceback

from absl import flags
from tqdm import tqdm

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))  # for configs/

from lumiere import cli

_CASES = flags.DEFINE_integer("cases", 2000, "Changed configs.")
_SEED = flags.DEFINE_integer("seed", 0, "Of the changes.")

SECONDS = 60
NAMES = ("t2i_tiny", "stunet_tiny", "stunet_masked_tiny", "ssr_image_tiny", "ssr_tiny")
VALUES = (
  None, 0, -1, 1, 2, 7, 3.5, 1e30, math.nan, math.inf, -math.inf, True, False, "", "x", "nan", 10**12, -(10**12),
  [], [0], [1], [1.5], [-3, 5], ["a"], [2, 2, 2, 2, 2], {}, {"name": "x"}, {"name": 1},
)  # fmt: skip


def main():
  """Runs the cases and prints the counts; raises RuntimeError if there is a fault."""
  signal.signal(signal.SIGALRM, hang)
  rng = random.Random(_SEED.value)
  configs = {
    name: importlib.import_module(f"configs.{name}").get_config().to_dict() for name in NAMES
  }
  counts, faults = collections.Counter(), []
  for _ in tqdm(range(_CASES.value), disable=None):
    name = rng.choice(NAMES)
    config, changes = changed(configs[name], rng)
    outcome, fault = check(config)
    counts[outcome] += 1
    if fault:
      faults.append(f"{name} with {changes}: {fault}")
  print(
    f"{_CASES.value} configs: " + ", ".join(f"{n} {what}" for what, n in sorted(counts.items()))
  )
  if faults:
    raise RuntimeError(f"{len(faults)} faults: " + "; ".join(faults[:10]))


def changed(config: dict, rng: random.Random) -> tuple[dict, list]:
  """(a copy with one or two fields otherwise, what was changed)."""
  config, changes = copy.deepcopy(config), []
  for _ in range(rng.choice((1, 1, 1, 2))):
    path = rng.choice(list(paths(config)))
    section = config
    for name in path[:-1]:
      section = section[name]
    kind = rng.random()
    if kind < 0.1:
      del section[path[-1]]
      changes.append(f"no {'.'.join(path)}")
    elif kind < 0.15:
      section[f"{path[-1]}_x"] = 1
      changes.append(f"a field {'.'.join(path)}_x")
    else:
      section[path[-1]] = copy.deepcopy(rng.choice(VALUES))
      changes.append(f"{'.'.join(path)}={section[path[-1]]!r}")
  return config, changes


def paths(config: dict, before: tuple[str, ...] = ()):
  """Every field and section."""
  for name, value in config.items():
    yield (*before, name)
    if isinstance(value, dict):
      yield from paths(value, (*before, name))


def check(config: dict) -> tuple[str, str]:
  """("refused", "accepted" or "fault", what is wrong)."""
  from lumiere.experiment import Experiment
  from lumiere.model import abstract_model

  signal.alarm(SECONDS)
  try:
    experiment = Experiment.from_config(config)
  except ValueError as error:
    message = str(error)
    if not message.strip() or "\n" in message:
      return "fault", f"refused with {message!r}, which is not one line"
    return "refused", ""
  except Exception:
    return "fault", traceback.format_exc(limit=-2)
  try:
    abstract_model(experiment)  # keeps what it has built
    experiment.diffusion.make_schedule().sampling_log_snrs(experiment.sampling.num_steps)
  except Exception:
    return "fault", f"accepted, but: {traceback.format_exc(limit=-2)}"
  finally:
    signal.alarm(0)
  return "accepted", ""


def hang(*_):
  """Ends what takes too long."""
  raise TimeoutError(f"more than {SECONDS} s")


if __name__ == "__main__":
  cli.run(main)
