"""The matrix of notes that everything else reads."""

import dataclasses

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from music.song import DURATION, ONSET, PART, PITCH, VELOCITY, Song

songs = st.from_type(Song)


def music_of(song):
    """(onset, duration, pitch) from the first note on, the slow and obvious way."""
    notes = sorted((int(n[ONSET]), int(n[PITCH]), int(n[DURATION])) for n in song.notes)
    return [(o - notes[0][0], d, p - notes[0][1]) for o, p, d in notes]


@given(songs, st.randoms(use_true_random=False))
def test_notes_are_sorted_whatever_order_they_come_in(song, random):
    rows = song.notes.tolist()
    random.shuffle(rows)
    shuffled = Song(rows)
    assert shuffled == song
    assert song.notes.tolist() == sorted(
        rows, key=lambda n: (n[ONSET], n[PITCH], n[DURATION], n[VELOCITY], n[PART])
    )


def test_notes_go_by_onset_pitch_duration_velocity_and_part():
    ordered = [
        (0, 24, 60, 80, 1),
        (0, 6, 62, 80, 1),
        (0, 12, 62, 70, 1),
        (0, 12, 62, 80, 0),
        (0, 12, 62, 80, 1),
        (6, 3, 50, 10, 0),
    ]
    assert Song(ordered[::-1]).notes.tolist() == [list(note) for note in ordered]


def test_notes_are_int32_in_five_columns_and_an_empty_song_has_no_rows():
    assert Song([(0, 6, 60, 80, 0)]).notes.dtype == np.int32
    empty = Song([])
    assert empty.notes.shape == (0, 5)
    assert (len(empty), empty.end, empty.parts) == (0, 0, [])


def test_a_song_cannot_be_changed():
    given_notes = np.array([(0, 6, 60, 80, 0), (6, 6, 62, 80, 0)], np.int32)
    song = Song(given_notes, title="minuet")
    with pytest.raises(ValueError, match="read-only"):
        song.notes[0, PITCH] = 1
    with pytest.raises(dataclasses.FrozenInstanceError):
        song.title = "gavotte"
    given_notes[0, PITCH] = 1
    assert song.notes[0, PITCH] == 60


@pytest.mark.parametrize(
    "change",
    [
        {"notes": [(0, 6, 60, 81, 0)]},
        {"id": "b"},
        {"title": "gavotte"},
        {"tempo": 60.0},
        {"key": "A minor"},
        {"time_signature": "3/4"},
        {"percussion": 1},
    ],
    ids=lambda change: next(iter(change)),
)
def test_songs_are_equal_when_notes_and_facts_are(change):
    facts = {"id": "a", "title": "minuet", "tempo": 90.0, "percussion": 3}
    song = Song([(0, 6, 60, 80, 0)], **facts)
    same = Song([(0, 6, 60, 80, 0)], **facts)
    assert song == same
    assert hash(song) == hash(same)
    assert song != dataclasses.replace(song, **change)
    assert song != "minuet"


def test_the_end_is_that_of_the_note_that_sounds_longest():
    assert Song([(0, 96, 48, 80, 0), (24, 24, 60, 80, 0)]).end == 96


def test_parts_are_those_that_have_notes():
    assert Song([(0, 6, 60, 80, 4), (0, 6, 67, 80, 1), (6, 6, 60, 80, 4)]).parts == [1, 4]


@given(songs, st.integers(-140, 140))
def test_transposing_moves_pitches_alone_and_stays_inside_midi(song, semitones):
    moved = song.notes[:, PITCH] + semitones
    if len(song) and not (moved.min() >= 0 and moved.max() <= 127):
        with pytest.raises(ValueError, match="0..127"):
            song.transpose(semitones)
        return
    there = song.transpose(semitones)
    assert np.array_equal(there.notes[:, PITCH], moved)
    assert np.array_equal(np.delete(there.notes, PITCH, 1), np.delete(song.notes, PITCH, 1))
    assert there.transpose(-semitones) == song


@pytest.mark.parametrize(("pitch", "semitones"), [(127, 1), (0, -1)])
def test_the_outermost_pitches_are_reached_and_not_left(pitch, semitones):
    song = Song([(0, 6, pitch - semitones, 80, 0)])
    assert song.transpose(semitones).notes[0, PITCH] == pitch
    with pytest.raises(ValueError, match=f"transposing by {2 * semitones} "):
        song.transpose(2 * semitones)


def test_transposing_keeps_what_else_is_known():
    song = Song([(0, 6, 60, 80, 0)], id="a", title="minuet", tempo=90.0, percussion=2)
    assert song.transpose(2) == dataclasses.replace(song, notes=[(0, 6, 62, 80, 0)])


@given(songs, st.data())
def test_a_fingerprint_ignores_key_beginning_velocities_parts_and_titles(song, data):
    notes = song.notes.copy()
    if len(notes):
        low, high = -int(notes[:, PITCH].min()), 127 - int(notes[:, PITCH].max())
        notes[:, PITCH] += data.draw(st.integers(low, high))
        notes[:, ONSET] += data.draw(st.integers(0, 5_000))
        notes[:, VELOCITY] = data.draw(
            st.lists(st.integers(1, 127), min_size=len(notes), max_size=len(notes))
        )
        notes[:, PART] = data.draw(
            st.lists(st.integers(0, 9), min_size=len(notes), max_size=len(notes))
        )
    assert Song(notes, id="x", title="y", tempo=50.0).fingerprint() == song.fingerprint()


@given(songs, st.data())
def test_a_fingerprint_changes_with_a_single_note(song, data):
    assume(len(song) > 0)
    notes = song.notes.copy()
    row = data.draw(st.integers(0, len(notes) - 1))
    column = data.draw(st.sampled_from([ONSET, DURATION, PITCH]))
    notes[row, column] += 1
    other = Song(notes)
    assume(music_of(other) != music_of(song))
    assert other.fingerprint() != song.fingerprint()


@given(songs, songs)
def test_fingerprints_are_equal_exactly_for_the_same_music(one, other):
    same = music_of(one) == music_of(other)
    assert (one.fingerprint() == other.fingerprint()) == same


@given(songs)
def test_a_note_more_is_other_music(song):
    assume(len(song) > 0)
    assert Song(song.notes[:-1]).fingerprint() != song.fingerprint()


@given(st.lists(st.tuples(*[st.integers(0, 2)] * 5), max_size=12), st.randoms())
def test_rows_have_one_order_however_they_came(rows, random):
    wanted = sorted(rows, key=lambda row: (row[0], row[2], row[1], row[3], row[4]))
    for _ in range(3):
        assert Song(np.array(rows, np.int32).reshape(-1, 5)).notes.tolist() == list(
            map(list, wanted)
        )
        random.shuffle(rows)
    assert Song(np.array(wanted, np.int32).reshape(-1, 5)).notes.tolist() == list(map(list, wanted))
