"""Songs cut into examples, so that nothing is scored twice or without context."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from music.errors import SegueError
from music.windows import WindowSpec

totals, lengths = st.integers(0, 120), st.integers(1, 20)


def song_of(total):
    """Events that say where they stand."""
    return np.stack([np.arange(total), -np.arange(total)], axis=1).astype(np.int32)


@given(totals, lengths)
def test_every_scores_each_event_but_the_first_exactly_once(total, length):
    windows = WindowSpec(length, "every").cut(song_of(total))
    scored = [int(event) for w in windows for event in w.events[len(w.events) - w.scored :, 0]]
    assert scored == list(range(1, total))


@given(totals, lengths)
def test_every_gives_a_scored_event_a_full_context_or_the_songs_beginning(total, length):
    for window in WindowSpec(length, "every").cut(song_of(total)):
        context = len(window.events) - window.scored
        assert context >= length or window.offset == 0
        assert context >= 1


@given(totals, lengths, st.sampled_from(["every", "last"]))
def test_a_window_is_a_stretch_of_the_song_no_longer_than_promised(total, length, form):
    spec, events = WindowSpec(length, form), song_of(total)
    for window in spec.cut(events):
        assert 2 <= len(window.events) <= spec.max_events
        assert 1 <= window.scored <= spec.max_scored
        stretch = events[window.offset : window.offset + len(window.events)]
        assert np.array_equal(window.events, stretch)


def test_every_starts_a_window_each_length_events():
    windows = list(WindowSpec(4, "every").cut(song_of(14)))
    shapes = [(w.offset, len(w.events), w.scored) for w in windows]
    assert shapes == [(0, 5, 4), (0, 9, 4), (4, 9, 4), (8, 6, 1)]
    assert max(size for _, size, _ in shapes) == WindowSpec(4, "every").max_events == 9


@given(totals, lengths)
def test_last_slides_by_one_and_scores_the_last(total, length):
    windows = list(WindowSpec(length, "last").cut(song_of(total)))
    assert [w.offset for w in windows] == list(range(max(0, total - length)))
    assert all(len(w.events) == length + 1 and w.scored == 1 for w in windows)
    assert [int(w.events[-1, 0]) for w in windows] == list(range(length, total))


@pytest.mark.parametrize(
    ("form", "max_events", "max_scored"), [("every", 151, 75), ("last", 76, 1)]
)
def test_a_spec_tells_its_largest_window(form, max_events, max_scored):
    spec = WindowSpec(form=form)
    assert (spec.length, spec.max_events, spec.max_scored) == (75, max_events, max_scored)


@pytest.mark.parametrize("form", ["every", "last"])
@pytest.mark.parametrize("total", [0, 1])
def test_a_song_with_nothing_to_predict_has_no_windows(form, total):
    assert list(WindowSpec(1, form).cut(song_of(total))) == []


@pytest.mark.parametrize("length", [0, -1, 4097])
def test_a_length_out_of_range_is_a_line_for_a_person(length):
    with pytest.raises(SegueError, match=f"window length {length} is outside 1..4096"):
        WindowSpec(length)
    assert WindowSpec(1).length == 1
    assert WindowSpec(4096).length == 4096


def test_an_unknown_form_is_a_line_for_a_person():
    with pytest.raises(SegueError, match="'first' does not exist; choose every or last"):
        WindowSpec(75, "first")


def test_a_spec_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        WindowSpec().length = 3
