"""Notes on the screen as they come."""

import io

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from music.codec import ChordsCodec, NotesCodec
from pipeline.terminal_notes import NoteLines

NOTES, CHORDS = NotesCodec(), ChordsCodec()


def written(codec, events, *cuts):
    out = io.StringIO()
    lines = NoteLines(out)
    for part in np.split(np.array(events, np.int32), cuts):
        lines(codec, part)
    lines.end()
    return out.getvalue()


def test_a_line_is_a_bar_and_a_word_a_chord():
    events = [[90, 60, 12], [0, 64, 12], [24, 62, 12], [72, 67, 12], [0, 70, 12]]
    assert written(NOTES, events) == "   1  C4+E4 D4\n   2  G4+B-4\n"


def test_silence_of_bars_is_passed_over_with_their_numbers():
    assert written(NOTES, [[0, 60, 1], [300, 62, 1]]) == "   1  C4\n   4  D4\n"


def test_tokens_come_eight_a_bar():
    told = written(CHORDS, [[60]] * 9 + [[128 + 0b10010001]])
    assert told == "   1  C4 C4 C4 C4 C4 C4 C4 C4\n   2  C4 0.4.7\n"


def test_a_bar_of_many_notes_goes_over_several_lines():
    lines = written(NOTES, [[0, 60, 1]] + [[3, 62, 1]] * 20).splitlines()
    assert [len(line.split()) - 1 for line in lines] == [16, 5]
    assert {line.split()[0] for line in lines} == {"1"}


def test_nothing_is_no_line():
    assert written(NOTES, np.zeros((0, 3))) == ""


EVENTS = st.lists(
    st.tuples(st.sampled_from([0, 0, 6, 12, 50]), st.integers(0, 128), st.integers(1, 9)),
    min_size=1, max_size=40,
)  # fmt: skip


@settings(deadline=None)
@given(EVENTS, st.lists(st.integers(0, 40), max_size=4).map(sorted))
def test_the_pieces_in_which_they_come_leave_no_trace(events, cuts):
    assert written(NOTES, events, *cuts) == written(NOTES, events)


@settings(deadline=None)
@given(EVENTS)
def test_every_note_is_shown_once_and_in_order(events):
    told = written(NOTES, events)
    names = [word for line in told.splitlines() for word in line.split()[1:]]
    shown = [name for word in names for name in word.split("+")]
    assert shown == [NOTES.label(1, pitch) for _, pitch, _ in events]
