"""Where songs begin in their bar, and where they end."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from client.assembling import (
    BAR,
    CHORD,
    ENDINGS,
    End,
    check_ending,
    end_of,
    event_onsets,
    events_to_ask,
    from_first_note,
    onset_in_bar,
    song_of,
    whole_bar,
)
from client.priming import Prime, prime_from_nothing, section_of
from music.codec import ChordsCodec, NotesCodec
from music.errors import SegueError
from music.song import DURATION, ONSET, Song

NOTES, CHORDS = NotesCodec(), ChordsCodec()
BARS = st.sampled_from([1, 2, 36, 72, 96, 120])


def played(*steps, pitch=60, duration=12):
    return np.array([(step, pitch, duration) for step in steps], np.int32)


_EVENT = st.tuples(
    st.sampled_from([0, 0, 3, 6, 12, 24, 100]), st.integers(0, 127), st.integers(1, 300)
)


def events(least=1):
    return st.lists(_EVENT, min_size=least, max_size=30).map(lambda made: np.array(made, np.int32))


def ended(made):
    return np.concatenate([made, [[made[0, 0], 128, 0]]])


# endings


@settings(deadline=None)
@given(events(), st.integers(1, 70), st.sampled_from(ENDINGS), BARS, st.integers(0, 95))
def test_an_ending_cuts_no_chord(made, steps, ending, bar, onset):
    end = end_of(NOTES, made, steps, ending, bar, onset)
    assert 1 <= end.events <= len(made)
    if end.events < len(made):
        assert made[end.events, 0] > 0


@settings(deadline=None)
@given(events(), st.integers(1, 70), st.sampled_from(ENDINGS), BARS, st.integers(0, 95))
def test_nothing_that_is_wanted_is_dropped_unless_the_model_gave_no_more(
    made, steps, ending, bar, onset
):
    end = end_of(NOTES, made, steps, ending, bar, onset)
    onsets = event_onsets(NOTES, made, onset)
    line = (onsets[min(steps, len(made)) - 1] // bar + 1) * bar
    reaches = onsets[-1] >= line if ending == BAR else (made[steps:, 0] > 0).any()
    if reaches:
        assert end.events >= steps


@settings(deadline=None)
@given(events(), st.integers(1, 70), st.integers(0, 95))
def test_a_song_is_no_longer_than_to_the_next_chord(made, steps, onset):
    end = end_of(NOTES, made, steps, CHORD, 96, onset)
    assert not made[steps : end.events, 0].any()
    assert end.tick is None


@settings(deadline=None)
@given(events(), st.integers(1, 70), BARS, st.integers(0, 95))
def test_past_the_bar_line_nothing_sounds(made, steps, bar, onset):
    end = end_of(NOTES, made, steps, BAR, bar, onset)
    song = song_of(NOTES, made[: end.events], None, onset, end.tick)
    assert len(song) == end.events
    if end.tick is not None:
        assert end.tick % bar == 0
        assert song.end <= end.tick
        assert song.notes[:, ONSET].max() >= end.tick - bar or end.events < len(made)
        whole = song_of(NOTES, made[: end.events], None, onset)
        assert (song.notes[:, DURATION] <= whole.notes[:, DURATION]).all()
        assert np.array_equal(song.notes[:, ONSET], whole.notes[:, ONSET])


@settings(deadline=None)
@given(events(20), st.integers(1, 12), BARS)
def test_whatever_the_ending_the_song_begins_with_the_same_notes(made, steps, bar):
    songs = []
    for ending in ENDINGS:
        end = end_of(NOTES, made, steps, ending, bar)
        songs.append(song_of(NOTES, made[: end.events], None, 0).notes[:, [0, 2]].tolist())
    short, long = sorted(songs, key=len)
    # Rows stand by onset and pitch: cut at a chord, one is the other's beginning.
    assert long[: len(short)] == short


def test_a_bar_ends_at_the_line_after_the_last_event_that_is_wanted():
    quarters = played(*[24] * 12)
    assert end_of(NOTES, quarters, 6, BAR, 96, 0) == End(8, 192)
    # The fifth quarter begins the second bar, the fourth is in the first.
    assert end_of(NOTES, quarters, 5, BAR, 96, 0) == End(8, 192)
    assert end_of(NOTES, quarters, 4, BAR, 96, 0) == End(4, 96)
    # With an upbeat of a quarter the first bar has one.
    assert end_of(NOTES, quarters, 4, BAR, 96, 72) == End(5, 192)


def test_a_chord_is_whole_or_gone():
    made = played(0, 0, 0, 12, 0, 0, 12, 0)
    assert [end_of(NOTES, made, steps, CHORD, 96).events for steps in range(1, 8)] == [
        3, 3, 3, 6, 6, 6, 6,
    ]  # fmt: skip


def test_a_song_that_does_not_reach_the_line_ends_at_the_one_before():
    made = played(*[24] * 7)
    assert end_of(NOTES, made, 7, BAR, 96, 0) == End(4, 96)
    # Nor that: it ends as with a chord.
    assert end_of(NOTES, played(0, 24, 24), 3, BAR, 96, 0) == End(2)


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_song_that_ended_by_itself_has_ended(ending):
    made = ended(played(*[24] * 7))
    assert end_of(NOTES, made, 20, ending, 96) == End(8)
    assert end_of(NOTES, made, 8, ending, 96) == End(8)
    # After what was wanted, and before the ending that it was played on for.
    assert end_of(NOTES, made, 6, BAR, 960) == End(8)
    together = np.concatenate([played(24, 24, 24, 0, 0), [[0, 128, 0]]])
    assert end_of(NOTES, together, 4, ending, 960) == End(6)


def test_no_events_make_no_song():
    for ending in ENDINGS:
        assert end_of(NOTES, played()[:0].reshape(0, 3), 5, ending, 96) == End(0)
        assert end_of(CHORDS, np.zeros((0, 1), np.int32), 5, ending, 96) == End(0)


def test_tokens_are_chords_already():
    tokens = np.full((30, 1), 60, np.int32)
    assert end_of(CHORDS, tokens[:10], 10, CHORD, 96) == End(10)
    assert end_of(CHORDS, tokens, 10, BAR, 96) == End(16, 192)
    assert events_to_ask(CHORDS, 10, CHORD, 100) == 10
    assert events_to_ask(CHORDS, 10, BAR, 100) > 10


@settings(deadline=None)
@given(st.integers(1, 3000), st.sampled_from(ENDINGS), st.integers(1, 2000))
def test_more_is_asked_for_than_wanted_and_no_more_than_is_made(steps, ending, most):
    asked = events_to_ask(NOTES, steps, ending, most)
    assert asked >= steps
    assert asked <= max(steps, most)
    if most > steps:
        assert asked > steps


def test_an_ending_that_does_not_exist_is_told():
    assert [check_ending(ending) for ending in ENDINGS] == list(ENDINGS)
    with pytest.raises(SegueError, match="ending 'fade' does not exist; choose one of: chord, bar"):
        check_ending("fade")


# places


@settings(deadline=None)
@given(events(3), st.integers(1, 40), st.sampled_from(["2/4", "3/4", "4/4", "6/8", None]))
def test_a_song_keeps_the_place_in_the_bar_that_it_would_have_had(made, length, signature):
    """The prime and what follows, as one song: its onsets are those of the parts."""
    song = dataclasses.replace(NOTES.decode(made), time_signature=signature)
    prime = section_of(song, NOTES, length)
    bar = whole_bar(song)
    new = played(18, 6, 12)
    onset = onset_in_bar(NOTES, prime, new)
    last = int(NOTES.onsets(song)[prime.offset + len(prime) - 1])
    assert (last + 18 - onset) % bar == 0
    assert 0 <= onset < bar
    first = song_of(NOTES, new, song, onset)
    assert first.notes[:, ONSET].tolist() == [onset, onset + 6, onset + 18]
    assert first.time_signature == signature


def test_a_song_from_nothing_begins_where_the_model_has_it_begin():
    prime = prime_from_nothing(NOTES)
    assert onset_in_bar(NOTES, prime, played(72, 24)) == 72
    assert onset_in_bar(NOTES, prime, played(96 + 72, 24)) == 72
    assert onset_in_bar(NOTES, prime, played()[:0].reshape(0, 3)) == 0
    tokens = np.array([[60]], np.int32)
    assert onset_in_bar(CHORDS, Prime(tokens, "file", CHORDS.decode(tokens)), tokens) == 0


@pytest.mark.parametrize(
    ("signature", "ticks"), [("4/4", 96), ("3/4", 72), ("6/8", 72), ("1/64", 2), (None, 96)]
)
def test_a_bar_is_a_whole_number_of_ticks(signature, ticks):
    assert whole_bar(Song(np.zeros((0, 5)), time_signature=signature)) == ticks
    assert whole_bar(None) == 96


@settings(deadline=None)
@given(events(), st.integers(0, 200))
def test_events_begin_at_their_onset_and_keep_their_distances(made, onset):
    before = made.copy()
    own = from_first_note(NOTES, made, onset)
    assert np.array_equal(made, before), "the caller's events stay as they are"
    onsets = event_onsets(NOTES, made, onset)
    assert onsets[0] == onset
    assert np.array_equal(np.diff(onsets), made[1:, 0])
    assert np.array_equal(np.cumsum(own[:, 0]), onsets)


def test_what_sounds_is_stopped_and_never_shorter_than_a_tick():
    made = played(0, 24, 24, duration=200)
    song = song_of(NOTES, made, None, 0, 40)
    assert song.notes[:, DURATION].tolist() == [40, 16, 1]
