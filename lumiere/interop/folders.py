"""Which file of weights to read, in a folder as diffusers and transformers write it.

    model.safetensors                    model.fp16.safetensors                     the variant "fp16"
    model.safetensors.index.json         model.safetensors.index.fp16.json          an index of several files,
    model-00001-of-00002.safetensors     model.fp16-00001-of-00002.safetensors      the files, or
                                         model-00001-of-00002.fp16.safetensors

The name may be another than `model`, and the files torch's: `.bin` for `.safetensors`.
"""

import pathlib
import re

PLAIN = ""
# Best first: of the same weights in several forms one is read.
_FORMS = ("safetensors.index", "safetensors", "bin.index", "bin")
_PART = r"-\d{5}-of-\d{5}"
_FILE = re.compile(
  rf"(?P<stem>[^.]+?)(?:\.(?P<before>[^.]+?))?(?P<part>{_PART})?(?:\.(?P<after>[^.]+))?\.(?P<form>safetensors|bin)"
)
_INDEX = re.compile(
  r"(?P<stem>[^.]+)\.(?P<form>safetensors|bin)(?:\.(?P<before>[^.]+))?\.index(?:\.(?P<after>[^.]+))?\.json"
)
# What the libraries call weights; others may lie beside them: optimizer.bin, training_args.bin, adapters.
_STEMS = ("model", "pytorch_model", "diffusion_pytorch_model")


def find_weights(folder: pathlib.Path, variant: str | None = None) -> pathlib.Path:
  """The file of weights in a folder; several files count as their index.

  Args:
    folder: where to look.
    variant: "fp16", "non_ema" and the like; None takes the plain weights, or the only ones that there are.

  Raises:
    ValueError: if there is none, or more than one candidate.
  """
  found, parts = _files(folder)
  wanted = variant or PLAIN
  if wanted not in found and wanted in parts:
    index = _index_of(parts[wanted], wanted)
    raise ValueError(f"{parts[wanted]} is one of several files, whose index is missing: {index}")
  if not found:
    raise ValueError(f"{folder} has no weights: *.safetensors or *.bin, or an index, *.index.json")
  names = ", ".join(sorted(filter(None, found)))
  if variant and variant not in found:
    has = " and ".join(filter(None, ["plain weights" if PLAIN in found else "", names]))
    raise ValueError(f"--variant={variant} is not in {folder}, which has {has}")
  if wanted not in found and len(found) > 1:
    raise ValueError(f"{folder} has several variants of weights: --variant chooses among {names}")
  forms = found[wanted if wanted in found else next(iter(found))]
  candidates = forms[min(forms, key=_FORMS.index)]
  if len(candidates) > 1:
    names = ", ".join(path.name for path in candidates)
    raise ValueError(
      f"{folder} has several files of weights ({names}): move those that are not wanted elsewhere"
    )
  return candidates[0]


def _files(folder: pathlib.Path):
  """({variant: {form: paths}}, {variant: a part of several files}) of what is in a folder."""
  found, parts = {}, {}
  for path in sorted(folder.iterdir()):
    match = _INDEX.fullmatch(path.name) or _FILE.fullmatch(path.name)
    if match is None or not path.is_file():
      continue
    groups = match.groupdict()
    variant = ".".join(filter(None, [groups["before"], groups["after"]]))
    if groups.get("part"):
      parts.setdefault(variant, path)
    else:
      form = f"{groups['form']}.index" if path.suffix == ".json" else groups["form"]
      found.setdefault(groups["stem"] in _STEMS, {}).setdefault(variant, {}).setdefault(form, []).append(path)  # fmt: skip
  return found.get(True) or found.get(False) or {}, parts


def _index_of(part: pathlib.Path, variant: str) -> str:
  match = _FILE.fullmatch(part.name)
  return ".".join(filter(None, [match["stem"], match["form"], "index", variant, "json"]))
