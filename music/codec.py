"""Songs as integers, and back: the two ways Segue writes music for a model.

A codec turns a song into a matrix of codes, one row an event and one column a
field, and reads such a matrix back. Codes depend on no vocabulary: a pitch is
its MIDI number, a time its ticks, a chord the mask of its pitch classes. So the
windows, baselines, clients and models of different catalogues and dates
understand each other, and only the model knows which codes it keeps.

`notes`, the default, loses nothing that the grid can hold: an event a note.

    step      ticks since the previous event's onset; 0 sounds together with it
    pitch     0..127, or 128, the song's boundary: it opens and closes every song
    duration  ticks; 0 for a boundary
    velocity  (optional) 16 levels
    part      (optional) the voice or instrument

`chords`, after P. Ortego's paper, has one field, `token`: a note is its MIDI
pitch, a chord 128 plus the 12-bit mask of its pitch classes. Parts follow one
another, rhythm is lost, and everything is played back as half quarters.

The idea of a codec as a small pair of exact inverses is that of mt3's
event_codec (Hawthorne et al. 2021).
"""

from __future__ import annotations

import abc
import dataclasses
from typing import Any, ClassVar

import numpy as np

from music.errors import SegueError
from music.song import (
    DEFAULT_VELOCITY,
    DURATION,
    ONSET,
    PART,
    PITCH,
    TICKS_PER_QUARTER,
    VELOCITY,
    Song,
)

# Sixteen bars of four quarters: longer gaps and notes are held to this.
MAX_TICKS = 64 * TICKS_PER_QUARTER
BOUNDARY = 128
VELOCITY_LEVELS = 16
MAX_PARTS = 16

PITCH_NAMES = ("C", "C#", "D", "E-", "E", "F", "F#", "G", "G#", "A", "B-", "B")


@dataclasses.dataclass(frozen=True)
class Field:
    """One column of a codec's matrix.

    Attributes:
      name: as in the windows' features.
      size: codes are 0..size-1.
    """

    name: str
    size: int


class Codec(abc.ABC):
    """Writes songs as int32[T, F] codes and reads them back."""

    name: ClassVar[str]

    @property
    @abc.abstractmethod
    def fields(self) -> tuple[Field, ...]:
        """The columns, in the order in which a model predicts them."""

    @abc.abstractmethod
    def encode(self, song: Song) -> np.ndarray:
        """Codes of a song, int32[T, F]; T is 0 for a song without notes."""

    @abc.abstractmethod
    def onsets(self, song: Song) -> np.ndarray:
        """When each event of `encode(song)` begins, int32[T] ticks."""

    @abc.abstractmethod
    def decode(self, events: np.ndarray) -> Song:
        """The song that int32[T, F] codes spell.

        Raises:
          ValueError: the matrix has another number of columns, or a code lies
            outside its field.
        """

    @abc.abstractmethod
    def distances(self, field: int, codes: np.ndarray, kept: np.ndarray) -> np.ndarray:
        """How far codes lie from kept ones, for a model that must choose one.

        Args:
          field: index of the column.
          codes: int[N].
          kept: int[K].

        Returns:
          float64[N, K]; the smallest of a row is the nearest kept code.
        """

    @abc.abstractmethod
    def label(self, field: int, code: int) -> str:
        """A code as a musician would write it."""

    @abc.abstractmethod
    def config(self) -> dict[str, Any]:
        """What `build_codec` needs to build this codec again, as JSON types."""

    @property
    def boundary(self) -> tuple[int, int] | None:
        """(field, code) of the event that ends a song; None where there is none."""
        return None

    @property
    @abc.abstractmethod
    def pitched(self) -> int:
        """The column that moves when a song is transposed; its codes 0..127 are pitches."""

    @abc.abstractmethod
    def transpose(self, codes: np.ndarray, semitones: int) -> np.ndarray:
        """Codes of the column `pitched`, moved.

        Args:
          codes: int[...].
          semitones: up or down; what is no pitch (a boundary) stays.

        Returns:
          int32[...]; a pitch that would leave 0..127 is held to the ends.
        """

    @abc.abstractmethod
    def pitch_classes(self) -> np.ndarray:
        """What every code of the column `pitched` sounds, octaves aside.

        Returns:
          bool[size of the column, 12]; column 0 is C.
        """

    def continuation_of(self, events: np.ndarray) -> np.ndarray:
        """What to prime a model with so that it plays on: no closing boundary."""
        return events

    def check(self, events: np.ndarray) -> np.ndarray:
        """`events` as int32[T, F], or ValueError with the first offending code."""
        events = np.asarray(events)
        if events.ndim != 2 or events.shape[1] != len(self.fields):
            raise ValueError(
                f"codec {self.name!r} reads [T, {len(self.fields)}] codes, "
                f"got shape {list(events.shape)}"
            )
        for column, field in enumerate(self.fields):
            outside = np.flatnonzero((events[:, column] < 0) | (events[:, column] >= field.size))
            if len(outside):
                row = int(outside[0])
                raise ValueError(
                    f"event {row}: {field.name} {int(events[row, column])} "
                    f"is outside 0..{field.size - 1}"
                )
        return events.astype(np.int32, copy=False)


