"""How a finished song is brought into another key, range or tempo.

What a model plays depends on its prime and its seed; these change how it is written
down, and a song keeps its seed through them. They are exact: moved by semitones, by
whole octaves, or told another tempo.
"""

from __future__ import annotations

import dataclasses
import math
import re
from typing import Any

import numpy as np

from music.codec import pitch_name
from music.errors import SegueError
from music.key import estimate_key, parse_tonic
from music.song import PITCH, Song

TEMPI = (5.0, 1000.0)  # quarters a minute
OCTAVE = 12


@dataclasses.dataclass(frozen=True)
class Shape:
    """What a song is brought into.

    Attributes:
      tempo: quarters a minute; None leaves it.
      transpose: semitones up or down.
      tonic: pitch class of the key that it is moved to by the shorter way, at most six
        semitones; its mode stays. None leaves it.
      lowest, highest: MIDI pitches that it keeps to, an octave apart at least: what is
        outside is moved by octaves. None leaves it.

    Raises:
      SegueError: a value outside its range, or both a key and a transposition.
    """

    tempo: float | None = None
    transpose: int = 0
    tonic: int | None = None
    lowest: int | None = None
    highest: int | None = None

    def __post_init__(self) -> None:
        least, most = TEMPI
        if self.tempo is not None and not (
            math.isfinite(self.tempo) and least <= self.tempo <= most
        ):
            raise SegueError(
                f"tempo {self.tempo:g} is outside {least:g}..{most:g} quarters a minute"
            )
        if not -127 <= self.transpose <= 127:
            raise SegueError(f"transpose {self.transpose} is outside -127..127 semitones")
        if self.transpose and self.tonic is not None:
            raise SegueError("both a key and a transposition were given; choose one")
        if (self.lowest is None) != (self.highest is None):
            raise SegueError("a range has a lowest and a highest pitch")
        if self.lowest is not None and self.highest is not None:
            _check_range(self.lowest, self.highest)

    def as_dict(self) -> dict[str, Any]:
        """What is asked for, as JSON types; what is not, is not there."""
        return {
            name: value
            for name, value in dataclasses.asdict(self).items()
            if value is not None and (name != "transpose" or value)
        }


def _check_range(lowest: int, highest: int) -> None:
    if not (0 <= lowest <= 127 and 0 <= highest <= 127):
        raise SegueError(f"range {lowest}-{highest} is outside the MIDI pitches 0..127")
    if highest - lowest < OCTAVE:
        raise SegueError(
            f"range {pitch_name(lowest)}-{pitch_name(highest)} is less than an octave, into "
            "which any pitch can be moved; make it wider"
        )


def parse_range(text: str) -> tuple[int, int]:
    """The lowest and highest MIDI pitch of `C3-C6`, `48-84`, `Eb2-G5`.

    Raises:
      SegueError: it is none, or less than an octave.
    """
    match = re.fullmatch(r"\s*([A-Ga-g][#b♯♭]?-?\d|\d{1,3})\s*(?:-|\.\.)\s*(\S+)\s*", text)
    try:
        if match is None:
            raise SegueError("")
        lowest, highest = _pitch(match[1]), _pitch(match[2])
    except SegueError:
        raise SegueError(
            f"range {text!r} is none; give the lowest and the highest pitch, as in C3-C6 or 48-84"
        ) from None
    _check_range(lowest, highest)
    return lowest, highest


def _pitch(text: str) -> int:
    if re.fullmatch(r"\d{1,3}", text):
        return int(text)
    match = re.fullmatch(r"([A-Ga-g])([#b♯♭]?)(-?\d)", text)
    if match is None:
        raise SegueError("no pitch")
    # The letter's place in its octave: C-flat is below C, and B-sharp above B.
    shift = {"#": 1, "♯": 1, "b": -1, "♭": -1}.get(match[2], 0)
    return 12 * (int(match[3]) + 1) + parse_tonic(match[1]) + shift


def shape_song(song: Song, shape: Shape) -> Song:
    """A song in another key, range or tempo.

    Raises:
      SegueError: it has no key to move from, or would leave MIDI's pitches.
    """
    semitones = shape.transpose
    if shape.tonic is not None:
        key = estimate_key(song)
        if key is None:
            raise SegueError("the song's notes suggest no key to move from; use a transposition")
        semitones = (shape.tonic - key.tonic + 6) % 12 - 6
    if semitones:
        try:
            song = song.transpose(semitones)
        except ValueError:
            pitches = song.notes[:, PITCH]
            raise SegueError(
                f"transposed by {semitones} semitones, the song's pitches "
                f"{pitches.min()}..{pitches.max()} leave MIDI's 0..127; move it less"
            ) from None
    if shape.lowest is not None and shape.highest is not None:
        song = _within(song, shape.lowest, shape.highest)
    if shape.tempo is not None:
        song = dataclasses.replace(song, tempo=shape.tempo)
    return song


def _within(song: Song, lowest: int, highest: int) -> Song:
    """Pitches outside moved by as few octaves as bring them in."""
    notes = song.notes.copy()
    pitches = notes[:, PITCH]
    up = np.maximum(lowest - pitches + OCTAVE - 1, 0) // OCTAVE
    down = np.maximum(pitches - highest + OCTAVE - 1, 0) // OCTAVE
    notes[:, PITCH] = pitches + OCTAVE * (up - down)
    return dataclasses.replace(song, notes=notes)
