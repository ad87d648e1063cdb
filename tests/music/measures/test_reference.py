"""Real songs together, and a new one held against them."""

import dataclasses
import math

import numpy as np
import pytest

from music.measures.heard import Heard
from music.measures.originality import SongIndex
from music.measures.reference import Reference, Spread, measure
from music.song import Song


def song_of(seed, count=90):
    rng = np.random.default_rng(seed)
    notes = np.zeros((count, 5), np.int32)
    notes[:, 0] = np.cumsum(rng.choice([6, 12, 24], count))
    notes[:, 1], notes[:, 2], notes[:, 3] = 12, rng.integers(50, 80, count), 80
    return Song(notes, id=f"{seed:064d}", title=f"song {seed}")


@pytest.fixture(scope="module")
def songs():
    return [song_of(seed) for seed in range(12)]


@pytest.fixture(scope="module")
def index(songs):
    return SongIndex.of([Heard(song, song.notes[:, 0]) for song in songs])


@pytest.fixture(scope="module")
def reference(songs, index):
    return Reference.of([measure(song, index, leave_out=True) for song in songs])


def test_a_song_like_the_others_stands_among_them(index, reference):
    new = measure(song_of(77), index)
    assert reference.degeneration(new) == []
    assert new.originality.run <= reference.borrowing.bound()
    assert all(abs(score) < 4 for score in reference.scores(new).values() if score == score)


def test_a_copy_and_a_loop_stand_out(songs, index, reference):
    copied = measure(dataclasses.replace(songs[3], id=""), index)
    assert copied.originality.run > reference.borrowing.bound()
    assert reference.borrowing.percentile(copied.originality.run) == 100.0
    looped = measure(Song(np.array([(12 * n, 12, 60, 80, 0) for n in range(1, 61)])), index)
    assert "the same event for 60 events, over 16" in reference.degeneration(looped)
    assert reference.scores(looped)["pitch_class_entropy"] < -3


def test_a_reference_is_read_as_it_was_written(reference):
    assert Reference.from_json(reference.to_json()).to_json() == reference.to_json()
    assert Reference.from_json(reference.to_json()).borrowing == reference.borrowing


def test_what_no_song_has_is_not_a_number_and_is_null_in_json(index):
    short = [song_of(seed, count=2) for seed in (20, 21)]
    own = SongIndex.of([Heard(song, song.notes[:, 0]) for song in short])
    one = Reference.of([measure(song, own, leave_out=True) for song in short])
    assert "NaN" not in one.to_json()
    assert math.isnan(Spread.of([math.nan]).mean)
    assert Spread.of([2.0, math.nan, 4.0]).score(3.0) == 0.0
    assert math.isnan(Spread.of([2.0, 2.0]).score(2.0))


def test_a_score_counts_deviations():
    assert Spread(2.0, 4.0).score(10.0) == 2.0
    assert Spread.of([1.0, 3.0, 5.0]).score(9.0) == pytest.approx(3.0)


def test_no_song_is_refused():
    with pytest.raises(ValueError, match="no real song has a note"):
        Reference.of([])
