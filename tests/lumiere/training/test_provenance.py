"""What a run is made from is compared when it goes on."""

import dataclasses

import pytest

from lumiere import checkpoints
from lumiere.data import sources
from lumiere.experiment import Experiment
from lumiere.training import provenance
from tests.lumiere.experiments import WORLD, micro, micro_config


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
  return tmp_path_factory.mktemp("data")


def changed(data_dir, **world) -> Experiment:
  config = micro_config("ssr_image", data_dir)
  config.data.moving_shapes = WORLD | world
  return Experiment.from_config(config)


def test_the_same_data_elsewhere_have_the_same_fingerprint(data_dir, tmp_path):
  here, there = (sources.fingerprint(micro("ssr_image", d).data) for d in (data_dir, tmp_path))
  assert here == there
  assert here["examples"] == {"train": 24, "validation": 8, "test": 8}
  assert here["dataset"].startswith("moving_shapes/") and len(here["content"]) == 8


def test_other_data_have_another_fingerprint(data_dir):
  same = sources.fingerprint(micro("ssr_image", data_dir).data)
  more = sources.fingerprint(changed(data_dir, num_train=25).data)
  other = sources.fingerprint(changed(data_dir, seed=1).data)
  assert other["examples"] == same["examples"] and other["content"] != same["content"]
  assert len({sources.digest(each) for each in (same, more, other)}) == 3


def test_a_run_that_goes_on_with_other_data_warns_and_names_both(data_dir, caplog):
  experiment = micro("ssr_image", data_dir)
  made_from = provenance.of_new_run(experiment, None)
  assert made_from["inherited"] is None and made_from["text_encoder"] is None
  record = checkpoints.Record(2, experiment, made_from, {}, {})
  assert provenance.of_resumed_run(experiment, record, "runs/x") == made_from
  assert "The data differ" not in caplog.text
  other = changed(data_dir, num_train=25)
  now = provenance.of_resumed_run(other, record, "runs/x")
  warning = caplog.messages[-1]
  for words in ("The data differ", "runs/x", "25 train", "24 train"):
    assert words in warning
  for data in (now["data"], made_from["data"]):
    assert data["dataset"] in warning and data["content"] in warning


def test_states_of_another_text_encoder_are_refused(data_dir, monkeypatch):
  experiment = micro("ssr_image", data_dir)
  here, there = ({"checksum": name, "max_length": 8} for name in ("here", "there"))
  data = provenance.of_new_run(experiment, None)["data"]
  monkeypatch.setattr(provenance, "_inputs", lambda _: {"data": data, "text_encoder": here})
  before = {"inherited": None, "data": data, "text_encoder": there}
  record = checkpoints.Record(2, experiment, before, {}, {})
  with pytest.raises(ValueError, match="text encoder here, but the run in runs/x was .* there"):
    provenance.of_resumed_run(experiment, record, "runs/x")
  start = dataclasses.replace(experiment, init_from="runs/parent")
  parent = checkpoints.Trained(experiment, 5, lambda *_: None, {}, {}, before, "checksum")
  with pytest.raises(ValueError, match="here, but init_from=runs/parent was trained .* there"):
    provenance.of_new_run(start, parent)
  imported = dataclasses.replace(parent, provenance={})
  assert provenance.of_new_run(start, imported)["inherited"]["step"] == 5
