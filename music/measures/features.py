"""The nine features by which two sets of songs are compared.

After Yang and Lerch 2020, "On the evaluation of generative models in music" (Neural
Computing and Applications 32), and their program mgeval: four of pitch, three of
rhythm, each a number, a vector or a matrix of one song. mgeval reads one track of a
MIDI file; a `Song` is read over all parts, by onset and then pitch, so that "two
consecutive notes" are neighbours in that order. Times are in quarters, not seconds:
a tempo is a player's choice.
"""

from __future__ import annotations

import numpy as np

from music.song import DURATION, ONSET, PITCH, TICKS_PER_QUARTER, Song

# Whole, half, quarter, eighth, sixteenth; the same dotted from the half on; and
# triplets of half, quarter and eighth, in ticks: mgeval's twelve.
NOTE_LENGTHS = np.array([96, 48, 24, 12, 6, 72, 36, 18, 9, 32, 16, 8])


def pitch_count(song: Song) -> np.ndarray:
    """float64[1]: how many different pitches there are."""
    return np.array([len(np.unique(song.notes[:, PITCH]))], float)


def note_count(song: Song) -> np.ndarray:
    """float64[1]: how many notes there are."""
    return np.array([len(song)], float)


def pitch_class_histogram(song: Song) -> np.ndarray:
    """float64[12]: share of the sounding time by pitch class; zeros without notes."""
    time = np.bincount(song.notes[:, PITCH] % 12, weights=song.notes[:, DURATION], minlength=12)
    return time / max(time.sum(), 1)


def pitch_class_transition_matrix(song: Song) -> np.ndarray:
    """float64[12, 12]: share of the pairs of consecutive notes, from row to column."""
    return _transitions(song.notes[:, PITCH] % 12, 12)


def pitch_range(song: Song) -> np.ndarray:
    """float64[1]: from the lowest pitch to the highest, semitones; 0 without notes."""
    pitches = song.notes[:, PITCH]
    return np.array([np.ptp(pitches) if len(pitches) else 0], float)


def mean_pitch_interval(song: Song) -> np.ndarray:
    """float64[1]: the mean size of the step from a note to the next, semitones."""
    steps = np.abs(np.diff(song.notes[:, PITCH]))
    return np.array([steps.mean() if len(steps) else 0.0])


def mean_inter_onset_interval(song: Song) -> np.ndarray:
    """float64[1]: the mean time from a note's onset to the next's, quarters."""
    steps = np.diff(song.notes[:, ONSET])
    return np.array([steps.mean() / TICKS_PER_QUARTER if len(steps) else 0.0])


def note_length_histogram(song: Song) -> np.ndarray:
    """float64[12]: share of the notes by the nearest of `NOTE_LENGTHS`."""
    counts = np.bincount(_lengths(song), minlength=len(NOTE_LENGTHS))
    return counts / max(len(song), 1)


def note_length_transition_matrix(song: Song) -> np.ndarray:
    """float64[12, 12]: share of the pairs of consecutive notes, from row to column."""
    return _transitions(_lengths(song), len(NOTE_LENGTHS))


def _lengths(song: Song) -> np.ndarray:
    """int64[N]: of each note the nearest of `NOTE_LENGTHS`, the longer one of two."""
    order = np.argsort(-NOTE_LENGTHS)
    distance = np.abs(song.notes[:, DURATION, None] - NOTE_LENGTHS[order])
    return order[distance.argmin(axis=1)]


def _transitions(classes: np.ndarray, count: int) -> np.ndarray:
    pairs = classes[:-1] * count + classes[1:]
    matrix = np.bincount(pairs, minlength=count * count).reshape(count, count)
    return matrix / max(len(pairs), 1)


FEATURES = {
    "pitch_count": pitch_count,
    "note_count": note_count,
    "pitch_class_histogram": pitch_class_histogram,
    "pitch_class_transition_matrix": pitch_class_transition_matrix,
    "pitch_range": pitch_range,
    "mean_pitch_interval": mean_pitch_interval,
    "mean_inter_onset_interval": mean_inter_onset_interval,
    "note_length_histogram": note_length_histogram,
    "note_length_transition_matrix": note_length_transition_matrix,
}


def features(song: Song) -> dict[str, np.ndarray]:
    """All nine, each flat, by name: float64[1], [12] or [144]."""
    return {name: feature(song).ravel() for name, feature in FEATURES.items()}
