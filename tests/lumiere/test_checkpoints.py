"""What a workdir holds is read as it was written, or refused: bytes that change, reads that fail, weights that are not finite.

On the runs that tests share, and with the restoring of a training but none of its steps.
"""

import dataclasses
import errno
import json
import pathlib
import shutil
import time

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
import pytest

from lumiere import checkpoints, checksums, trees
from lumiere import mesh as meshes
from lumiere.state import TrainState
from lumiere.training import start
from lumiere.training.stages import Stage


@pytest.fixture(autouse=True)
def no_pause(monkeypatch):
  monkeypatch.setattr(trees, "PAUSE", 0.0)


class Place:
  """A loader's place."""

  def __iter__(self):
    return self

  def __next__(self):
    raise NotImplementedError

  def set_state(self, state):
    self.state = dict(state)


def restored(workdir) -> dict:
  """All that a training reads of a workdir, as sums and JSON; its step."""
  record, place = checkpoints.find_record(workdir), Place()
  with checkpoints.Checkpoints(workdir) as manager:
    run = start.go_on(Stage(record.experiment), manager, meshes.one_device(), place)
  sums = [checksums.inspect(tree)[0] for tree in (run.state, run.frozen)]
  notes = (place.state, record.provenance, record.experiment.to_json())
  return {"sums": sums, "notes": notes, "step": int(run.state.step)}


def sampled(workdir) -> dict:
  """The same of what sampling reads."""
  trained = checkpoints.load_trained(workdir, ("ssr",))
  sums = [checksums.inspect(tree)[0] for tree in (trained.params, trained.frozen)]
  return {"sums": sums, "notes": trained.experiment.to_json(), "step": trained.step}


@pytest.fixture
def run(runs, tmp_path):
  """A copy of a video run with one checkpoint, of step 2, and frozen weights."""
  return pathlib.Path(shutil.copytree(runs["ssr"], tmp_path / "run"))


@pytest.fixture
def two(run):
  """The same with a checkpoint of step 4, too."""
  shutil.copytree(run / "checkpoints" / "2", run / "checkpoints" / "4")
  return run