@dataclasses.dataclass(frozen=True)
class NotesCodec(Codec):
    """One event a note, over all parts, by onset and then pitch.

    Exact for every song whose first onset, gaps and durations are at most
    `MAX_TICKS`; longer ones are held to it. Velocities keep 16 levels when
    `velocity` is set, parts their number modulo 16 when `part` is set.
    """

    name: ClassVar[str] = "notes"
    velocity: bool = False
    part: bool = False

    @property
    def fields(self) -> tuple[Field, ...]:
        fields = [
            Field("step", MAX_TICKS + 1),
            Field("pitch", BOUNDARY + 1),
            Field("duration", MAX_TICKS + 1),
        ]
        if self.velocity:
            fields.append(Field("velocity", VELOCITY_LEVELS))
        if self.part:
            fields.append(Field("part", MAX_PARTS))
        return tuple(fields)

    def encode(self, song: Song) -> np.ndarray:
        notes = song.notes
        events = np.zeros((len(notes) + 2 if len(notes) else 0, len(self.fields)), np.int32)
        if not len(notes):
            return events
        inner = events[1:-1]
        inner[:, 0] = np.diff(notes[:, ONSET], prepend=0)
        inner[:, 1] = notes[:, PITCH]
        inner[:, 2] = notes[:, DURATION]
        column = 3
        if self.velocity:
            inner[:, column] = notes[:, VELOCITY] * VELOCITY_LEVELS // 128
            column += 1
        if self.part:
            inner[:, column] = notes[:, PART] % MAX_PARTS
        events[[0, -1], 1] = BOUNDARY
        # The closing boundary stands where the last note stops.
        events[-1, 0] = song.end - notes[-1, ONSET]
        events[:, [0, 2]] = np.minimum(events[:, [0, 2]], MAX_TICKS)
        return events

    def onsets(self, song: Song) -> np.ndarray:
        if not len(song):
            return np.zeros(0, np.int32)
        return np.concatenate([[0], song.notes[:, ONSET], [song.end]]).astype(np.int32)

    def decode(self, events: np.ndarray) -> Song:
        events = self.check(events)
        onsets = np.cumsum(events[:, 0])
        sounding = events[:, 1] != BOUNDARY
        notes = np.zeros((int(sounding.sum()), 5), np.int32)
        notes[:, ONSET] = onsets[sounding]
        notes[:, PITCH] = events[sounding, 1]
        notes[:, DURATION] = np.maximum(events[sounding, 2], 1)
        notes[:, VELOCITY] = DEFAULT_VELOCITY
        column = 3
        if self.velocity:
            width = 128 // VELOCITY_LEVELS
            notes[:, VELOCITY] = events[sounding, column] * width + width // 2
            column += 1
        if self.part:
            notes[:, PART] = events[sounding, column]
        return Song(notes)

    def distances(self, field: int, codes: np.ndarray, kept: np.ndarray) -> np.ndarray:
        distance = np.abs(codes[:, None].astype(np.float64) - kept[None, :])
        if field == 1:
            # A boundary is no note: neither stands in for the other while
            # anything else is kept.
            mixed = (codes[:, None] == BOUNDARY) != (kept[None, :] == BOUNDARY)
            distance[mixed] += 1000.0
        return distance

    def label(self, field: int, code: int) -> str:
        if field == 1:
            return "|" if code == BOUNDARY else pitch_name(code)
        return str(code)

    def config(self) -> dict[str, Any]:
        return {"name": self.name, "velocity": self.velocity, "part": self.part}

    @property
    def boundary(self) -> tuple[int, int] | None:
        return (1, BOUNDARY)

    @property
    def pitched(self) -> int:
        return 1

    def transpose(self, codes: np.ndarray, semitones: int) -> np.ndarray:
        codes = np.asarray(codes)
        moved = np.clip(codes + semitones, 0, BOUNDARY - 1)
        return np.where(codes < BOUNDARY, moved, codes).astype(np.int32)

    def pitch_classes(self) -> np.ndarray:
        pitches = np.arange(BOUNDARY + 1)[:, None]
        return (pitches < BOUNDARY) & (pitches % 12 == np.arange(12))

    def continuation_of(self, events: np.ndarray) -> np.ndarray:
        if len(events) > 1 and events[-1, 1] == BOUNDARY:
            return events[:-1]
        return events


