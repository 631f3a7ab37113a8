import ast
import os
import signal
import subprocess
import sys

import grain
import numpy as np
import orbax.checkpoint as ocp
import pytest
from absl import flags

from lumiere.data.loader import ToClip, Tokenize, make_loader
from lumiere.text.tokenize import ByteTokenizer


class Draw(grain.transforms.RandomMap):
  """Number -> the number and a random one, under a name that batches keep."""

  def random_map(self, element, rng):
    return {"tokens": np.array([element, rng.integers(2**40)])}


def load(size=10, *, batch_size=4, seed=0, shuffle=True, **kwargs):
  return make_loader(
    list(range(size)),
    batch_size=batch_size,
    seed=seed,
    shuffle=shuffle,
    transforms=[Draw()],
    **kwargs,
  )


def take(batches, count):
  return np.stack([next(batches)["tokens"] for _ in range(count)])


def test_epochs_are_permutations_that_differ():
  order = take(iter(load()), 10)[..., 0].reshape(4, 10)
  np.testing.assert_array_equal(np.sort(order), np.broadcast_to(np.arange(10), (4, 10)))
  assert len({tuple(epoch) for epoch in order}) == 4


def test_without_shuffling_the_order_is_the_sources():
  np.testing.assert_array_equal(
    take(iter(load(shuffle=False)), 5)[..., 0].ravel(), [*range(10), *range(10)]
  )


def test_random_choices_differ_between_epochs_and_depend_on_the_seed_alone():
  batches = take(iter(load()), 5)
  assert len(set(batches[..., 1].ravel())) == 20
  np.testing.assert_array_equal(take(iter(load()), 5), batches)
  assert (take(iter(load(seed=1)), 5) != batches).any()


def test_every_iteration_begins_at_the_first_batch():
  loader = load()
  np.testing.assert_array_equal(take(iter(loader), 3), take(iter(loader), 3))


@pytest.mark.parametrize("size", [10, 11])
def test_processes_share_the_batches_of_one(size):
  alone = take(iter(load(size)), 8)
  parts = [take(iter(load(size, process_index=p, process_count=2)), 8) for p in range(2)]
  np.testing.assert_array_equal(alone, np.concatenate(parts, axis=1))


def test_workers_make_the_same_batches():
  if not flags.FLAGS.is_parsed():
    flags.FLAGS.mark_as_parsed()  # train.py's absl.app.run does this; Grain's workers ask for it
  batches = iter(load(num_workers=2))
  try:
    np.testing.assert_array_equal(take(batches, 6), take(iter(load()), 6))
  finally:
    batches.close()


TRAINING = """
import multiprocessing
from absl import app
from lumiere.data.loader import make_loader

class Numbers(list):
  def __getitem__(self, index):
    return {"tokens": super().__getitem__(index)}

def main(_):
  batches = iter(make_loader(Numbers(range(64)), batch_size=4, seed=0, shuffle=False, num_workers=2))
  firsts = [int(next(batches)["tokens"][0]) for _ in range(2)]  # one of each worker
  print(firsts, [p.pid for p in multiprocessing.active_children()], sep=",", flush=True)
  while True:
    input()
    print(next(batches)["tokens"].tolist(), flush=True)

if __name__ == "__main__":
  app.run(main)
"""


def test_workers_outlive_signals_but_not_the_process_that_trains(tmp_path):
  """A shutdown or Ctrl-C signals all processes, and the one that trains still saves; killed, it leaves nobody behind."""
  script = tmp_path / "training.py"
  script.write_text(TRAINING)
  command = [sys.executable, script]
  with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
    try:
      firsts, workers = ast.literal_eval(child.stdout.readline())
      assert firsts == [0, 4] and len(workers) == 2
      for pid in workers:
        os.kill(pid, signal.SIGTERM)
        os.kill(pid, signal.SIGINT)
      for batch in range(2, 10):  # more than were made ahead
        child.stdin.write("\n")
        child.stdin.flush()
        assert ast.literal_eval(child.stdout.readline())[0] == 4 * batch
    finally:
      child.kill()
    # Workers hold its output too: it ends when the last of them has.
    assert child.communicate(timeout=300)[0] == ""


@pytest.mark.parametrize("before", [3, 4])  # in the middle of an epoch of 10, each
def test_a_restored_loader_goes_on_where_it_was_saved(tmp_path, before):
  uninterrupted = take(iter(load()), before + 5)
  batches = iter(load())
  take(batches, before)
  with ocp.CheckpointManager(tmp_path) as manager:
    manager.save(before, args=ocp.args.Composite(data=grain.checkpoint.CheckpointSave(batches)))
    manager.wait_until_finished()
    np.testing.assert_array_equal(take(batches, 2), uninterrupted[before : before + 2])
    restored = iter(load())
    take(restored, 1)  # a used iterator is set back, too
    manager.restore(
      before, args=ocp.args.Composite(data=grain.checkpoint.CheckpointRestore(restored))
    )
  np.testing.assert_array_equal(take(restored, 5), uninterrupted[before:])


