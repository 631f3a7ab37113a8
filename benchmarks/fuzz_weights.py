"""Converts damaged files of weights, and checks that each is refused in one clear line or converted rightly.

python benchmarks/fuzz_weights.py [--cases=150] [--kills=10] [--seed=0]

Small networks and text encoders are written in all forms in which weights are published, and damaged: truncated, bytes
changed, JSON of another kind, fields changed, files missing, swapped or Git LFS pointers, tensors of other types, shapes or
names, numbers that are not finite, and torch's files that hold something else. A conversion may refuse what it is given, in
one line that names a file or a flag, or write what the files say, as another reader reads them. Tracebacks, hangs, other
weights than those and anything left behind by a refusal are counted; there may be none. Then conversions are killed at
random moments: what they leave has `.partial` in its name, and the next one replaces it.
"""

import collections
import contextlib
import dataclasses
import io
import json
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import numpy as np
from absl import flags
from safetensors.numpy import load_file, save_file

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))  # for tests/

from benchmarks.damaged_weights import KINDS, SOURCES, Source, nothing
from lumiere import cli
from tests.lumiere.interop import published

_CASES = flags.DEFINE_integer("cases", 150, "Damaged sources.")
_KILLS = flags.DEFINE_integer("kills", 10, "Conversions that are killed.")
_SEED = flags.DEFINE_integer("seed", 0, "Of the damage and of the moments.")
_FIRST = flags.DEFINE_integer(
  "first", None, "Run cases from this one on; prints a line of JSON each."
)
_CONVERT = flags.DEFINE_string(
  "convert", None, "Convert the T5 in this folder, to `out` beside it."
)

SECONDS = 60  # a conversion takes one


def main():
  """Runs all, or a part in a process of its own."""
  if _CONVERT.value is not None:
    from lumiere.interop import convert

    folder = pathlib.Path(_CONVERT.value)
    convert.convert(folder, folder.parent / "out")
  elif _FIRST.value is not None:
    for index in range(_FIRST.value, _CASES.value):
      print(json.dumps(run_case(index)), flush=True)
  else:
    fuzz()
    kill()


def again(*arguments: str) -> subprocess.Popen:
  """This program in a process of its own."""
  command = [sys.executable, __file__, *arguments]
  return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)


def fuzz():
  """All cases, in a process that is started again if it dies; prints the counts."""
  begun, results = time.time(), []
  while len(results) < _CASES.value:
    process = again(f"--first={len(results)}", f"--cases={_CASES.value}", f"--seed={_SEED.value}")
    results += [json.loads(line) for line in process.stdout if line.startswith("{")]
    if process.wait():
      results.append({"kind": "?", "outcome": "the process died", "case": len(results)})
  counts = collections.Counter(result["outcome"] for result in results)
  for kind in KINDS:
    found = [result["outcome"] for result in results if result["kind"] == kind.__name__]
    if found:
      each = ", ".join(
        f"{n} {outcome}" for outcome, n in sorted(collections.Counter(found).items())
      )
      print(f"  {kind.__name__:<20}{each}")
  refused, right = counts.pop("refused", 0), counts.pop("right", 0)
  print(
    f"{len(results)} damaged sources in {time.time() - begun:.0f} s: {refused} refused in one line, {right} converted"
    f" to what the files say, {sum(counts.values())} others"
  )
  if counts:
    for result in results:
      if result["outcome"] not in ("refused", "right"):
        print(result)
    raise SystemExit(1)


def run_case(index: int) -> dict:
  """Makes a source, damages it, converts it and judges what came of it."""
  rng = random.Random(f"{_SEED.value}/{index}")
  kind, name = KINDS[index % len(KINDS)], rng.choice(sorted(SOURCES))
  with tempfile.TemporaryDirectory() as folder:
    root = pathlib.Path(folder)
    source = SOURCES[name](root / "source")
    source.write()
    about = kind(source, rng)
    outcome, message = attempt(source, root / "new" / "out")
    if outcome == "refused":
      if [path.name for path in root.iterdir()] != ["source"]:
        outcome = "something is left behind"
      elif "\n" in message or not any(word in message for word in (str(source.folder), "--")):
        outcome = "an unclear message"
      elif kind is nothing:
        outcome = "refused what is right"
    elif outcome == "converted":
      outcome = judge(source, root / "new" / "out")
  return {"case": index, "kind": kind.__name__, "source": name, "about": about, "outcome": outcome, "message": message}  # fmt: skip


def attempt(source: Source, out: pathlib.Path) -> tuple[str, str]:
  """(how a conversion ended, its message)."""
  from lumiere.interop import architectures, convert
  from tests.lumiere.text.test_glide import SMALL

  glide_base = architectures.PUBLISHED["glide_base"]
  architectures.PUBLISHED["glide_base"] = dataclasses.replace(
    glide_base, model=published.GLIDE, text=SMALL, resolution=16
  )

  def alarm(*_):
    raise TimeoutError

  signal.signal(signal.SIGALRM, alarm)
  signal.alarm(SECONDS)
  path = source.folder if source.architecture is None else source.weights / source.form
  variant = None if source.architecture else source.variant
  try:
    with contextlib.redirect_stdout(io.StringIO()):
      convert.convert(path, out, source.architecture, variant)
  except TimeoutError:
    return "a hang", ""
  except (ValueError, OSError) as error:
    return "refused", str(error)
  except Exception as error:
    return "a traceback", repr(error)
  finally:
    signal.alarm(0)
  return "converted", ""