@dataclasses.dataclass(frozen=True)
class ChordsCodec(Codec):
    """The paper's tokens: a note by its pitch, a chord by its pitch classes.

    A chord is what one part starts at one onset. Notes an octave apart are one
    pitch class; several notes of one single class are written as the lowest of
    them. Decoding gives every token half a quarter and a chord's classes the
    octave above middle C, as music21 plays a chord made of bare classes.
    """

    name: ClassVar[str] = "chords"
    TOKEN_TICKS: ClassVar[int] = TICKS_PER_QUARTER // 2
    CHORD: ClassVar[int] = 128
    CHORD_OCTAVE: ClassVar[int] = 60

    @property
    def fields(self) -> tuple[Field, ...]:
        return (Field("token", self.CHORD + 4096),)

    def encode(self, song: Song) -> np.ndarray:
        if not len(song):
            return np.zeros((0, 1), np.int32)
        notes, first = self._chords(song)
        masks = np.bitwise_or.reduceat(1 << (notes[:, PITCH] % 12), first)
        single = (masks & (masks - 1)) == 0
        # Rows are sorted by pitch inside an onset: `first` is the lowest note.
        tokens = np.where(single, notes[first, PITCH], self.CHORD + masks)
        return tokens.astype(np.int32)[:, None]

    def onsets(self, song: Song) -> np.ndarray:
        if not len(song):
            return np.zeros(0, np.int32)
        notes, first = self._chords(song)
        return notes[first, ONSET]

    def _chords(self, song: Song) -> tuple[np.ndarray, np.ndarray]:
        """A song's notes part by part, and the index of each token's first note there."""
        # In one pass: a damaged file may have thousands of parts.
        notes = song.notes[np.argsort(song.notes[:, PART], kind="stable")]
        other = np.any(np.diff(notes[:, [PART, ONSET]], axis=0), axis=1)
        return notes, np.concatenate([[0], np.flatnonzero(other) + 1])

    def decode(self, events: np.ndarray) -> Song:
        ticks = self.TOKEN_TICKS
        notes = [
            (index * ticks, ticks, pitch, DEFAULT_VELOCITY, 0)
            for index, token in enumerate(self.check(events)[:, 0].tolist())
            for pitch in self.pitches(token)
        ]
        return Song(np.array(notes, np.int32).reshape(-1, 5))

    def pitches(self, token: int) -> list[int]:
        """The MIDI pitches that a token sounds, ascending."""
        if token < self.CHORD:
            return [token]
        mask = token - self.CHORD
        return [self.CHORD_OCTAVE + bit for bit in range(12) if mask >> bit & 1]

    def distances(self, field: int, codes: np.ndarray, kept: np.ndarray) -> np.ndarray:
        """Semitones between notes, differing pitch classes between chords.

        A note and a chord are always farther apart than two of one kind.
        """
        codes, kept = np.asarray(codes), np.asarray(kept)
        note, kept_note = codes < self.CHORD, kept < self.CHORD
        mask = np.where(note, 1 << (codes % 12), codes - self.CHORD)
        kept_mask = np.where(kept_note, 1 << (kept % 12), kept - self.CHORD)
        differing = mask[:, None] ^ kept_mask[None, :]
        distance = sum((differing >> bit) & 1 for bit in range(12)).astype(np.float64)
        semitones = np.abs(codes[:, None] - kept[None, :]).astype(np.float64)
        both = note[:, None] & kept_note[None, :]
        mixed = note[:, None] != kept_note[None, :]
        return np.where(both, semitones, distance + 1000.0 * mixed)

    @property
    def pitched(self) -> int:
        return 0

    def transpose(self, codes: np.ndarray, semitones: int) -> np.ndarray:
        codes = np.asarray(codes)
        moved = np.clip(codes + semitones, 0, self.CHORD - 1)
        # The classes of a chord go round in their twelve bits.
        turned = (np.maximum(codes - self.CHORD, 0)) << (semitones % 12)
        turned = self.CHORD + ((turned | turned >> 12) & 0xFFF)
        return np.where(codes < self.CHORD, moved, turned).astype(np.int32)

    def pitch_classes(self) -> np.ndarray:
        notes = np.arange(self.CHORD)[:, None] % 12 == np.arange(12)
        masks = np.arange(4096)[:, None] >> np.arange(12) & 1
        return np.concatenate([notes, masks.astype(bool)])

    def label(self, field: int, code: int) -> str:
        if code < self.CHORD:
            return pitch_name(code)
        return ".".join(str(bit) for bit in range(12) if (code - self.CHORD) >> bit & 1)

    def config(self) -> dict[str, Any]:
        return {"name": self.name}


def pitch_name(pitch: int) -> str:
    """`E4` for 64: music21's spelling, middle C is C4."""
    return f"{PITCH_NAMES[pitch % 12]}{pitch // 12 - 1}"


def build_codec(config: dict[str, Any] | str) -> Codec:
    """A codec from its name or from what `Codec.config` gave.

    Raises:
      SegueError: there is no such codec.
    """
    options = {"name": config} if isinstance(config, str) else dict(config)
    name = options.pop("name", None)
    kinds: dict[str, type[Codec]] = {"notes": NotesCodec, "chords": ChordsCodec}
    if not isinstance(name, str) or name not in kinds:
        raise SegueError(f"codec {name!r} does not exist; choose one of: {', '.join(kinds)}")
    if not all(isinstance(value, bool) for value in options.values()):
        raise SegueError(f"codec {name!r} takes options that are true or false, got {options}")
    try:
        return kinds[name](**options)
    except TypeError:
        raise SegueError(f"codec {name!r} does not take the options {sorted(options)}") from None
