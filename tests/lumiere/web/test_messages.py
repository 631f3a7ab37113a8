"""Messages are text, never markup, and show the progress of a job."""

import pytest

from lumiere.web import messages
from lumiere.web.studio import Progress


def test_messages_are_text_not_markup():
  assert "&lt;b&gt;" in messages.failed(ValueError("<b>\nis no picture"))
  assert "&lt;b&gt;" in messages.working("style <b>", Progress())


def test_sentences_are_capitalized_but_not_names_of_files():
  assert ">The seed is missing.<" in messages.failed("the seed is missing")
  assert ">a.png is no picture.<" in messages.failed("a.png is no picture.")


@pytest.mark.parametrize(
  ("report", "words"),
  [
    (Progress(), "Starting."),
    (Progress(ahead=1), "Queued: 1 video ahead."),
    (Progress(ahead=3), "Queued: 3 videos ahead."),
    (Progress(0, "base video", 2, 50), 'Base video, step 3 of 50.</div><progress value="2" max="50">'),
    (Progress(0, "super-resolution", 0, 9, compiling=True), "Super-resolution, step 1 of 9. Compiling, once"),
    (Progress(cancelling=True), "Cancelling after"),
  ],
)  # fmt: skip
def test_progress_is_shown(report, words):
  said = messages.working("8 frames", report)
  assert words in said and "8 frames." in said
  assert ("Compiling" in said) == report.compiling


def test_fractions_are_refused():
  assert messages.whole("seed", 3.0) == 3
  for value in (None, 0.5):
    with pytest.raises(ValueError, match="the seed must be a whole number"):
      messages.whole("seed", value)