def judge(source: Source, out: pathlib.Path) -> str:
  """ "right" if the weights and pieces that were written are those in the files."""
  if source.must_fail:
    return "wrong: it had to be refused"
  tensors = dict(source.tensors)
  for path in source.files(".safetensors"):  # these have no checksums: what they say counts
    tensors |= load_file(path)
  for key, ours, theirs in written(source, out, tensors):
    if not np.array_equal(ours, theirs.astype(np.float32)):
      return f"wrong: {key}"
  if (out / "spiece.model").exists() and not same_pieces(source.folder, out / "spiece.model"):
    return "wrong: pieces"
  return "right"


def written(source: Source, out: pathlib.Path, tensors: dict[str, np.ndarray]):
  """(name, what was written, what should have been) of every weight."""
  from etils import epath
  from flax import traverse_util

  from lumiere import checkpoints, pretrained_text, trees, weights
  from lumiere import mesh as meshes
  from lumiere.interop import names, text

  if (out / "config.json").exists():
    config = pretrained_text.load_config(epath.Path(out))
    abstract = weights.split(pretrained_text.abstract(config))[1]
    tree = trees.restore(epath.Path(out), meshes.abstract(abstract, meshes.one_device()))
    modules = text.t5(config)
  else:
    trained = checkpoints.load_trained(out, ("t2i", "ssr_image"))
    model = trained.experiment.model
    tree = trained.params["network"]
    tree = tree["unet"] if trained.experiment.is_super_resolution else tree
    modules = names.diffusers(model) if source.weights.name == "unet" else names.adm(model)
  for path, leaf in traverse_util.flatten_dict(tree, sep="/").items():
    place = names.source_of(path, leaf.shape, modules)
    yield place.key, np.asarray(leaf), place.load(tensors[place.key])


def same_pieces(folder: pathlib.Path, ours: pathlib.Path) -> bool:
  """Whether a SentencePiece model is the one in `folder`, or has the pieces of its tokenizer.json."""
  from sentencepiece import sentencepiece_model_pb2

  if (folder / "spiece.model").exists():
    return ours.read_bytes() == (folder / "spiece.model").read_bytes()
  proto = sentencepiece_model_pb2.ModelProto.FromString(ours.read_bytes())
  vocabulary = json.loads((folder / "tokenizer.json").read_bytes())["model"]["vocab"]
  theirs = [(piece, float(np.float32(score))) for piece, score in vocabulary]
  return [(piece.piece, piece.score) for piece in proto.pieces] == theirs


def kill():
  """Kills conversions of some megabytes between their first byte and their last; then one is left to end."""
  moments = random.Random(_SEED.value)
  with tempfile.TemporaryDirectory() as name:
    root = pathlib.Path(name)
    large_t5(root / "source")
    seconds, left = conversion(root, None), collections.Counter()
    expected = sorted(str(path.relative_to(root)) for path in root.rglob("*"))
    for _ in range(_KILLS.value):
      shutil.rmtree(root / "out", ignore_errors=True)
      conversion(root, moments.uniform(0.0, seconds))
      left[", ".join(sorted({path.name for path in root.iterdir()} - {"source"})) or "nothing"] += 1
    shutil.rmtree(root / "out", ignore_errors=True)
    conversion(root, None)
    if {*left} - {"out.partial", "out"} or len(expected) != len(list(root.rglob("*"))):
      raise SystemExit(f"kills left {dict(left)}, the next conversion {list(root.iterdir())}")
    print(
      f"{_KILLS.value} kills within {seconds:.1f} s left {dict(left)}; the next conversion is whole"
    )


def conversion(root: pathlib.Path, until: float | None) -> float:
  """Converts `source`; the seconds from its first byte on, of which it gets `until`."""
  process = again(f"--convert={root / 'source'}")
  partial = root / "out.partial"
  old = partial.stat().st_ino if partial.exists() else None
  while process.poll() is None and not (partial.exists() and partial.stat().st_ino != old):
    time.sleep(0.002)
  begun = time.time()
  if until is not None:
    time.sleep(until)
    process.kill()
  process.wait()
  process.stdout.close()
  return time.time() - begun


def large_t5(folder: pathlib.Path):
  """A text encoder of a hundred megabytes."""
  from flax import traverse_util

  from lumiere import pretrained_text, weights
  from lumiere.interop import names, text
  from lumiere.text.t5 import T5Config

  config = T5Config(vocab_size=384, d_model=512, d_kv=64, d_ff=1024, num_layers=10, num_heads=8)
  abstract = traverse_util.flatten_dict(weights.split(pretrained_text.abstract(config))[1], sep="/")
  sources = [names.source_of(path, leaf.shape, text.t5(config)) for path, leaf in abstract.items()]
  folder.mkdir()
  save_file(published.draw({s.key: s.shape for s in sources}), folder / "model.safetensors")
  sizes = dataclasses.asdict(config) | {"model_type": "t5", "feed_forward_proj": "gated-gelu"}
  (folder / "config.json").write_text(json.dumps(sizes))


if __name__ == "__main__":
  cli.run(main)
