"""What is in a song, and in many: the facts that a musician asks about first.

How long is it, how many parts, how high and low do they go, in what rhythm, how
loudly, and what do the codecs make of it. `song_facts` answers for one song,
`Totals` adds songs up without keeping them: what it holds does not grow with the
number of songs.
"""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np

from music.codec import BOUNDARY, MAX_TICKS, ChordsCodec, NotesCodec, pitch_name
from music.song import DURATION, ONSET, PART, PITCH, TICKS_PER_QUARTER, VELOCITY, Song

# What a player takes where the file is silent (Standard MIDI Files 1.0).
DEFAULT_TEMPO = 120.0
DEFAULT_TIME_SIGNATURE = "4/4"

COMMONEST = 3  # durations told of a part

_FLATS = ("C", "C♯", "D", "E♭", "E", "F", "F♯", "G", "G♯", "A", "B♭", "B")
_VALUES = {
    96: "whole",
    48: "half",
    24: "quarter",
    12: "eighth",
    6: "sixteenth",
    3: "thirty-second",
}


@dataclasses.dataclass(frozen=True)
class PartFacts:
    """One part of a song.

    Attributes:
      part: its number in the song, from 0.
      notes: how many.
      chords: onsets with several notes.
      low, high: MIDI pitches.
      durations: (ticks, notes), the commonest first, at most `COMMONEST`.
      soft, loud: MIDI velocities.
      silence: the longest time between two of its notes, in ticks.
    """

    part: int
    notes: int
    chords: int
    low: int
    high: int
    durations: tuple[tuple[int, int], ...]
    soft: int
    loud: int
    silence: int

    def as_dict(self) -> dict[str, Any]:
        """As JSON types."""
        return {
            **{field.name: getattr(self, field.name) for field in dataclasses.fields(self)},
            "range": [pitch_name(self.low), pitch_name(self.high)],
            "durations": [[ticks, count] for ticks, count in self.durations],
        }


@dataclasses.dataclass(frozen=True)
class CodecFacts:
    """What a codec makes of a song.

    Attributes:
      events: rows of its matrix, boundaries counted.
      distinct: different ones among them.
      chords: of the `chords` codec: events that are several pitch classes.
      held: of the `notes` codec: gaps and notes longer than `MAX_TICKS`, which
        are written as that long.
    """

    events: int
    distinct: int
    chords: int = 0
    held: int = 0


@dataclasses.dataclass(frozen=True)
class SongFacts:
    """One song.

    Attributes:
      title, tempo, key, time_signature, percussion: as the song has them.
      notes: how many.
      ticks: from the file's beginning to the last note's end.
      bars: begun in that time, of the first time signature (4/4 where none is given).
      seconds: that time at the first tempo (120 where none is given).
      parts: those with notes, by number.
      durations: (ticks, notes) of all parts, the commonest first.
      codecs: by name.
    """

    title: str
    tempo: float | None
    key: str | None
    time_signature: str | None
    percussion: int
    notes: int
    ticks: int
    bars: int
    seconds: float
    parts: tuple[PartFacts, ...]
    durations: tuple[tuple[int, int], ...]
    codecs: dict[str, CodecFacts]

    @property
    def low(self) -> int:
        """The lowest MIDI pitch."""
        return min(part.low for part in self.parts)

    @property
    def high(self) -> int:
        """The highest MIDI pitch."""
        return max(part.high for part in self.parts)

    @property
    def quarters(self) -> float:
        """The length in quarters."""
        return self.ticks / TICKS_PER_QUARTER

    def as_dict(self) -> dict[str, Any]:
        """As JSON types."""
        return {
            **{field.name: getattr(self, field.name) for field in dataclasses.fields(self)},
            "quarters": self.quarters,
            "range": [pitch_name(self.low), pitch_name(self.high)],
            "parts": [part.as_dict() for part in self.parts],
            "durations": [[ticks, count] for ticks, count in self.durations],
            "codecs": {name: dataclasses.asdict(facts) for name, facts in self.codecs.items()},
        }


def song_facts(song: Song) -> SongFacts:
    """The facts of a song.

    Raises:
      ValueError: the song has no notes.
    """
    if not len(song):
        raise ValueError("a song without notes has no facts")
    return SongFacts(
        title=song.title,
        tempo=song.tempo,
        key=song.key,
        time_signature=song.time_signature,
        percussion=song.percussion,
        notes=len(song),
        ticks=song.end,
        bars=math.ceil(song.end / bar_ticks(song.time_signature)),
        seconds=song.end / TICKS_PER_QUARTER * 60 / (song.tempo or DEFAULT_TEMPO),
        parts=_parts(song.notes),
        durations=_durations(song.notes),
        codecs=_codecs(song),
    )


