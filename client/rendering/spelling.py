"""Which key a song stands in, how its pitches are spelled, and where accidentals stand.

MIDI has no F sharp and no G flat, only a black key. Here each pitch class gets the
name that lies nearest to the key on the line of fifths, so that a key's own notes need
no accidentals and its neighbours need the usual ones. A song that names no key gets the
one whose profile its pitch classes resemble most.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from music.song import DURATION, PITCH, Song

# Krumhansl and Kessler's probe-tone ratings, tonic first (Krumhansl 1990, "Cognitive
# Foundations of Musical Pitch", Oxford University Press, table 2.1).
_MAJOR = (6.35, 2.23, 3.48, 2.33, 4.38, 4.09, 2.52, 5.19, 2.39, 3.66, 2.29, 2.88)
_MINOR = (6.33, 2.68, 3.52, 5.38, 2.60, 3.53, 2.54, 4.75, 3.98, 2.69, 3.34, 3.17)

# Steps in the order of the line of fifths; F is at -1, C at 0.
_FIFTHS = "FCGDAEB"
_STEPS = "CDEFGAB"
# How far the names reach from the key signature's C: A major scale goes from -1 to 5.
_FLATWARD = {"major": 3, "minor": 2}


@dataclasses.dataclass(frozen=True)
class ScoreKey:
    """A key as a score needs it.

    Attributes:
      sharps: of the signature; negative for flats, -7..7.
      mode: major or minor.
    """

    sharps: int
    mode: str


@dataclasses.dataclass(frozen=True)
class Spelling:
    """A pitch as it is written: step C..B, alteration -2..2, octave (C4 is MIDI 60)."""

    step: str
    alter: int
    octave: int

    @property
    def line(self) -> int:
        """The line or space that it stands on; one more is the next higher one."""
        return self.octave * 7 + _STEPS.index(self.step)


def key_of(song: Song) -> ScoreKey:
    """The song's own key, else the one that its pitch classes resemble most."""
    return _named(song.key) if song.key else estimate_key(song)


def _named(key: str) -> ScoreKey:
    """From a name such as "B- minor"."""
    tonic, mode = key.split()
    place = _FIFTHS.index(tonic[0]) - 1 + 7 * (tonic.count("#") - tonic.count("-"))
    return ScoreKey(place - (3 if mode == "minor" else 0), mode)


def estimate_key(song: Song) -> ScoreKey:
    """The best of 24 keys, by correlation with the profiles of Krumhansl and Kessler.

    A pitch class weighs as long as it sounds, in all. The signature has at most six
    sharps or five flats.
    """
    weights = np.bincount(
        song.notes[:, PITCH] % 12, song.notes[:, DURATION].astype(float), minlength=12
    )
    if np.ptp(weights) == 0:
        return ScoreKey(0, "major")
    best = max(
        (float(np.corrcoef(np.roll(profile, tonic), weights)[0, 1]), -tonic, mode)
        for mode, profile in (("minor", _MINOR), ("major", _MAJOR))
        for tonic in range(12)
    )
    tonic, mode = -best[1], best[2]
    major = (tonic + 3) % 12 if mode == "minor" else tonic
    # Fifths from C: the number in -5..6 that leads to the relative major.
    sharps = (7 * major + 5) % 12 - 5
    return ScoreKey(sharps, mode)


def speller(key: ScoreKey) -> list[tuple[str, int, int]]:
    """For each pitch class its step, its alteration, and what its octave differs by."""
    names: list[tuple[str, int, int]] = [("C", 0, 0)] * 12
    first = key.sharps - _FLATWARD[key.mode]
    for place in range(first, first + 12):
        alter, index = divmod(place + 1, 7)
        step = _FIFTHS[index]
        natural = (0, 2, 4, 5, 7, 9, 11)[_STEPS.index(step)]
        pitch_class = (natural + alter) % 12
        # B sharp sounds in the octave above its name, C flat in the one below.
        names[pitch_class] = (step, alter, -((natural + alter) // 12))
    return names


def spell(names: list[tuple[str, int, int]], pitch: int) -> Spelling:
    """How a pitch is written; `names` as `speller` gives them."""
    step, alter, octaves = names[pitch % 12]
    return Spelling(step, alter, pitch // 12 - 1 + octaves)


class Accidentals:
    """Decides note by note on one staff whether an accidental is printed.

    One holds for its bar, line and staff. In the next bar a sign is repeated as a
    reminder where the last bar's has to be forgotten.
    """

    def __init__(self, key: ScoreKey) -> None:
        signs = _FIFTHS[: key.sharps] if key.sharps >= 0 else _FIFTHS[key.sharps :]
        self._signature = dict.fromkeys(signs, 1 if key.sharps > 0 else -1)
        self._now: dict[int, int] = {}
        self._before: dict[int, int] = {}

    def begin_bar(self) -> None:
        """A bar line: nothing holds any more."""
        # What was altered two bars ago and has not come since needs no reminder.
        self._before, self._now = self._now, {}

    def is_shown(self, spelling: Spelling, tied: bool) -> bool:
        """Whether a note shows its accidental; one that is tied from before does not."""
        usual = self._signature.get(spelling.step, 0)
        line = spelling.line
        if tied:
            return False
        expected = self._now.get(line, usual)
        reminded = line not in self._now and self._before.get(line, usual) != spelling.alter
        self._now[line] = spelling.alter
        return spelling.alter != expected or reminded
