"""Cuts, fades, pans and flashes; clips between cuts."""

import numpy as np
import pytest

from lumiere.data import frames
from lumiere.data.curation import shots
from tests.lumiere.data import media
from tests.lumiere.data.curation.footage import FPS, fade, pan


def cuts_of(*videos, fps=FPS):
  cuts = shots.Cuts(fps)
  for frame in np.concatenate(videos):
    cuts.add(frames.fit(frame, cuts.side, 80))
  return cuts.indices()


@pytest.mark.parametrize("seeds", [(1, 2), (3, 4), (5, 6), (7, 8)])
def test_hard_cuts_are_found_to_the_frame(seeds):
  one, other = map(pan, seeds)
  assert cuts_of(one, other, one[:20]) == [36, 72]


@pytest.mark.parametrize("step", [0, 1, 6])
def test_a_shot_is_one_however_fast_it_pans(step):
  assert cuts_of(pan(3, num_frames=60, step=step)) == []


@pytest.mark.parametrize("length", [1, 2, 3])
@pytest.mark.parametrize("step", [0, 1, 3])
def test_a_flash_is_no_cut(length, step):
  video = pan(5, num_frames=60, step=step).copy()
  video[30 : 30 + length] = 255
  assert cuts_of(video) == []


def test_a_flash_beside_a_cut_leaves_the_cut():
  one, other = pan(1, 36).copy(), pan(2, 36)
  one[20:22] = 255
  assert cuts_of(one, other) == [36]
  one[20:22], one[34:36] = pan(1, 36)[20:22], 255  # the shot ends in it
  assert all(34 <= cut <= 36 for cut in cuts_of(one, other)) and cuts_of(one, other)


def test_key_frames_of_an_older_codec_are_no_cuts(tmp_path):
  """MPEG-4 restores with each key frame what was blurred since the last one; in histograms of 256 bins that was a cut."""
  path, video = tmp_path / "a.avi", pan(35, 50, 2, height=180, width=320)[:, ::2, ::2]
  media.write(path, video, FPS, codec=("mpeg4", "yuv420p", {"qscale": "2"}))
  cuts = shots.Cuts(FPS)
  for frame in frames.shown(path):
    cuts.add(frame.small(cuts.side))
  assert cuts.indices() == []


def test_a_fade_through_black_is_a_cut_somewhere_in_it():
  black = np.zeros_like(pan(1, 4))
  one, other = pan(1), pan(2)
  found = cuts_of(one, fade(one, black, 12), black, fade(black, other, 12), other)
  assert found and all(36 <= cut <= 36 + 28 for cut in found)


def test_a_dark_shot_is_one_although_its_few_levels_flicker():
  assert cuts_of(pan(6, num_frames=60) // 25) == []


def test_a_loss_is_a_cut():
  cuts, video = shots.Cuts(FPS), pan(1, num_frames=30)
  for index, frame in enumerate(video):
    cuts.add(frame, after_loss=index == 17)
  assert cuts.indices() == [17]


def test_shots_lie_between_cuts_and_clips_in_shots():
  times = [index / 10 for index in range(100)]
  found = shots.shots_of([30, 34], times, 10.0)
  assert [tuple(shot) for shot in found] == [(0.0, 3.0), (3.0, 3.4), (3.4, 10.0)]
  clips = shots.clips_of(found, length=1.4, margin=0.2)
  starts, room = np.transpose(clips)
  np.testing.assert_allclose(starts, [0.0, 1.4, 3.6, 5.0, 6.4, 7.8])
  np.testing.assert_allclose(room, [0, 0, 0.8, 0.8, 0.8, 0.8], atol=1e-9)
  # A file of exactly one clip gives it, although its times are rounded.
  assert shots.clips_of([shots.Shot(0.0, 1.9995)], 2.0, 0.1) == [(0.0, 0.0)]


def test_a_file_without_frames_has_no_shots():
  assert shots.shots_of([], [], 0.0) == []
