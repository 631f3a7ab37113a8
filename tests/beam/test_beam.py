"""Curation by Apache Beam's direct runner: the same bytes as by processes, in workers that know neither JAX nor training."""

import csv
import dataclasses
import pathlib
import sys

import pytest

pytest.importorskip(
  "apache_beam", reason="make test-beam installs it, in an environment of its own"
)

from lumiere.data.curation import records, run
from lumiere.data.curation.look import ClipSettings
from lumiere.data.curation.runners import Beam, Processes
from tests.lumiere.data.curation.footage import pan, write

DIRECT = Beam("DirectRunner", ("direct_num_workers=2", "direct_running_mode=multi_processing"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
  root = tmp_path_factory.mktemp("videos")
  for seed in range(6):
    write(root / f"{seed}.mp4", pan(seed, 60))
  with (root / "captions.csv").open("w", newline="") as file:
    rows = csv.writer(file)
    rows.writerows(
      [("file", "caption"), *((f"{seed}.mp4", f"texture {seed}") for seed in range(6))]
    )
  return root


def curated(folder, out, runner):
  job = run.Job.make(folder, out, ClipSettings(8, 8.0), files_per_shard=2)
  job.look(runner)
  job.decide((), radius=6, held_out=0.3)
  job.write(records.RecordSettings(clips_per_file=2), runner)
  return {p.relative_to(out): p.read_bytes() for p in sorted(out.rglob("*")) if p.is_file()}


def test_a_pipeline_gives_what_processes_give(folder, tmp_path):
  by_beam = curated(folder, tmp_path / "beam", DIRECT)
  assert by_beam == curated(folder, tmp_path / "processes", Processes())
  assert sum("array_record" in path.name for path in by_beam) > 2


@dataclasses.dataclass(frozen=True)
class Report:
  """A task that writes which modules its worker has."""

  path: pathlib.Path

  def __call__(self):
    self.path.write_text(" ".join(sys.modules))


def test_workers_know_neither_jax_nor_training(tmp_path):
  DIRECT([Report(tmp_path / "modules")], "Reporting")
  modules = (tmp_path / "modules").read_text().split()
  assert "apache_beam" in modules
  assert not {"jax", "flax", "lumiere.model", "lumiere.training"} & set(modules)


@dataclasses.dataclass(frozen=True)
class Fails:
  """A task with an error."""

  def __call__(self):
    raise ValueError("no such thing")


def test_an_error_ends_the_pipeline():
  with pytest.raises(Exception, match="no such thing"):
    DIRECT([Fails()], "Failing")
