"""Held against MusPy's own figures on random songs, and against songs whose answer is known."""

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from music.measures.descriptors import (
    DESCRIPTORS,
    describe,
    empty_beat_rate,
    groove_consistency,
    pitch_class_entropy,
    polyphony_rate,
    scale_consistency,
)
from music.song import TICKS_PER_QUARTER, Song
from music.statistics import bar_ticks


def melody(pitches, duration=24, gap=24, time_signature=None):
    notes = [(gap * place, duration, pitch, 80, 0) for place, pitch in enumerate(pitches)]
    return Song(np.array(notes, np.int32).reshape(-1, 5), time_signature=time_signature)


def to_muspy(song):
    import muspy

    notes = [muspy.Note(int(t), int(p), int(d), int(v)) for t, d, p, v, _ in song.notes]
    return muspy.Music(resolution=TICKS_PER_QUARTER, tracks=[muspy.Track(notes=notes)])


@st.composite
def short_songs(draw):
    """Up to 24 notes within some bars, since MusPy's own piano roll is a whole matrix."""
    note = st.tuples(
        st.one_of(st.sampled_from([0, 24, 96, 192]), st.integers(0, 700)),
        st.one_of(st.sampled_from([12, 24, 96]), st.integers(1, 300)),
        st.one_of(st.integers(58, 64), st.integers(0, 127)),
        st.just(80),
        st.integers(0, 3),
    )
    notes = draw(st.lists(note, min_size=1, max_size=24))
    return Song(np.array(notes, np.int32), time_signature=draw(st.sampled_from([None, "3/4"])))


@given(short_songs())
def test_every_figure_is_muspys(song):
    from muspy import metrics

    music, bar = to_muspy(song), int(bar_ticks(song.time_signature))
    expected = {
        "scale_consistency": metrics.scale_consistency(music),
        "pitch_class_entropy": metrics.pitch_class_entropy(music),
        "groove_consistency": metrics.groove_consistency(music, bar),
        "polyphony_rate": metrics.polyphony_rate(music),
        "empty_beat_rate": metrics.empty_beat_rate(music),
    }
    assert describe(song) == pytest.approx(expected, nan_ok=True)


@given(short_songs(), st.integers(-11, 11))
def test_no_figure_changes_when_a_song_is_transposed(song, semitones):
    pitches = song.notes[:, 2]
    assume(pitches.min() + semitones >= 0)
    assume(pitches.max() + semitones <= 127)
    moved = describe(song.transpose(semitones))
    assert moved == pytest.approx(describe(song), nan_ok=True)


def test_a_major_scale_is_in_its_scale_and_a_chromatic_one_in_none():
    assert scale_consistency(melody([60, 62, 64, 65, 67, 69, 71, 72])) == 1.0
    assert scale_consistency(melody(range(60, 72))) == pytest.approx(7 / 12)


def test_the_entropy_of_pitch_classes_counts_bits():
    assert pitch_class_entropy(melody([60, 72, 48])) == 0.0
    assert pitch_class_entropy(melody([60, 61] * 4)) == pytest.approx(1.0)
    assert pitch_class_entropy(melody(range(60, 72))) == pytest.approx(math.log2(12))


def test_bars_of_one_rhythm_have_the_same_groove_in_their_own_metre():
    waltz = melody([60] * 12, duration=23, time_signature="3/4")
    assert groove_consistency(waltz) == 1.0
    halting = Song(np.array([(0, 24, 60, 80, 0), (97, 24, 60, 80, 0)], np.int32))
    assert groove_consistency(halting) == pytest.approx(1 - 2 / 96)


def test_three_voices_are_polyphonic_and_two_are_not():
    two = Song(np.array([(0, 48, 60, 80, 0), (0, 48, 64, 80, 0)], np.int32))
    assert polyphony_rate(two) == 0.0
    three = Song(np.array([*two.notes, (0, 24, 67, 80, 0)], np.int32))
    assert polyphony_rate(three) == 0.5
    unison = Song(np.array([*two.notes, (0, 24, 64, 80, 1)], np.int32))
    assert polyphony_rate(unison) == 0.0


def test_silent_beats_are_counted():
    # Beats 0, 1 (the end lies on it), then 2 and 3 empty, then 4 and 5.
    assert empty_beat_rate(melody([60, 60], gap=96)) == pytest.approx(2 / 6)


def test_a_song_without_notes_has_no_figures():
    assert all(math.isnan(value) for value in describe(melody([])).values())
    assert set(describe(melody([60]))) == set(DESCRIPTORS)
