"""What a piece of music is to Segue, whatever file it came from.

A `Song` is a matrix of notes on a fixed grid, 24 ticks to the quarter: fine
enough for sixteenths (6), triplets (8) and thirty-seconds (3), coarse enough
that two performances of one rhythm look alike. Everything downstream (codecs,
splits, measures, writers) reads this matrix and nothing else.
"""

from __future__ import annotations

import dataclasses
import hashlib

import numpy as np

TICKS_PER_QUARTER = 24

# Columns of `Song.notes`.
ONSET, DURATION, PITCH, VELOCITY, PART = range(5)
COLUMNS = ("onset", "duration", "pitch", "velocity", "part")

DEFAULT_VELOCITY = 80


@dataclasses.dataclass(frozen=True, eq=False)
class Song:
    """A piece as notes on the grid.

    Attributes:
      id: SHA-256 (hex) of the file's bytes; empty for a song made in memory.
      title: what to call it when talking to a person.
      notes: int32[N, 5], columns onset (ticks), duration (ticks, >= 1), pitch
        (MIDI, 0..127), velocity (1..127), part (0, 1, ...: a voice or an
        instrument); rows sorted by onset, pitch, duration,
        velocity, part: an order that survives the loss of the last columns.
      tempo: quarters a minute at the beginning, None where the file is silent.
      key: e.g. "C major", None where the file is silent.
      time_signature: e.g. "3/4", None where the file is silent.
      percussion: how many notes of channel 10 were left out.
    """

    notes: np.ndarray
    id: str = ""
    title: str = ""
    tempo: float | None = None
    key: str | None = None
    time_signature: str | None = None
    percussion: int = 0

    def __post_init__(self) -> None:
        notes = np.asarray(self.notes, dtype=np.int32).reshape(-1, len(COLUMNS))
        if _in_order(notes):  # as all songs that are read again
            notes = notes.copy()
        else:
            # lexsort takes its most significant key last.
            order = np.lexsort(notes[:, _ORDER[::-1]].T)
            notes = np.ascontiguousarray(notes[order])
        notes.setflags(write=False)
        object.__setattr__(self, "notes", notes)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Song):
            return NotImplemented
        return (
            np.array_equal(self.notes, other.notes)
            and dataclasses.replace(self, notes=_NO_NOTES)._facts()
            == dataclasses.replace(other, notes=_NO_NOTES)._facts()
        )

    def __hash__(self) -> int:
        return hash((self.id, self.notes.tobytes()))

    def __len__(self) -> int:
        return len(self.notes)

    def _facts(self) -> tuple:
        return (self.id, self.title, self.tempo, self.key, self.time_signature, self.percussion)

    @property
    def end(self) -> int:
        """The tick at which the last note stops; 0 for a song without notes."""
        return int((self.notes[:, ONSET] + self.notes[:, DURATION]).max(initial=0))

    @property
    def parts(self) -> list[int]:
        """The part numbers that have notes, ascending."""
        return [int(part) for part in np.unique(self.notes[:, PART])]

    def transpose(self, semitones: int) -> Song:
        """The same song, higher or lower.

        Raises:
          ValueError: a pitch would leave 0..127.
        """
        notes = self.notes.copy()
        notes[:, PITCH] += semitones
        if len(notes) and not 0 <= notes[:, PITCH].min() <= notes[:, PITCH].max() <= 127:
            raise ValueError(f"transposing by {semitones} leaves the MIDI range 0..127")
        return dataclasses.replace(self, notes=notes)

    def fingerprint(self) -> str:
        """SHA-256 (hex) of what stays when a song is transposed or moved in time.

        Onsets count from the first note and pitches from the first note's pitch;
        velocities, parts and titles play no role. Two files with the same
        fingerprint are the same music.
        """
        core = self.notes[:, [ONSET, DURATION, PITCH]].astype("<i4")
        if len(core):
            core = core[np.lexsort(core[:, [DURATION, PITCH, ONSET]].T)]
            core[:, 0] -= core[0, 0]
            core[:, 2] -= core[0, 2]
        return hashlib.sha256(np.ascontiguousarray(core).tobytes()).hexdigest()


_ORDER = (ONSET, PITCH, DURATION, VELOCITY, PART)


def _in_order(notes: np.ndarray) -> bool:
    """Whether rows are sorted already, in a tenth of the time of sorting them."""
    places = notes[:, ONSET].astype(np.int64) * 128 + notes[:, PITCH]
    steps = np.diff(places)
    if (steps < 0).any():
        return False
    tied = np.flatnonzero(steps == 0)  # decided by the other columns
    rest = notes[:, _ORDER[2:]].astype(np.int64)
    steps = rest[tied + 1] - rest[tied]
    first = (steps != 0).argmax(axis=1)
    return bool((steps[np.arange(len(tied)), first] >= 0).all())


_NO_NOTES = np.zeros((0, len(COLUMNS)), np.int32)
