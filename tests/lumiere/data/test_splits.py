"""Files that are held out."""

from lumiere.data import splits

NAMES = [f"{index}.mp4" for index in range(1000)]


def test_of_two_files_or_more_neither_split_is_empty():
  for count in range(2, 30):
    for share in (0.001, 0.5, 0.999):
      assert 0 < len(splits.held_out(NAMES[:count], share)) < count
  assert splits.held_out(["one.mp4"], 0.5) == set() == splits.held_out(NAMES, 0)


def test_about_the_share_is_held_out_and_a_file_stays_where_it_is():
  held_out = splits.held_out(NAMES, 0.1)
  assert 70 < len(held_out) < 130
  assert splits.held_out(NAMES[:200], 0.1) == held_out & set(NAMES[:200])
