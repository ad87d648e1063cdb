"""The key of a song, estimated from how long each pitch class sounds.

Krumhansl and Schmuckler's way (Krumhansl 1990, "Cognitive Foundations of Musical
Pitch", chapter 4): the durations of the twelve pitch classes are correlated with the
profile of each major and minor key, as listeners rated them (Krumhansl and Kessler
1982), and the highest correlation wins.
"""

from __future__ import annotations

import dataclasses
import re

import numpy as np

from music.errors import SegueError
from music.song import DURATION, PITCH, Song

# Krumhansl and Kessler 1982, from the tonic upwards.
_MAJOR = (6.35, 2.23, 3.48, 2.33, 4.38, 4.09, 2.52, 5.19, 2.39, 3.66, 2.29, 2.88)
_MINOR = (6.33, 2.68, 3.52, 5.38, 2.60, 3.53, 2.54, 4.75, 3.98, 2.69, 3.34, 3.17)
_LETTERS = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}
# Sharps (positive) or flats of the key signatures, by tonic: the fewer of two spellings.
_MAJOR_SHARPS = (0, -5, 2, -3, 4, -1, 6, 1, -4, 3, -2, 5)


@dataclasses.dataclass(frozen=True)
class Key:
    """A tonic and a mode.

    Attributes:
      tonic: pitch class, 0 is C.
      mode: `major` or `minor`.
    """

    tonic: int
    mode: str

    @property
    def sharps(self) -> int:
        """Of its key signature; flats are negative: -6..6."""
        return _MAJOR_SHARPS[self.tonic if self.mode == "major" else (self.tonic + 3) % 12]


def estimate_key(song: Song) -> Key | None:
    """The key that a song's notes suggest; None where they suggest none.

    None is told of a song without notes, and of one in which all twelve pitch classes
    sound equally long.
    """
    sounding = np.bincount(song.notes[:, PITCH] % 12, song.notes[:, DURATION], minlength=12)
    if not sounding.any() or np.ptp(sounding) == 0:
        return None
    keys = [Key(tonic, mode) for mode in ("major", "minor") for tonic in range(12)]
    profiles = [np.roll(_MAJOR if key.mode == "major" else _MINOR, key.tonic) for key in keys]
    # All profiles of a mode have one mean and one spread, so nothing is divided by them
    # twice: `corrcoef` does the whole of it.
    correlation = np.corrcoef(np.vstack([sounding, profiles]))[0, 1:]
    return keys[int(correlation.argmax())]


def parse_tonic(text: str) -> int:
    """The pitch class of `D`, `F#`, `Eb`, `b-` ...

    Raises:
      SegueError: it names none.
    """
    match = re.fullmatch(r"([A-Ga-g])(#|b|-|♯|♭)?", text.strip())
    if not match:
        raise SegueError(f"key {text!r} is no tonic; name one as in C, F#, Eb")
    shift = {"#": 1, "♯": 1, "b": -1, "-": -1, "♭": -1}.get(match[2] or "", 0)
    return (_LETTERS[match[1].upper()] + shift) % 12
