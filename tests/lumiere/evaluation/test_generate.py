"""Videos for a benchmark: which are made, by whom, and again."""

import json
import types

import numpy as np
import pytest

from lumiere.evaluation import generate as generation
from lumiere.evaluation.generate import generate, prompts_of
from lumiere.sampling.cascade import Cascade


class Painter(Cascade):
  """Paints videos in a gray that stands for their number; remembers what it was asked."""

  def __init__(self):
    data = types.SimpleNamespace(fps=8.0)
    experiment = types.SimpleNamespace(data=data)
    object.__setattr__(self, "base", types.SimpleNamespace(experiment=experiment))
    object.__setattr__(self, "asked", [])

  def generate(self, prompts, *, num_frames=None, **options):
    self.asked.append((options["first_index"], list(prompts)))
    shades = [10 * (options["first_index"] + i) for i in range(len(prompts))]
    return np.stack([np.full((4, 256, 256, 3), shade, np.uint8) for shade in shades])


def files(folder) -> dict[str, bytes]:
  return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_shards_and_restarts_make_the_same_videos(tmp_path):
  prompts, whole = ["a", "b"], Painter()
  assert generate(whole, prompts, tmp_path / "whole", 5, batch_size=2) == 5
  assert whole.asked == [(0, ["a", "b"]), (2, ["a", "b"]), (4, ["a", "a"])]
  for index in (0, 1):
    generate(Painter(), prompts, tmp_path / "shards", 5, batch_size=2, shard=(index, 2))
  assert files(tmp_path / "shards") == files(tmp_path / "whole")
  (tmp_path / "whole" / "000003.mp4").unlink()
  again = Painter()
  assert generate(again, prompts, tmp_path / "whole", 5, batch_size=2) == 2
  assert [first for first, _ in again.asked] == [2]
  assert files(tmp_path / "shards") == files(tmp_path / "whole")


def test_a_folder_can_grow_but_keeps_its_prompts(tmp_path):
  generate(Painter(), ["a", "b"], tmp_path, 2, batch_size=2)
  more = Painter()
  assert generate(more, ["a", "b"], tmp_path, 4, batch_size=2) == 2
  text = (tmp_path / "captions.csv").read_text().split()
  assert text == ["file,caption", "000000.mp4,a", "000001.mp4,b", "000002.mp4,a", "000003.mp4,b"]
  with pytest.raises(ValueError, match="names other videos"):
    generate(Painter(), ["a", "c"], tmp_path, 4)


def test_every_class_of_ucf101_has_a_sentence_of_its_own(tmp_path):
  prompts = prompts_of("ucf101")
  assert len(prompts) == len(set(prompts)) == 101
  assert all(prompt.endswith(".") and prompt[0].isupper() for prompt in prompts)
  (tmp_path / "prompts.txt").write_text("one\n\ntwo\n")
  assert prompts_of(str(tmp_path / "prompts.txt")) == ["one", "two"]
  sums = generation.checksum_of(prompts), generation.checksum_of(prompts[::-1])
  assert len(set(sums)) == 2


def test_captions_of_msr_vtts_test_videos(tmp_path):
  videos = [{"video_id": "video7", "split": "train"}, {"video_id": "video8", "split": "test"}]
  sentences = [
    {"sen_id": 5, "video_id": "video8", "caption": "a man cooks "},
    {"sen_id": 6, "video_id": "video7", "caption": "a cat"},
    {"sen_id": 7, "video_id": "video8", "caption": "someone is cooking"},
  ]
  path = tmp_path / "test_videodatainfo.json"
  path.write_text(json.dumps({"info": {}, "videos": videos, "sentences": sentences}))
  assert prompts_of(str(path)) == ["a man cooks", "someone is cooking"]
  path.write_text(json.dumps({"videos": videos[:1], "sentences": sentences}))
  with pytest.raises(ValueError, match="no caption of a video with split 'test'"):
    prompts_of(str(path))
  path.write_text(json.dumps({"annotations": []}))
  with pytest.raises(ValueError, match="is not of MSR-VTT's form"):
    prompts_of(str(path))
