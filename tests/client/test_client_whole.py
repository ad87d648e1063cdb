"""A given piece and its continuation as one song."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from client.assembling import onset_in_bar, song_of, whole_bar
from client.making import Made
from client.priming import Prime, prime_from_nothing, section_of
from client.whole import with_prime
from music.codec import ChordsCodec, NotesCodec
from music.song import ONSET, PART, Song

NOTES, CHORDS = NotesCodec(), ChordsCodec()
NEW = np.array([[18, 90, 12], [0, 95, 12], [6, 91, 300]], np.int32)


def made_of(codec, prime, events):
    onset = onset_in_bar(codec, prime, events)
    return Made(events, np.zeros(len(events), np.float32),
                song_of(codec, events, prime.song, onset), None)  # fmt: skip


_NOTE = st.tuples(
    st.integers(0, 300), st.integers(1, 90), st.integers(20, 80), st.just(70), st.integers(0, 3)
)


def pieces():
    return st.lists(_NOTE, min_size=2, max_size=20).map(
        lambda notes: Song(np.array(notes), id="a" * 64, tempo=90.0, time_signature="3/4")
    )


@settings(deadline=None)
@given(pieces(), st.integers(2, 30))
def test_the_continuation_comes_where_the_model_played_it(song, length):
    prime = section_of(song, NOTES, length)
    made = made_of(NOTES, prime, NEW)
    whole = with_prime(NOTES, prime, made)
    new = whole.notes[:, 2] >= 90
    mine, given_part = whole.notes[new], whole.notes[~new]
    # A part of its own after those that were heard.
    assert set(mine[:, PART]) == {given_part[:, PART].max() + 1}
    last = int(NOTES.onsets(song)[prime.offset + len(prime) - 1])
    assert mine[:, ONSET].tolist() == [last + 18, last + 18, last + 24]
    # In the same place of the bar as alone, bars later.
    assert (mine[0, ONSET] - made.song.notes[0, ONSET]) % whole_bar(song) == 0
    assert mine[:, 2].tolist() == [90, 95, 91]
    assert (whole.tempo, whole.time_signature) == (90.0, "3/4")


@settings(deadline=None)
@given(pieces(), st.integers(2, 30))
def test_the_piece_keeps_its_notes_up_to_the_last_that_was_heard(song, length):
    prime = section_of(song, NOTES, length)
    whole = with_prime(NOTES, prime, made_of(NOTES, prime, NEW))
    given_part = whole.notes[whole.notes[:, 2] < 90]
    heard = prime.offset + len(prime) - 1  # without the opening boundary
    assert np.array_equal(given_part, song.notes[:heard])
    assert len(whole) == heard + len(NEW)


def test_tokens_follow_tokens():
    song = Song(np.array([(0, 12, 60, 80, 0), (96, 12, 62, 80, 0), (200, 12, 64, 80, 1)], np.int32))
    prime = Prime(CHORDS.encode(song), "file", song)
    made = made_of(CHORDS, prime, np.array([[70], [72]], np.int32))
    whole = with_prime(CHORDS, prime, made)
    assert whole.notes[:, [ONSET, 2, PART]].tolist() == [
        [0, 60, 0], [12, 62, 0], [24, 64, 0], [36, 70, 1], [48, 72, 1],
    ]  # fmt: skip


def test_a_song_from_nothing_continues_no_other():
    prime = prime_from_nothing(NOTES)
    with pytest.raises(ValueError, match="continues no other"):
        with_prime(NOTES, prime, made_of(NOTES, prime, NEW))


def test_the_parts_of_a_piece_of_many_stay_apart():
    notes = np.array([(i * 12, 12, 60, 80, i) for i in range(30)], np.int32)
    song = Song(notes, id="b" * 64)
    prime = dataclasses.replace(section_of(song, NOTES, 31), kind="file")
    whole = with_prime(NOTES, prime, made_of(NOTES, prime, NEW))
    assert whole.parts == list(range(31))
