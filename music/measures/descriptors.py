"""Five numbers that say what a song sounds like, as MusPy defines them.

Each reads a `Song` and returns one float, NaN where it is not defined (a song without
notes, say). Definitions: Dong, Chen, McAuley and Berg-Kirkpatrick 2020, "MusPy: A
Toolkit for Symbolic Music Generation" (ISMIR); where MusPy's own code departs from a
printed formula, its code is followed. A test holds them against MusPy's on random
songs. They are written anew because MusPy takes a song note by note, through objects
of its own: here a song is a matrix already, and a catalogue has thousands.
"""

from __future__ import annotations

import math

import numpy as np

from music.song import DURATION, ONSET, PITCH, TICKS_PER_QUARTER, Song
from music.statistics import bar_ticks

_MAJOR = (0, 2, 4, 5, 7, 9, 11)
_MINOR = (0, 2, 3, 5, 7, 8, 10)
_SCALES = np.array(
    [
        [(pitch_class - root) % 12 in scale for pitch_class in range(12)]
        for scale in (_MAJOR, _MINOR)
        for root in range(12)
    ]
)


def pitch_class_counts(song: Song) -> np.ndarray:
    """int64[12]: notes by pitch class, C first."""
    return np.bincount(song.notes[:, PITCH] % 12, minlength=12)


def scale_consistency(song: Song) -> float:
    """The largest share of notes inside any one major or natural minor scale, 0..1.

    Mogren 2016, "C-RNN-GAN" (NeurIPS workshop), as MusPy's `scale_consistency`.
    """
    counts = pitch_class_counts(song)
    return float((_SCALES @ counts).max() / counts.sum()) if counts.any() else math.nan


def pitch_class_entropy(song: Song) -> float:
    """Shannon entropy of the notes' pitch classes, bits, 0..log2(12).

    Wu and Yang 2020, "The Jazz Transformer on the Front Line" (ISMIR), as MusPy's
    `pitch_class_entropy`.
    """
    counts = pitch_class_counts(song)
    if not counts.any():
        return math.nan
    shares = counts[counts > 0] / counts.sum()
    return float(-(shares * np.log2(shares)).sum()) + 0.0


def groove_consistency(song: Song) -> float:
    """How alike the onsets of neighbouring bars are, 0..1.

    One less the mean Hamming distance between the onset patterns of each two bars that
    follow one another; a bar has a place a tick. Wu and Yang 2020, as MusPy's
    `groove_consistency`. NaN for songs of less than two bars. The bar is that of the
    song's time signature, of 4/4 where it has none.
    """
    width = max(1, round(bar_ticks(song.time_signature)))
    bars = song.end // width + 1
    if bars < 2:
        return math.nan
    struck = np.unique(song.notes[:, ONSET])
    # A place that is struck in both of two bars cancels out: what is counted are onsets
    # with none a bar before, and onsets with none a bar after.
    alone_before = ~np.isin(struck - width, struck) & (struck >= width)
    alone_after = ~np.isin(struck + width, struck) & (struck // width < bars - 1)
    differing = int(alone_before.sum()) + int(alone_after.sum())
    return 1 - differing / (width * (bars - 1))


def _sounding(song: Song) -> np.ndarray:
    """int64[ticks]: how many pitches sound at each tick, each pitch once."""
    notes = song.notes[np.argsort(song.notes[:, PITCH], kind="stable")].astype(np.int64)
    begins, ends, pitches = notes[:, ONSET], notes[:, ONSET] + notes[:, DURATION], notes[:, PITCH]
    # Notes of one pitch that overlap are one: each begins where those before it end.
    above = pitches * (song.end + 1)
    latest = np.maximum.accumulate(np.concatenate([[0], (ends + above)[:-1]])) - above
    begins = np.clip(np.maximum(begins, latest), None, ends)
    changes = np.bincount(begins, minlength=song.end + 1)
    changes = changes - np.bincount(ends, minlength=song.end + 1)
    return np.cumsum(changes)[:-1]


def polyphony_rate(song: Song, threshold: int = 2) -> float:
    """The share of ticks at which more than `threshold` pitches sound, 0..1.

    Dong et al. 2018, "MuseGAN" (AAAI), as MusPy's `polyphony_rate`, which counts ticks
    with more pitches than the threshold, not with that many.
    """
    if not len(song):
        return math.nan
    return float((_sounding(song) > threshold).mean())


def empty_beat_rate(song: Song) -> float:
    """The share of beats (quarters) in which no note sounds, 0..1.

    As MusPy's `empty_beat_rate`: a note counts in each beat from that of its onset to
    that of its end, both included.
    """
    if not len(song):
        return math.nan
    beats = song.end // TICKS_PER_QUARTER + 1
    first = song.notes[:, ONSET] // TICKS_PER_QUARTER
    last = (song.notes[:, ONSET] + song.notes[:, DURATION]) // TICKS_PER_QUARTER
    changes = np.bincount(first, minlength=beats + 1)
    changes = changes - np.bincount(last + 1, minlength=beats + 1)
    return float((np.cumsum(changes)[:beats] == 0).mean())


DESCRIPTORS = {
    "scale_consistency": scale_consistency,
    "pitch_class_entropy": pitch_class_entropy,
    "groove_consistency": groove_consistency,
    "polyphony_rate": polyphony_rate,
    "empty_beat_rate": empty_beat_rate,
}


def describe(song: Song) -> dict[str, float]:
    """All five, by name."""
    return {name: measure(song) for name, measure in DESCRIPTORS.items()}