def damage(folder: pathlib.Path, mask: int = 1):
  """A changed bit in the middle of each file with numbers: Orbax leaves some behind that it does not read again."""
  for path in folder.rglob("d/*"):
    flip(path, path.stat().st_size // 2, mask)


def flip(path: pathlib.Path, place: int, mask: int = 1):
  content = bytearray(path.read_bytes())
  content[place] ^= mask
  path.write_bytes(content)


def test_a_flipped_bit_is_harmless_or_refused(run):
  """In every file of a checkpoint and of the frozen weights; never are other values taken for what was written."""
  random = np.random.default_rng(0)
  whole = {read: read(run) for read in (restored, sampled)}
  files = [p for part in ("checkpoints", "frozen") for p in (run / part).rglob("*") if p.is_file()]
  files = [path for path in files if path.name != "commit_success.txt"]  # empty but for a remark
  refused = set()
  for path in files:
    part = path.relative_to(run).parts[2 if path.is_relative_to(run / "checkpoints") else 0]
    before = path.read_bytes()
    flip(path, int(random.integers(len(before))), 1 << int(random.integers(8)))
    for read in (restored, sampled) if part in ("ema", "frozen") else (restored,):
      try:
        assert read(run) == whole[read], path
      except checkpoints.CheckpointError as error:
        assert str(run) in str(error) and "\n" not in str(error), error
        refused.add(part)
    path.write_bytes(before)
  assert restored(run) == whole[restored] and not (run / "damaged").exists()
  assert len(files) > 35
  notes = {"data", "config", "provenance", "checksums"}
  assert refused == {"params", "ema", "opt_state", "frozen"} | notes


def test_a_damaged_checkpoint_is_moved_aside_and_the_one_before_it_is_taken(two, caplog):
  before = restored(two)
  assert before["step"] == 4
  for name in ("4", "4_1"):  # damaged once more
    damage(two / "checkpoints" / "4" / "params")
    kept = {p.name: p.read_bytes() for p in (two / "checkpoints/4").rglob("*") if p.is_file()}
    found = restored(two)
    assert found["step"] == 2 and found["notes"] == before["notes"]
    moved = two / "damaged" / name
    assert kept == {p.name: p.read_bytes() for p in moved.rglob("*") if p.is_file()}
    assert f"the checkpoint of step 4 in {two} cannot be read" in caplog.text
    assert f"moved to {moved}" in caplog.text
    assert [path.name for path in (two / "checkpoints").iterdir()] == ["2"]
    shutil.copytree(two / "checkpoints" / "2", two / "checkpoints" / "4")


def test_notes_that_are_damaged_cost_one_checkpoint_too(two):
  path = two / "checkpoints" / "4" / "config" / "metadata"
  path.write_text(path.read_text().replace('"seed": 0', '"seed": 1'))
  with pytest.raises(checkpoints.CheckpointError, match="step 4 .*config does not hold what was"):
    sampled(two)
  assert checkpoints.find_record(two).step == 2
  assert restored(two)["step"] == 2 and (two / "damaged" / "4").exists()


def test_when_nothing_can_be_read_nothing_is_moved(two):
  for step in (2, 4):
    damage(two / "checkpoints" / str(step) / "opt_state")
  with pytest.raises(checkpoints.CheckpointError, match="step 4 .* cannot be read: opt_state"):
    restored(two)
  assert not (two / "damaged").exists()
  assert sampled(two)["step"] == 4  # which does not read it


def test_frozen_weights_that_are_damaged_move_no_checkpoint(two):
  damage(two / "frozen")
  for read in (restored, sampled):
    with pytest.raises(checkpoints.CheckpointError, match="the frozen weights in .*frozen cannot"):
      read(two)
  assert not (two / "damaged").exists()


def test_frozen_weights_of_another_run_are_noticed(run, runs):
  shutil.rmtree(run / "frozen")
  other = checkpoints.load_trained(runs["ssr"], ("ssr",)).frozen
  with checkpoints.Checkpoints(run) as manager:
    manager.save_frozen(jax.tree.map(lambda leaf: leaf * 1.0001, other))
  with pytest.raises(checkpoints.CheckpointError, match="does not hold what was written"):
    sampled(run)


@pytest.mark.parametrize("part", ["params", "frozen", "config"])
def test_a_read_that_fails_in_passing_costs_nothing(two, part, monkeypatch, caplog):
  """A disk or a bucket that does not answer once."""
  whole, failures = {read: read(two) for read in (restored, sampled)}, []
  handler = ocp.JsonCheckpointHandler if part == "config" else ocp.StandardCheckpointHandler
  restore = handler.restore

  def failing(self, directory, *args, **options):
    if directory.name == part and not failures:
      failures.append(directory)
      raise OSError(5, "Input/output error")
    return restore(self, directory, *args, **options)

  monkeypatch.setattr(handler, "restore", failing)
  for read in (restored,) if part == "params" else (restored, sampled):
    failures.clear()
    assert read(two) == whole[read]
    assert failures and not (two / "damaged").exists()
  assert "cannot be read" not in caplog.text


def test_the_second_try_waits(monkeypatch):
  monkeypatch.setattr(trees, "PAUSE", 0.2)
  times = []

  def read():
    times.append(time.monotonic())
    if len(times) == 1:
      raise checkpoints.CheckpointError("not now")
    return "read"

  assert trees.twice(read) == "read" and times[1] - times[0] >= 0.2


def test_a_checkpoint_without_checksums_is_refused(run):
  shutil.rmtree(run / "checkpoints" / "2" / "checksums")
  with pytest.raises(checkpoints.CheckpointError, match="it has no checksums"):
    sampled(run)


def test_numbers_of_the_checksums_themselves_are_covered(run):
  path = run / "checkpoints" / "2" / "checksums" / "metadata"
  sealed = json.loads(path.read_text())
  sealed["notes"] = {name: x for name, x in sealed["notes"].items() if name != "config"}
  path.write_text(json.dumps(sealed))
  with pytest.raises(checkpoints.CheckpointError, match="checksums is not what was written"):
    sampled(run)


def test_weights_that_are_not_finite_are_said_by_name(run):
  """Of the average, for sampling and for a warm start; of the frozen weights."""
  experiment, _ = checkpoints.load_experiment(run)
  trained = checkpoints.load_trained(run, ("ssr",))
  bad = jax.tree.map(lambda x: x, trained.params)
  bad["network"]["unet"]["middle"]["inflations"]["0"]["norm1"]["scale"] *= np.nan
  state = TrainState(jnp.int32(3), trained.params, bad, {"count": jnp.int32(3)})
  place = type("", (), {"get_state": lambda self: {"next_example": 24}})()
  with checkpoints.Checkpoints(run) as manager:
    manager.save_frozen(trained.frozen)
    manager.save(3, state, place, experiment, {})
  says = "step 3 in .* not finite, first in network/unet/middle/inflations/0/norm1/scale"
  with pytest.raises(checkpoints.CheckpointError, match=says):
    sampled(run)
  again = dataclasses.replace(experiment, init_from=str(run))
  with pytest.raises(checkpoints.CheckpointError, match=says):
    start.load_warm_start(Stage(again), meshes.one_device())
  checkpoints.load_trained(run, ("ssr",), step=2)
  frozen = jax.tree.map(lambda leaf: leaf / 0, trained.frozen)
  with checkpoints.Checkpoints(run) as manager:
    manager.save_frozen(frozen)
    manager.save(4, dataclasses.replace(state, ema=trained.params), place, experiment, {})
  with pytest.raises(
    checkpoints.CheckpointError, match="step 4 in .* not finite, first in network"
  ):
    sampled(run)


@pytest.mark.parametrize("when", ["save", "wait_until_finished"])
def test_a_full_disk_is_said_in_one_line(run, when, monkeypatch):
  experiment, _ = checkpoints.load_experiment(run)
  trained = checkpoints.load_trained(run, ("ssr",))
  state = TrainState(jnp.int32(3), trained.params, trained.params, {"count": jnp.int32(3)})
  place = type("", (), {"get_state": lambda self: {"next_example": 24}})()
  manager = checkpoints.Checkpoints(run)

  def full(*args, **options):
    try:
      raise OSError(errno.ENOSPC, "No space left on device")
    except OSError as error:
      raise RuntimeError("the commit thread has failed") from error

  with pytest.raises(checkpoints.CheckpointError) as said, manager:
    manager.save(3, state, place, experiment, {})
    monkeypatch.setattr(checkpoints._Manager, when, full)
    manager.save(4, state, place, experiment, {})
  step = 4 if when == "save" else 3
  assert (
    str(said.value) == f"the checkpoint of step {step} cannot be written to {run}: the disk is full"
  )
  monkeypatch.undo()
  manager.wait()  # for what was written well