def bar_ticks(time_signature: str | None) -> float:
    """The length of a bar in ticks; of 4/4 where the file is silent."""
    beats, unit = (int(part) for part in (time_signature or DEFAULT_TIME_SIGNATURE).split("/"))
    return beats * 4 * TICKS_PER_QUARTER / unit


def _parts(notes: np.ndarray) -> tuple[PartFacts, ...]:
    """The facts of every part of a song's notes, int32[N, 5], N at least 1.

    All parts at once, as a damaged file may have a hundred thousand of them: rows are
    put in order by part, and a part is the rows from its `first` to the next one's.
    """
    notes = notes[np.argsort(notes[:, PART], kind="stable")].astype(np.int64)
    onsets, pitches, velocities = notes[:, ONSET], notes[:, PITCH], notes[:, VELOCITY]
    begins = np.diff(notes[:, PART], prepend=-1) != 0
    first = np.flatnonzero(begins)
    part = np.cumsum(begins) - 1

    struck = np.flatnonzero(begins | (np.diff(onsets, prepend=-1) != 0))
    chords = np.diff(struck, append=len(notes)) > 1

    ends = onsets + notes[:, DURATION]
    # A part's ends stand above all ends of those before it: one running maximum does.
    above = part * (int(ends.max()) + 1)
    sounding = np.maximum.accumulate(ends + above) - above
    gaps = np.where(begins, 0, onsets - np.roll(sounding, 1))

    columns = (
        notes[first, PART],
        np.diff(first, append=len(notes)),
        np.add.reduceat(chords, np.searchsorted(struck, first), dtype=np.int64),
        np.minimum.reduceat(pitches, first),
        np.maximum.reduceat(pitches, first),
        np.minimum.reduceat(velocities, first),
        np.maximum.reduceat(velocities, first),
        np.maximum.reduceat(gaps, first),
    )
    names = ("part", "notes", "chords", "low", "high", "soft", "loud", "silence")
    rows = zip(*(column.tolist() for column in columns), strict=True)
    durations = _commonest_durations(part, notes[:, DURATION])
    return tuple(
        PartFacts(durations=commonest, **dict(zip(names, row, strict=True)))
        for row, commonest in zip(rows, durations, strict=True)
    )


def _commonest_durations(
    part: np.ndarray, ticks: np.ndarray
) -> Iterator[tuple[tuple[int, int], ...]]:
    """Of every part: (ticks, notes), the commonest first, at most `COMMONEST`.

    Args:
      part: int64[N] of each note, ascending, none left out.
      ticks: int64[N], the notes' durations.
    """
    beyond = int(ticks.max()) + 1
    pairs, counts = np.unique(part * beyond + ticks, return_counts=True)
    part, ticks = np.divmod(pairs, beyond)
    # Pairs are sorted by part and then ticks, and the sort is stable.
    order = np.lexsort((-counts, part))
    first = np.flatnonzero(np.diff(part, prepend=-1))
    table = list(zip(ticks[order].tolist(), counts[order].tolist(), strict=True))
    for begin, end in zip(first.tolist(), [*first[1:].tolist(), len(table)], strict=True):
        yield tuple(table[begin : min(end, begin + COMMONEST)])


def _durations(notes: np.ndarray) -> tuple[tuple[int, int], ...]:
    """(ticks, notes), the commonest first and of equally common ones the shorter."""
    ticks, counts = np.unique(notes[:, DURATION], return_counts=True)
    order = np.argsort(-counts, kind="stable")
    return tuple(zip(ticks[order].tolist(), counts[order].tolist(), strict=True))


def _codecs(song: Song) -> dict[str, CodecFacts]:
    notes, chords = NotesCodec().encode(song), ChordsCodec().encode(song)
    steps = np.diff(song.notes[:, ONSET], prepend=0)
    sounding = notes[notes[:, 1] != BOUNDARY].astype(np.int64)
    # One number an event: many times faster than numpy's comparison of rows.
    step, pitch, duration = sounding.T
    events = (step * BOUNDARY + pitch) * (MAX_TICKS + 1) + duration
    return {
        "notes": CodecFacts(
            events=len(notes),
            distinct=len(np.unique(events)) + 1,  # the boundary is one event
            held=int((steps > MAX_TICKS).sum() + (song.notes[:, DURATION] > MAX_TICKS).sum()),
        ),
        "chords": CodecFacts(
            events=len(chords),
            distinct=len(np.unique(chords)),
            chords=int((chords >= ChordsCodec.CHORD).sum()),
        ),
    }


