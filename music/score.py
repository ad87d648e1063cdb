"""What music21 read of a score, as a song: its notes on the grid, part by part."""

from __future__ import annotations

import re
from collections.abc import Iterable
from fractions import Fraction
from typing import Any

import numpy as np

from music.errors import MidiError
from music.song import DEFAULT_VELOCITY, TICKS_PER_QUARTER, Song

_LATEST = 2**30  # ticks: what two of them come to still is an int32


def song_of_parts(parts: Iterable[Any], title: str = "") -> Song:
    """The notes of a score's parts, as written: ties joined, repeats not played.

    Grace notes, chord symbols and what has no pitch are left out.

    Args:
      parts: music21 streams, a part each.
      title: of the song.

    Raises:
      MidiError: a note lies where no song has one: `damaged`, `too-long`.
    """
    notes, time_signature, key, tempo = [], None, None, None
    for number, part in enumerate(parts):
        flat = part.stripTies().flatten()
        for signature in flat.getElementsByClass("TimeSignature"):
            time_signature = time_signature or signature.ratioString
            break
        for mark in flat.getElementsByClass("MetronomeMark"):
            tempo = tempo or mark.getQuarterBPM()
            break
        for element in flat.notes:
            # A chord symbol over the staff is a name, not something that is played.
            if element.duration.isGrace or "Harmony" in element.classes:
                continue
            if not hasattr(element, "pitches"):
                continue
            onset, end = _ticks(element.offset), _ticks(element.offset + element.quarterLength)
            if onset < 0:
                raise MidiError("damaged", "a note begins before its piece")
            if end > _LATEST:
                raise MidiError(
                    "too-long", f"a note ends after {end // TICKS_PER_QUARTER:,} quarters"
                )
            duration = max(1, end - onset)
            notes += [
                (onset, duration, int(pitch.midi), DEFAULT_VELOCITY, number)
                for pitch in element.pitches
                if 0 <= pitch.midi <= 127
            ]
    if time_signature is not None and not re.fullmatch(r"\d{1,2}/(1|2|4|8|16|32)", time_signature):
        time_signature = None
    return Song(
        np.array(notes, np.int32).reshape(-1, 5),
        title=title,
        tempo=tempo,
        key=key,
        time_signature=time_signature,
    )


def _ticks(quarters: float | Fraction) -> int:
    return int(Fraction(quarters).limit_denominator(1000) * TICKS_PER_QUARTER + Fraction(1, 2))