@pytest.mark.parametrize(
  ("arguments", "words"),
  [
    (dict(size=0), "no examples"),
    (dict(batch_size=0), "batch_size=0"),
    (
      dict(process_index=0, process_count=3),
      "batch_size=4 must be a positive multiple of the 3 processes",
    ),
    (dict(num_workers=-1), "num_workers=-1"),
  ],
)
def test_bad_arguments_are_named(arguments, words):
  with pytest.raises(ValueError, match=words):
    load(**arguments)


def clip_of_levels(levels, size=4):
  return np.broadcast_to(
    np.array(levels, np.uint8)[:, None, None, None], (len(levels), size, size, 3)
  )


def test_clips_are_contiguous_runs_from_every_start():
  levels = [0, 51, 102, 153, 255]
  expected = np.array(levels) / 127.5 - 1
  starts = set()
  for seed in range(30):
    element = ToClip(3, (4, 4)).random_map(
      {"video": clip_of_levels(levels)}, np.random.default_rng(seed)
    )
    assert element["video"].shape == (3, 4, 4, 3) and element["video"].dtype == np.float32
    run = element["video"][:, 0, 0, 0]
    start = int(np.abs(expected - run[0]).argmin())
    np.testing.assert_allclose(run, expected[start : start + 3], atol=1e-6)
    starts.add(start)
  assert starts == {0, 1, 2}


def test_one_frame_is_an_image():
  element = {"video": clip_of_levels([0, 255]), "caption": b"x"}
  found = [ToClip(1, (4, 4)).random_map(element, np.random.default_rng(seed)) for seed in range(10)]
  assert all(set(e) == {"image", "caption"} and e["image"].shape == (4, 4, 3) for e in found)
  assert {round(float(e["image"].mean())) for e in found} == {-1, 1}


def test_clips_are_resized_by_area():
  video = np.random.default_rng(0).integers(0, 256, (2, 8, 8, 3), np.uint8)
  clip = ToClip(2, (4, 4)).random_map({"video": video}, np.random.default_rng(0))["video"]
  means = video.reshape(2, 4, 2, 4, 2, 3).mean((2, 4))
  np.testing.assert_allclose(clip, means / 127.5 - 1, atol=1e-5)


@pytest.mark.parametrize(
  ("transform", "words"),
  [(ToClip(3, (4, 4)), "num_frames=3.* 2"), (ToClip(2, (8, 8)), "resolution=8.* 4")],
)
def test_clips_that_the_dataset_cannot_give(transform, words):
  with pytest.raises(ValueError, match=words):
    transform.random_map({"video": clip_of_levels([0, 1])}, np.random.default_rng(0))


def test_batches_hold_clips_and_tokens_and_no_metadata():
  examples = [
    {
      "video": clip_of_levels([10 * i] * 3),
      "caption": f"é {i}".encode(),
      "fps": 8.0,
      "source": b"a.mp4",
    }
    for i in range(4)
  ]
  tokenizer = ByteTokenizer(8)
  batch = next(
    iter(
      make_loader(
        examples,
        batch_size=4,
        seed=0,
        shuffle=False,
        transforms=[ToClip(2, (2, 2)), Tokenize(tokenizer)],
      )
    )
  )
  assert {name: (rows.shape, rows.dtype.name) for name, rows in batch.items()} == {
    "video": ((4, 2, 2, 2, 3), "float32"),
    "tokens": ((4, 8), "int32"),
    "mask": ((4, 8), "bool"),
  }
  assert [tokenizer.decode(row) for row in batch["tokens"]] == ["é 0", "é 1", "é 2", "é 3"]
  assert (
    Tokenize(tokenizer).map({"caption": "é 0"})["tokens"].tolist() == batch["tokens"][0].tolist()
  )


def test_precomputed_embeddings_pass_through():
  embedding, mask = (
    np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32),
    np.ones(5, bool),
  )
  example = {
    "video": clip_of_levels([1]),
    "caption": b"x",
    "text": embedding,
    "text_mask": mask,
  }
  for transforms in ([ToClip(1, (4, 4))], [ToClip(1, (4, 4)), Tokenize(ByteTokenizer(8))]):
    batch = next(
      iter(make_loader([example], batch_size=1, seed=0, shuffle=True, transforms=transforms))
    )
    assert set(batch) == {"image", "text", "text_mask"}
    np.testing.assert_array_equal(batch["text"][0], embedding)
