"""Note values stand where a reader expects them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from client.rendering.meter import SIXTEENTH, VALUES, meter_of, split_note, split_rest

from .conftest import SIGNATURES

Q, E, S = 24, 12, 6


@st.composite
def spans(draw):
    meter = meter_of(draw(st.sampled_from(SIGNATURES)))
    steps = meter.bar // SIXTEENTH
    start = draw(st.integers(0, steps - 1))
    return meter, start * SIXTEENTH, draw(st.integers(start + 1, steps)) * SIXTEENTH


@given(spans())
def test_a_span_is_filled_with_values_that_exist(span):
    meter, start, stop = span
    for split in (split_note, split_rest):
        pieces = split(meter, start, stop)
        assert [piece[0] for piece in pieces] == [start, *(piece[1] for piece in pieces[:-1])]
        assert pieces[-1][1] == stop
        assert all(end - begin in VALUES for begin, end in pieces)


@given(spans())
def test_no_rest_crosses_a_beat_that_it_does_not_begin_on(span):
    meter, start, stop = span
    for begin, end in split_rest(meter, start, stop):
        crossed = [place for place in meter.beat_lines if begin < place < end]
        assert not crossed or begin in meter.beat_lines


@pytest.mark.parametrize(
    ("signature", "start", "stop", "values"),
    [
        ("4/4", 0, 96, [96]),
        ("4/4", 12, 36, [24]),  # the plain syncopation
        ("4/4", 36, 60, [12, 12]),  # over the middle of the bar
        ("4/4", 24, 72, [48]),
        ("4/4", 24, 96, [72]),
        ("4/4", 12, 48, [36]),
        ("4/4", 0, 30, [24, 6]),
        ("4/4", 18, 42, [6, 18]),
        ("4/4", 0, 18, [18]),
        ("3/4", 0, 72, [72]),
        ("3/4", 12, 60, [12, 36]),
        ("6/8", 0, 72, [72]),
        ("6/8", 24, 48, [12, 12]),
        ("6/8", 0, 48, [36, 12]),
        ("9/8", 0, 108, [72, 36]),
        ("5/4", 0, 120, [96, 24]),
        ("7/8", 0, 84, [48, 36]),
        ("4/2", 0, 192, [96, 96]),
    ],
)
def test_notes_are_tied_where_they_would_hide_the_beat(signature, start, stop, values):
    pieces = split_note(meter_of(signature), start, stop)
    assert [end - begin for begin, end in pieces] == values


@pytest.mark.parametrize(
    ("signature", "start", "stop", "values"),
    [
        ("4/4", 0, 48, [48]),
        ("4/4", 24, 72, [24, 24]),
        ("3/4", 24, 72, [24, 24]),
        ("4/4", 6, 48, [6, 12, 24]),
        ("6/8", 0, 72, [36, 36]),
        ("6/8", 36, 60, [24]),
        ("12/8", 0, 72, [72]),
    ],
)
def test_rests_show_the_beats(signature, start, stop, values):
    pieces = split_rest(meter_of(signature), start, stop)
    assert [end - begin for begin, end in pieces] == values


def test_what_sixteenths_cannot_fill_is_read_in_four_four():
    for signature in ("5/64", "1/32", "99/4", "1/16"):
        assert meter_of(signature).signature == "4/4"
    assert meter_of(None).signature == "4/4"
    assert meter_of("3/16").signature == "3/16"
