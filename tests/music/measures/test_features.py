"""The nine features on songs small enough to be worked out by hand."""

import numpy as np
import pytest
from hypothesis import given

from music.measures.features import FEATURES, NOTE_LENGTHS, features
from music.song import Song

# A quarter C, an eighth E, an eighth C an octave above, half a quarter of silence before
# the last: onsets 0, 24, 48 ticks.
SONG = Song(np.array([(0, 24, 60, 80, 0), (24, 12, 64, 80, 0), (48, 12, 72, 80, 0)], np.int32))


def test_features_of_a_song_worked_out_by_hand():
    found = features(SONG)
    assert found["pitch_count"] == 3
    assert found["note_count"] == 3
    assert found["pitch_range"] == 12
    assert found["mean_pitch_interval"] == (4 + 8) / 2
    assert found["mean_inter_onset_interval"] == 1.0
    time = np.zeros(12)
    time[[0, 4]] = 36 / 48, 12 / 48
    assert found["pitch_class_histogram"] == pytest.approx(time)
    moves = np.zeros((12, 12))
    moves[0, 4] = moves[4, 0] = 0.5
    assert found["pitch_class_transition_matrix"] == pytest.approx(moves.ravel())
    quarter, eighth = NOTE_LENGTHS.tolist().index(24), NOTE_LENGTHS.tolist().index(12)
    lengths = np.zeros(12)
    lengths[[quarter, eighth]] = 1 / 3, 2 / 3
    assert found["note_length_histogram"] == pytest.approx(lengths)
    changes = np.zeros((12, 12))
    changes[quarter, eighth] = changes[eighth, eighth] = 0.5
    assert found["note_length_transition_matrix"] == pytest.approx(changes.ravel())


@pytest.mark.parametrize(("ticks", "nearest"), [(25, 24), (1, 6), (500, 96), (7, 8), (34, 36)])
def test_a_length_counts_as_the_nearest_of_twelve_and_of_two_as_the_longer(ticks, nearest):
    song = Song(np.array([(0, ticks, 60, 80, 0)], np.int32))
    place = features(song)["note_length_histogram"].argmax()
    assert NOTE_LENGTHS[place] == nearest


@given(...)
def test_every_song_has_finite_features_and_shares_that_add_up(song: Song):
    found = features(song)
    assert list(found) == list(FEATURES)
    for name, value in found.items():
        assert np.isfinite(value).all()
        if name.endswith(("histogram", "matrix")):
            least = 2 if name.endswith("matrix") else 1
            assert value.sum() == pytest.approx(float(len(song) >= least))
