"""The folder of a release: what is saved comes back, in bfloat16; what was changed is refused by name."""

import json

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy

from lumiere import checkpoints, release_folder, weights
from lumiere.model import abstract_model
from lumiere.trained import Trained
from lumiere.trees import CheckpointError
from tests.lumiere.experiments import micro
from tests.stunet.networks import random_weights


@pytest.fixture(scope="module")
def trained():
  experiment = micro("stunet", "/secret/data")
  rebuild, params, frozen = abstract_model(experiment)
  values = random_weights(params, 0), random_weights(frozen, 1)
  made_from = {"inherited": {"workdir": "/secret/runs/t2i", "stage": "t2i", "step": 3}}
  return Trained(experiment, 7, rebuild, *values, provenance=made_from, checksum="0" * 16)


@pytest.fixture
def folder(trained, tmp_path):
  release_folder.save(trained, tmp_path / "one", average="all of it")
  return tmp_path / "one"


def rewrite(folder, content: bytes):
  """Replaces the weights, and the checksum with them, as somebody would who wants to."""
  import hashlib

  (folder / release_folder.WEIGHTS).write_bytes(content)
  described = json.loads((folder / "config.json").read_text())
  described["sha256"] = hashlib.sha256(content).hexdigest()
  (folder / "config.json").write_text(json.dumps(described))


def test_a_release_comes_back_rounded_once(trained, folder, tmp_path):
  back = checkpoints.load_trained(folder, ("stunet",))
  assert back.step == 7 and back.experiment.model == trained.experiment.model
  for part in release_folder.PARTS:
    jax.tree.map(
      lambda a, b: np.testing.assert_array_equal(np.asarray(jnp.asarray(a, jnp.bfloat16), a.dtype), b),
      getattr(trained, part),
      getattr(back, part),
    )  # fmt: skip
  size = 2 * (weights.count(trained.params) + weights.count(trained.frozen))
  assert size < (folder / release_folder.WEIGHTS).stat().st_size < size + 40_000
  release_folder.save(back, tmp_path / "two", average="all of it")
  for name in ("weights.safetensors", "config.json"):
    assert (folder / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_no_place_on_the_disk_of_whoever_trained_is_told(folder):
  text = (folder / "config.json").read_text()
  assert "secret" not in text
  described = json.loads(text)
  assert described["experiment"]["data"]["data_dir"] == "data"
  assert described["provenance"]["inherited"]["workdir"] == "t2i"


def test_what_was_changed_or_is_missing_is_refused(folder):
  content = bytearray((folder / release_folder.WEIGHTS).read_bytes())
  content[-1] ^= 1
  (folder / release_folder.WEIGHTS).write_bytes(content)
  with pytest.raises(CheckpointError, match=r"weights.safetensors is not the file that config"):
    checkpoints.load_trained(folder, ("stunet",))
  (folder / release_folder.WEIGHTS).unlink()
  with pytest.raises(CheckpointError, match=r"weights.safetensors cannot be read"):
    checkpoints.load_trained(folder, ("stunet",))


@pytest.mark.parametrize(
  ("content", "words"),
  [
    ("{", "config.json cannot be read"),
    ("[]", "it is no table"),
    ('{"_class_name": "UNet2DConditionModel"}', "is not that of a release: it has no 'step'"),
  ],
)
def test_a_config_of_something_else_is_refused(folder, content, words):
  (folder / "config.json").write_text(content)
  with pytest.raises(CheckpointError, match=words):
    checkpoints.load_record(folder)


def test_other_steps_stages_and_settings_are_refused(folder):
  with pytest.raises(CheckpointError, match="is a release of step 7 and has no step 8"):
    checkpoints.load_record(folder, 8)
  with pytest.raises(CheckpointError, match="is a release of a 'stunet' model; 't2i' is needed"):
    checkpoints.load_trained(folder, ("t2i",))
  described = json.loads((folder / "config.json").read_text())
  described["experiment"]["model"]["channels"] = [7, 7]
  (folder / "config.json").write_text(json.dumps(described))
  with pytest.raises(CheckpointError, match=r"config.json cannot be read: config\.model"):
    checkpoints.load_record(folder)


@pytest.mark.parametrize("change", ["missing", "shape", "nan", "more", "dtype"])
def test_weights_of_something_else_are_refused_by_name(folder, change):
  leaves = release_folder.read_weights(folder)
  name = min(leaves)
  match change:
    case "missing":
      del leaves[name]
      words = f"{name} of shape .* is needed, it has no such weight"
    case "shape":
      leaves[name] = leaves[name][None]
      words = f"{name} of shape .* is needed, it has one of shape"
    case "nan":
      leaves[name] = np.full_like(leaves[name], np.nan)
      words = f"weights that are not finite, first in {name}"
    case "more":
      leaves["params/other"] = np.zeros(3, ml_dtypes.bfloat16)
      words = "holds params/other, which is not used"
    case "dtype":
      leaves[name] = leaves[name].astype(np.float32)
      words = f"{name} in another dtype than bfloat16"
  rewrite(folder, safetensors.numpy.save(leaves))
  with pytest.raises(CheckpointError, match=words):
    checkpoints.load_trained(folder, ("stunet",))
