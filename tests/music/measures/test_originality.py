"""Copies that were made on purpose are found, with their place; what is new is not."""

import io
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from music.measures.heard import Heard
from music.measures.originality import (
    COPY_LENGTHS,
    SelfBorrowing,
    SongIndex,
    symbols,
)
from music.song import Song


def random_song(seed, count=100, time_signature="4/4"):
    rng = np.random.default_rng(seed)
    notes = np.zeros((count, 5), np.int32)
    notes[:, 0] = np.cumsum(rng.choice([6, 12, 18, 24, 36], count))
    notes[:, 1] = 12
    notes[:, 2] = rng.integers(40, 90, count)
    notes[:, 3] = 80
    return Song(notes, id=f"{seed:064d}", title=f"song {seed}", time_signature=time_signature)


def excerpt(song, first, count, later=0, higher=0):
    """Some of a song's notes as a song of their own, moved in time and in pitch."""
    notes = song.notes[first : first + count].copy()
    notes[:, 0] += later - notes[0, 0]
    notes[:, 2] += higher
    return notes


def index_of(songs):
    return SongIndex.of([Heard(song, song.notes[:, 0]) for song in songs])


def self_borrowing(index, songs):
    return SelfBorrowing.of([index.originality(song, leave_out=True) for song in songs])


@pytest.fixture(scope="module")
def songs():
    return [random_song(seed) for seed in range(12)]


@pytest.fixture(scope="module")
def index(songs):
    return index_of(songs)


@pytest.mark.parametrize("higher", [0, 5, -7])
def test_a_copy_in_any_key_is_found_with_its_place(songs, index, higher):
    new = random_song(99, count=30)
    stolen = excerpt(songs[4], 50, 20, later=new.end + 5 * 96, higher=higher)
    song = Song(np.concatenate([new.notes, stolen]), time_signature="4/4")
    found = index.originality(song)
    copy = found.longest
    assert copy.notes == found.run == 20
    assert (copy.first, copy.source, copy.title) == (30, songs[4].id, "song 4")
    assert copy.bar == stolen[0, 0] // 96 + 1
    assert copy.source_bar == songs[4].notes[50, 0] // 96 + 1


def test_bars_are_those_of_each_songs_own_metre(songs):
    waltz = random_song(7, time_signature="3/4")
    song = Song(excerpt(waltz, 60, 30), time_signature="2/4")
    copy = index_of([waltz]).originality(song).longest
    assert copy.bar == 1
    assert copy.source_bar == waltz.notes[60, 0] // 72 + 1


def test_a_verbatim_copy_is_copied_wholly_and_a_new_song_not_at_all(songs, index):
    copied = index.originality(Song(excerpt(songs[3], 0, 100)))
    assert copied.rates == dict.fromkeys(COPY_LENGTHS, 1.0)
    assert copied.run == 100
    new = index.originality(random_song(50))
    assert new.rates[8] == new.rates[16] == new.rates[32] == 0.0
    assert new.run < 6


def test_a_rate_is_the_share_of_runs_that_stand_elsewhere(songs, index):
    half = np.concatenate(
        [excerpt(songs[0], 10, 20), excerpt(random_song(77), 0, 20, later=10_000)]
    )
    # Of 37 runs of four notes 17 lie wholly in what was copied.
    assert index.originality(Song(half)).rates[4] == pytest.approx(17 / 37)


def test_a_change_of_rhythm_is_no_copy(songs, index):
    notes = excerpt(songs[2], 0, 60)
    notes[:, 0] *= 2
    assert index.originality(Song(notes)).run < 10


def test_songs_too_short_for_a_figure_have_none(index):
    one = index.originality(Song(np.array([(0, 12, 60, 80, 0)], np.int32)))
    assert one.longest is None
    assert one.run == 1
    assert all(math.isnan(rate) for rate in one.rates.values())
    assert index.originality(Song(np.zeros((0, 5), np.int32))).longest is None


def test_a_real_song_is_held_against_all_others_but_itself(songs):
    borrowed = Song(
        np.concatenate([songs[0].notes, excerpt(songs[1], 20, 15, later=songs[0].end + 24)]),
        id="f" * 64,
        title="borrowed",
    )
    index = index_of([*songs[1:], borrowed])
    found = index.originality(borrowed, leave_out=True)
    assert (found.run, found.longest.title) == (15, "song 1")
    # And the other way round.
    assert index.originality(songs[1], leave_out=True).longest.title == "borrowed"
    runs = self_borrowing(index, [*songs[1:], borrowed]).runs
    assert runs[-2:] == (15, 15)
    assert max(runs[:-2]) < 8
    with pytest.raises(KeyError):
        index.originality(songs[0], leave_out=True)


def test_two_versions_of_one_song_allow_no_copies(songs):
    notes = songs[0].notes.copy()
    notes[50:, 0] += 3  # one edition holds a note longer
    version = Song(notes, id="e" * 64, title="another edition")
    own = self_borrowing(index_of([*songs, version]), [*songs, version])
    assert own.versions == 2
    assert len(own.runs) == len(songs) - 1
    assert own.bound(100) < 8


def test_the_bound_is_the_composers_own():
    own = SelfBorrowing(tuple(range(1, 101)), dict.fromkeys(COPY_LENGTHS, ()))
    assert own.bound() == 96
    assert own.bound(100) == 100
    assert own.percentile(96) == 95.0
    assert own.percentile(200) == 100.0
    assert SelfBorrowing.from_dict(own.as_dict()) == own
    for runs in ((), (9,), (3, 9, 9, 9)):
        few = SelfBorrowing(runs, {})
        assert few.bound() is None
        assert few.percentile(5) is None
    assert SelfBorrowing((3, 4, 5, 6, 9), {}).bound() == 9


def test_an_index_is_read_as_it_was_written_and_its_bytes_are_the_songs_alone(songs, index):
    files = [io.BytesIO(), io.BytesIO()]
    index.save(files[0])
    index_of(songs).save(files[1])
    assert files[0].getvalue() == files[1].getvalue()
    read = SongIndex.load(files[0])
    song = Song(excerpt(songs[5], 3, 40, higher=2))
    assert read.originality(song) == index.originality(song)
    assert len(read) == len(songs)


def test_what_is_no_index_is_refused():
    with pytest.raises(ValueError, match="no index of songs"):
        SongIndex.load(io.BytesIO(b"something else"))


@given(song=..., semitones=st.integers(-20, 20), ticks=st.integers(0, 500))
def test_symbols_stay_when_a_song_is_moved(song: Song, semitones, ticks):
    notes = song.notes.copy()
    notes[:, 2] = np.clip(notes[:, 2], 20, 107)
    moved = notes + np.array([ticks, 0, semitones, 0, 0], np.int32)
    assert symbols(Song(moved)).tolist() == symbols(Song(notes)).tolist()
