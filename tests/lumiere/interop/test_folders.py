"""Which of the weights in a folder are meant."""

import json

import pytest

from lumiere.interop.folders import find_weights


def touch(folder, *names):
  for name in names:
    (folder / name).write_text("{}")


@pytest.mark.parametrize(
  ("names", "variant", "expected"),
  [
    # Plain beside others; the same weights in two forms; parts with their index.
    (("model.safetensors", "model.fp16.safetensors"), None, "model.safetensors"),
    (("model.safetensors", "model.fp16.safetensors"), "fp16", "model.fp16.safetensors"),
    (("model.fp16.safetensors",), None, "model.fp16.safetensors"),
    (("pytorch_model.bin", "model.safetensors"), None, "model.safetensors"),
    (("pytorch_model.fp16.bin", "model.safetensors"), "fp16", "pytorch_model.fp16.bin"),
    (
      ("diffusion_pytorch_model.bin", "diffusion_pytorch_model.non_ema.bin", "diffusion_pytorch_model.non_ema.safetensors"),
      "non_ema",
      "diffusion_pytorch_model.non_ema.safetensors",
    ),
    (
      ("pytorch_model-00001-of-00002.bin", "pytorch_model-00002-of-00002.bin", "pytorch_model.bin.index.json"),
      None,
      "pytorch_model.bin.index.json",
    ),
    (
      ("model.fp16-00001-of-00002.safetensors", "model.safetensors.index.fp16.json", "model.safetensors"),
      "fp16",
      "model.safetensors.index.fp16.json",
    ),
    (
      ("model-00001-of-00002.fp16.safetensors", "model.safetensors.fp16.index.json", "model-00001-of-00002.safetensors", "model.safetensors.index.json"),
      None,
      "model.safetensors.index.json",
    ),
    # Others' files lie beside weights.
    (("pytorch_model.bin", "optimizer.bin", "adapter_model.safetensors"), None, "pytorch_model.bin"),
    (("t5-v1.1-xxl.safetensors", "config.json"), None, "t5-v1.1-xxl.safetensors"),
  ],
)  # fmt: skip
def test_the_weights_that_are_meant_are_found(names, variant, expected, tmp_path):
  touch(tmp_path, *names)
  assert find_weights(tmp_path, variant).name == expected


@pytest.mark.parametrize(
  ("names", "variant", "message"),
  [
    (("config.json",), None, "has no weights"),
    (("model.safetensors", "model.ema.safetensors"), "fp16", "--variant=fp16 is not in .* which has plain weights and ema"),
    (("model.fp16.bin", "model.ema.bin"), None, "several variants of weights: --variant chooses among ema, fp16"),
    (("model.bin", "pytorch_model.bin"), None, r"several files of weights \(model.bin, pytorch_model.bin\)"),
    (("one.pt.bin", "two.pt.bin"), None, r"several files of weights \(one.pt.bin, two.pt.bin\)"),
    (("model-00002-of-00002.safetensors", "model.fp16.bin"), None, "whose index is missing: model.safetensors.index.json"),
    (("model.fp16-00001-of-00002.bin", "model.bin"), "fp16", "whose index is missing: model.bin.index.fp16.json"),
  ],
)  # fmt: skip
def test_what_is_not_clear_is_said(names, variant, message, tmp_path):
  touch(tmp_path, *names)
  with pytest.raises(ValueError, match=message):
    find_weights(tmp_path, variant)


def test_advice_can_be_followed(tmp_path):
  """Every variant that a message names is found."""
  touch(
    tmp_path,
    "model.fp16.bin",
    "model.ema.bin",
    "model.fp16-00001-of-00002.bin",
    "model.bin.index.q.json",
  )
  with pytest.raises(ValueError) as error:
    find_weights(tmp_path)
  named = str(error.value).partition("among ")[2].split(", ")
  assert named == ["ema", "fp16", "q"]
  assert [find_weights(tmp_path, name).name for name in named] == [
    "model.ema.bin", "model.fp16.bin", "model.bin.index.q.json"
  ]  # fmt: skip
  assert json.loads((tmp_path / "model.bin.index.q.json").read_text()) == {}
