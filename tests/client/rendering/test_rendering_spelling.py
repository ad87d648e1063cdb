"""Keys, names and accidentals."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from client.rendering.spelling import (
    Accidentals,
    ScoreKey,
    estimate_key,
    key_of,
    spell,
    speller,
)

from .conftest import STEPS, song_of

MODES = ("major", "minor")
keys = st.builds(ScoreKey, st.integers(-7, 7), st.sampled_from(MODES))


@given(keys, st.integers(12, 127))
def test_a_name_sounds_as_its_pitch(key, pitch):
    spelling = spell(speller(key), pitch)
    assert 12 * (spelling.octave + 1) + STEPS[spelling.step] + spelling.alter == pitch


@given(keys)
def test_a_keys_own_notes_need_no_accidentals(key):
    tonic = 7 * key.sharps % 12
    accidentals = Accidentals(key)
    accidentals.begin_bar()
    for degree in (0, 2, 4, 5, 7, 9, 11):
        assert not accidentals.is_shown(spell(speller(key), 60 + (tonic + degree) % 12), False)


@pytest.mark.parametrize(
    ("key", "pitch", "name"),
    [
        (ScoreKey(0, "minor"), 68, ("G", 1)),  # A minor's leading note
        (ScoreKey(0, "minor"), 63, ("D", 1)),
        (ScoreKey(0, "major"), 63, ("E", -1)),
        (ScoreKey(-3, "minor"), 71, ("B", 0)),
        (ScoreKey(7, "major"), 60, ("B", 1)),
        (ScoreKey(-6, "major"), 71, ("C", -1)),
    ],
)
def test_pitches_are_spelled_by_the_key(key, pitch, name):
    spelling = spell(speller(key), pitch)
    assert (spelling.step, spelling.alter) == name


@pytest.mark.parametrize("tonic", range(12))
@pytest.mark.parametrize("mode", MODES)
def test_a_cadence_is_in_its_key(tonic, mode):
    third = 4 if mode == "major" else 3
    chords = [(0, third, 7, 12), (5, 5 + third, 12), (7, 11, 14), (0, third, 7, 12)]
    rows = [(24 * n, 24, 48 + tonic + note) for n, chord in enumerate(chords) for note in chord]
    key = estimate_key(song_of(rows))
    major = tonic if mode == "major" else tonic + 3
    assert (key.mode, 7 * key.sharps % 12) == (mode, major % 12)
    assert -5 <= key.sharps <= 6


@pytest.mark.parametrize(
    ("name", "sharps"),
    [("C major", 0), ("F# minor", 3), ("B- major", -2), ("A- minor", -7), ("C# major", 7)],
)
def test_a_songs_own_key_counts(name, sharps):
    assert key_of(song_of([(0, 24, 60)], key=name)).sharps == sharps


def test_an_accidental_holds_for_its_bar_and_line():
    key = ScoreKey(0, "major")
    names = speller(key)
    accidentals = Accidentals(key)
    accidentals.begin_bar()
    sharp, natural, above = (spell(names, pitch) for pitch in (66, 65, 78))
    shown = [accidentals.is_shown(note, False) for note in (sharp, sharp, natural, above)]
    assert shown == [True, False, True, True]


def test_the_next_bar_is_reminded_once():
    key = ScoreKey(0, "major")
    names = speller(key)
    sharp, natural = spell(names, 66), spell(names, 65)
    accidentals = Accidentals(key)
    accidentals.begin_bar()
    accidentals.is_shown(sharp, False)
    accidentals.begin_bar()
    assert [accidentals.is_shown(natural, False) for _ in range(2)] == [True, False]
    accidentals.begin_bar()
    assert not accidentals.is_shown(natural, False)


def test_a_tied_note_repeats_no_accidental_but_the_next_one_does():
    key = ScoreKey(0, "major")
    sharp = spell(speller(key), 66)
    accidentals = Accidentals(key)
    accidentals.begin_bar()
    accidentals.is_shown(sharp, False)
    accidentals.begin_bar()
    assert not accidentals.is_shown(sharp, True)
    assert accidentals.is_shown(sharp, False)
