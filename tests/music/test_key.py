"""The key that a song's notes suggest."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from music import key as keys
from music.errors import SegueError
from music.key import Key, estimate_key, parse_tonic
from music.song import Song

SCALES = {"major": (0, 2, 4, 5, 7, 9, 11), "minor": (0, 2, 3, 5, 7, 8, 10)}
TRIADS = {"major": (0, 4, 7), "minor": (0, 3, 7)}


def song_of(pitches, durations):
    rows = [(12 * i, d, p, 80, 0) for i, (p, d) in enumerate(zip(pitches, durations, strict=True))]
    return Song(np.array(rows, np.int32).reshape(-1, 5))


@pytest.mark.parametrize("mode", ["major", "minor"])
@pytest.mark.parametrize("tonic", range(12))
def test_a_scale_with_its_triad_is_in_its_key(mode, tonic):
    pitches = [48 + tonic + step for step in (*SCALES[mode], *TRIADS[mode])]
    assert estimate_key(song_of(pitches, [12] * 7 + [48] * 3)) == Key(tonic, mode)


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(30, 90), st.integers(1, 96)), min_size=1, max_size=30),
    st.integers(-25, 25),
)
def test_the_key_moves_with_the_song(notes, semitones):
    pitches, durations = map(list, zip(*notes, strict=True))
    song = song_of(pitches, durations)
    before = estimate_key(song)
    assume(before is not None)
    # Of keys that fit alike (a diminished chord has several) any may be named.
    sounding = np.bincount(np.array(pitches) % 12, durations, minlength=12)
    fits = sorted(
        np.corrcoef(sounding, np.roll(profile, tonic))[0, 1]
        for profile in (keys._MAJOR, keys._MINOR)
        for tonic in range(12)
    )
    assume(fits[-1] - fits[-2] > 1e-9)
    after = estimate_key(song.transpose(semitones))
    assert after == Key((before.tonic + semitones) % 12, before.mode)


def test_length_counts_and_octave_does_not():
    assert estimate_key(song_of([60, 64, 67, 62], [96, 48, 48, 1])) == Key(0, "major")
    assert estimate_key(song_of([36, 88, 67, 26], [96, 48, 48, 1])) == Key(0, "major")
    assert estimate_key(song_of([60, 64, 67, 62], [1, 1, 1, 400])).tonic == 2


def test_silence_and_noise_have_no_key():
    assert estimate_key(Song(np.zeros((0, 5)))) is None
    assert estimate_key(song_of(range(60, 72), [12] * 12)) is None


@settings(deadline=None)
@given(st.integers(0, 11), st.sampled_from(["major", "minor"]))
def test_signatures_follow_the_circle_of_fifths(tonic, mode):
    key = Key(tonic, mode)
    assert -6 <= key.sharps <= 6
    relative = tonic if mode == "major" else tonic + 3
    assert (7 * key.sharps - relative) % 12 == 0


@pytest.mark.parametrize(
    ("text", "tonic"),
    [("C", 0), ("c", 0), ("F#", 6), ("Eb", 3), ("e-", 3), ("B♭", 10), ("F♯", 6), ("b", 11),
     ("bb", 10), ("Cb", 11), ("B#", 0), (" G ", 7)],
)  # fmt: skip
def test_a_tonic_is_read_as_musicians_write_it(text, tonic):
    assert parse_tonic(text) == tonic


@pytest.mark.parametrize("text", ["", "H", "C##", "Ebb", "C minor", "1", "#C", "C\nD"])
def test_what_is_no_tonic_is_told(text):
    with pytest.raises(SegueError, match="is no tonic; name one as in C, F#, Eb"):
        parse_tonic(text)