class Totals:
    """What many songs hold together.

    Attributes:
      songs, notes, parts, percussion, ticks, seconds: sums.
      low, high: MIDI pitches; 127 and 0 before the first song.
      durations: notes by ticks.
      keys, time_signatures: songs by name, None where the file is silent.
      tempi: songs by quarters a minute, rounded; None where the file is silent.
      parts_of: songs by their number of parts.
      events: by codec.
      off_grid: notes whose onset was moved.
      rounding_max: how far an onset or end was moved at most, in ticks.
    """

    def __init__(self) -> None:
        self.songs = self.notes = self.parts = self.percussion = self.ticks = 0
        self.seconds = 0.0
        self.low, self.high = 127, 0
        self.durations: Counter[int] = Counter()
        self.keys: Counter[str | None] = Counter()
        self.time_signatures: Counter[str | None] = Counter()
        self.tempi: Counter[int | None] = Counter()
        self.parts_of: Counter[int] = Counter()
        self.events: Counter[str] = Counter()
        self.off_grid = 0
        self.rounding_max = 0.0
        self._moved = 0.0

    @property
    def rounding_mean(self) -> float:
        """How far onsets and ends were moved, in ticks, over all notes."""
        return self._moved / self.notes if self.notes else 0.0

    def add(self, facts: SongFacts, mean: float = 0.0, largest: float = 0.0, off_grid: int = 0):
        """Counts a song in.

        Args:
          facts: of the song.
          mean, largest, off_grid: what the grid cost it, as `music.midi.Rounding`.
        """
        self.songs += 1
        self.notes += facts.notes
        self.parts += len(facts.parts)
        self.percussion += facts.percussion
        self.ticks += facts.ticks
        self.seconds += facts.seconds
        self.low, self.high = min(self.low, facts.low), max(self.high, facts.high)
        self.durations.update(dict(facts.durations))
        self.keys[facts.key] += 1
        self.time_signatures[facts.time_signature] += 1
        self.tempi[None if facts.tempo is None else round(facts.tempo)] += 1
        self.parts_of[len(facts.parts)] += 1
        for name, codec in facts.codecs.items():
            self.events[name] += codec.events
        self.off_grid += off_grid
        self.rounding_max = max(self.rounding_max, largest)
        self._moved += mean * facts.notes

    def as_dict(self) -> dict[str, Any]:
        """As JSON types; tables as [value, count], the commonest first."""
        plain = ("songs", "notes", "parts", "percussion", "seconds", "off_grid")
        tables = ("durations", "keys", "time_signatures", "tempi", "parts_of")
        return {
            **{name: getattr(self, name) for name in plain},
            **{name: commonest(getattr(self, name)) for name in tables},
            "quarters": self.ticks / TICKS_PER_QUARTER,
            "range": [pitch_name(self.low), pitch_name(self.high)] if self.songs else None,
            "events": dict(self.events),
            "rounding_mean": self.rounding_mean,
            "rounding_max": self.rounding_max,
        }


def commonest(counts: Counter) -> list[list]:
    """[value, count], the commonest first; of equally common ones by their names."""
    return [list(pair) for pair in sorted(counts.items(), key=lambda p: (-p[1], _name_key(p[0])))]


def _name_key(value: Any) -> tuple:
    return (1, 0, "") if value is None else (0, value if isinstance(value, int) else 0, str(value))


# ---- in words ---------------------------------------------------------------


def duration_name(ticks: int) -> str:
    """A duration as a musician says it.

    `eighth` for 12, `dotted quarter` for 36, `triplet eighth` for 8, `2½ quarters`
    for 60; what has no such name is told in ticks.
    """
    if ticks in _VALUES:
        return _VALUES[ticks]
    if ticks * 2 % 3 == 0 and ticks * 2 // 3 in _VALUES:
        return f"dotted {_VALUES[ticks * 2 // 3]}"
    if ticks % 2 == 0 and ticks * 3 // 2 in _VALUES:
        return f"triplet {_VALUES[ticks * 3 // 2]}"
    halves, rest = divmod(ticks * 2, TICKS_PER_QUARTER)
    if not rest:
        return f"{halves // 2}{'½' * (halves % 2)} quarters"
    return "1 tick" if ticks == 1 else f"{ticks} ticks"


def spoken_pitch(pitch: int) -> str:
    """`E♭4` for 63: `music.codec.pitch_name` as a musician writes it."""
    return f"{_FLATS[pitch % 12]}{pitch // 12 - 1}"


def spoken_key(key: str) -> str:
    """`E♭ minor` for music21's `E- minor`."""
    return key.replace("-", "♭").replace("#", "♯")


def clock(seconds: float) -> str:
    """`2:05`, and from an hour on `1:02:05`; rounded to the second."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:,}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
