"""What a model knows of a song: all of it, or what its vocabulary lets through."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given

from music.codec import BOUNDARY, MAX_TICKS, ChordsCodec, NotesCodec
from music.measures.heard import as_heard
from music.measures.originality import SongIndex
from music.song import DURATION, ONSET, PITCH, Song
from music.vocabulary import build_vocabulary


def vocabulary_of(codec, songs, **options):
    events = np.concatenate([codec.encode(song) for song in songs])
    counts = [Counter(events[:, column].tolist()) for column in range(len(codec.fields))]
    return build_vocabulary(codec, counts, **options)


def tune(steps, pitches, parts=None):
    notes = np.zeros((len(steps), 5), np.int32)
    notes[:, ONSET], notes[:, DURATION], notes[:, PITCH] = np.cumsum(steps), 12, pitches
    notes[:, 3], notes[:, 4] = 80, 0 if parts is None else parts
    return Song(notes, id="a" * 64, title="a tune", time_signature="3/4")


@given(...)
def test_a_vocabulary_that_keeps_all_hears_all(song: Song):
    if not len(song):
        return
    heard = as_heard(song, vocabulary_of(NotesCodec(), [song]))
    within = (np.diff(song.notes[:, ONSET], prepend=0) <= MAX_TICKS).all()
    if within and (song.notes[:, DURATION] <= MAX_TICKS).all():
        assert heard.song.notes[:, :3].tolist() == song.notes[:, :3].tolist()
        assert heard.onsets.tolist() == song.notes[:, ONSET].tolist()


@given(...)
def test_every_note_that_is_heard_comes_from_an_onset_of_the_song(song: Song):
    for codec in (NotesCodec(), ChordsCodec()):
        if len(song):
            heard = as_heard(song, vocabulary_of(codec, [song]))
            assert len(heard.onsets) == len(heard.song)
            assert set(heard.onsets.tolist()) <= {0, *song.notes[:, ONSET].tolist()}


def test_rare_steps_are_moved_and_the_bar_is_still_the_composers():
    plain = tune([24] * 200, [60 + n % 12 for n in range(200)])
    rubato = tune([25] * 200, [60 + n * 7 % 12 for n in range(200)])
    heard = as_heard(rubato, vocabulary_of(NotesCodec(), [plain]))
    assert set(np.diff(heard.song.notes[:, ONSET]).tolist()) == {24}
    assert heard.onsets.tolist() == rubato.notes[:, ONSET].tolist()
    assert (heard.song.title, heard.song.time_signature) == ("a tune", "3/4")
    stolen = Song(heard.song.notes[190:])
    copy = SongIndex.of([heard]).originality(stolen).longest
    # The cycle of twelve pitches stands there many times; the first is named.
    assert copy.source_bar == rubato.notes[:, ONSET][190 % 12] // 72 + 1


def test_the_papers_tokens_are_heard_part_by_part_and_lead_back_to_their_onsets():
    song = tune([0, 24, 0, 24], [60, 50, 72, 55], parts=[0, 1, 0, 1])
    known = vocabulary_of(ChordsCodec(), [song], closed=True)
    heard = as_heard(song, known)
    assert heard.song.notes[:, PITCH].tolist() == [60, 72, 50, 55]
    assert heard.song.notes[:, ONSET].tolist() == [0, 12, 24, 36]
    assert heard.onsets.tolist() == [0, 24, 24, 48]


def test_what_a_closed_vocabulary_drops_is_not_heard():
    song = tune([24] * 5, [60, 61, 60, 62, 60])
    known = vocabulary_of(ChordsCodec(), [song], min_count=2, closed=True)
    heard = as_heard(song, known)
    assert heard.song.notes[:, PITCH].tolist() == [60, 60, 60]
    assert heard.onsets.tolist() == [24, 72, 120]


@pytest.mark.parametrize("codec", [NotesCodec(), ChordsCodec()])
def test_a_song_without_notes_is_heard_as_nothing(codec):
    known = vocabulary_of(codec, [tune([24], [60])])
    heard = as_heard(Song(np.zeros((0, 5), np.int32)), known)
    assert len(heard.song) == len(heard.onsets) == 0


@given(...)
def test_every_event_has_an_onset_in_the_order_of_the_codec(song: Song):
    for codec in (NotesCodec(), ChordsCodec()):
        events, onsets = codec.encode(song), codec.onsets(song)
        assert len(events) == len(onsets)
        if codec.name == "notes" and len(song):
            inner = onsets[events[:, 1] != BOUNDARY]
            assert inner.tolist() == song.notes[:, ONSET].tolist()
