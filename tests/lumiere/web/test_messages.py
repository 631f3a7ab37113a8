"""What the page says: text, never markup; where an order stands."""

import pytest

from lumiere.web import messages
from lumiere.web.studio import Report


def test_messages_are_text_not_markup():
  assert "&lt;b&gt;" in messages.failed(ValueError("<b>\nis no picture"))
  assert "&lt;b&gt;" in messages.working("style <b>", Report())


def test_sentences_begin_large_and_names_of_files_as_they_are():
  assert ">The seed is missing.<" in messages.failed("the seed is missing")
  assert ">a.png is no picture.<" in messages.failed("a.png is no picture.")


@pytest.mark.parametrize(
  ("report", "words"),
  [
    (Report(), "Starting."),
    (Report(before=1), "In the queue: one video is made first."),
    (Report(before=3), "In the queue: 3 videos are made first."),
    (Report(0, "base video", 2, 50), 'Base video, step 3 of 50.</div><progress value="2" max="50">'),
    (Report(0, "super-resolution", 0, 9, compiles=True), "Super-resolution, step 1 of 9. It waits for its program"),
    (Report(stops=True), "Cancelled: it ends with"),
  ],
)  # fmt: skip
def test_where_an_order_stands(report, words):
  said = messages.working("8 frames", report)
  assert words in said and "8 frames." in said
  assert ("compiled" in said) == report.compiles


def test_numbers_that_are_no_whole_ones_are_refused():
  assert messages.whole("seed", 3.0) == 3
  for value in (None, 0.5):
    with pytest.raises(ValueError, match="the seed must be a whole number"):
      messages.whole("seed", value)
