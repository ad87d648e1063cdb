"""A song made legible: onsets and ends on sixteenths and triplets.

What sounds stays as it is; this is only for the eye. Each quarter gets the grid that
its notes lie nearest to, four sixteenths or three eighths of a triplet, and is read
by it alone. An onset moves by at most half a step of its grid. Ends are read more
loosely: what was played rather than written down rarely stops where the next note
begins, and rests of a sixteenth after every note would tell nobody anything.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from client.rendering.meter import QUARTER, SIXTEENTH, TRIPLET, Meter
from music.song import DURATION, ONSET, PART, PITCH, Song

# A beat is divided by three only where that brings its notes nearer by this many
# ticks each: what lies between is more often an uneven sixteenth.
_TRIPLET_GAIN = 1.0
# Where a note begins is heard; where it ends, much less.
_END_WEIGHT = 0.25

# MusicXML counts octaves from 0. What lies below the first C sharp, deeper than any
# instrument and most ears, is written an octave higher.
LOWEST = 13

# Columns of `Reading.notes`.
START, STOP, KEY, LINE, LOOSE, AGAIN = range(6)
NEVER = 2**40


@dataclasses.dataclass(frozen=True)
class Reading:
    """A song as it is to be written.

    Attributes:
      meter: what it is written in.
      notes: int64[N, 6], columns start and stop (ticks from the first bar's
        beginning), MIDI pitch, part, whether the stop may move (it was no place of
        the grid), and when the pitch is struck again (`NEVER` where it is not); rows
        sorted by start and pitch, one a start, pitch and part.
      triplets: the quarters, counted from the first bar's beginning, that are
        divided by three.
      bars: how many there are.
      offset: the tick of the song at which the first bar begins.
    """

    meter: Meter
    notes: np.ndarray
    triplets: frozenset[int]
    bars: int
    offset: int

    def step_at(self, tick: int) -> int:
        """The grid's step in the quarter that begins at, or holds, a tick."""
        return TRIPLET if tick // QUARTER in self.triplets else SIXTEENTH


def bars_of(song: Song, meter: Meter) -> int:
    """How many bars a song will fill; at least 1."""
    first = int(song.notes[:, ONSET].min()) // meter.bar
    return max(-(-song.end // meter.bar) - first, 1)


def read_song(song: Song, meter: Meter, by_part: bool) -> Reading:
    """Puts a song on the grid.

    Notes that come to begin together on one pitch are one note, as long as the
    longest; a note that sounds when its pitch is struck again ends there.

    Args:
      song: at least one note.
      meter: what it is written in.
      by_part: whether notes of different parts stand apart, on staves of their own.
    """
    notes = song.notes.astype(np.int64)
    offset = int(notes[:, ONSET].min()) // meter.bar * meter.bar
    onsets = notes[:, ONSET] - offset
    ends = onsets + notes[:, DURATION]
    triplets = _triplets(onsets, ends) if meter.triplets else np.zeros(0, np.int64)

    starts = _snapped(onsets, triplets, onsets // QUARTER)
    # An end belongs to the quarter that it closes.
    stops = _snapped(ends, triplets, (ends - 1) // QUARTER)
    loose = stops != ends
    shortest = starts + np.where(np.isin(starts // QUARTER, triplets), TRIPLET, SIXTEENTH)
    stops = np.maximum(stops, shortest)

    lines = notes[:, PART] if by_part else np.zeros(len(notes), np.int64)
    pitches = np.where(notes[:, PITCH] < LOWEST, notes[:, PITCH] + 12, notes[:, PITCH])
    rows = np.stack([starts, stops, pitches, lines, loose], axis=1)
    rows = _one_at_a_time(rows)
    bars = max(-(-int(rows[:, STOP].max()) // meter.bar), 1)
    return Reading(meter, rows, frozenset(triplets.tolist()), bars, offset)


def _triplets(onsets: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """The quarters that three steps fit better than four, ascending."""
    quarters = int(ends.max()) // QUARTER + 1
    gains, counts = np.zeros(quarters), np.zeros(quarters)
    begun = np.zeros(quarters, bool)
    for ticks, cells, weight in (
        (onsets, onsets // QUARTER, 1.0),
        (ends, (ends - 1) // QUARTER, _END_WEIGHT),
    ):
        place = ticks - cells * QUARTER
        inner = (place > 0) & (place < QUARTER)
        gain = (_error(place, SIXTEENTH) - _error(place, TRIPLET)) * inner
        gains += np.bincount(cells, gain * weight, minlength=quarters)
        counts += np.bincount(cells, inner * weight, minlength=quarters)
        if ticks is onsets:
            begun[cells[inner]] = True
    return np.flatnonzero(begun & (gains >= _TRIPLET_GAIN * counts))


def _error(places: np.ndarray, step: int) -> np.ndarray:
    past = places % step
    return np.minimum(past, step - past)


def _snapped(ticks: np.ndarray, triplets: np.ndarray, cells: np.ndarray) -> np.ndarray:
    """Ticks on the grids of their quarters, halves rounded up."""
    steps = np.where(np.isin(cells, triplets), TRIPLET, SIXTEENTH)
    place = ticks - cells * QUARTER
    return cells * QUARTER + (2 * place + steps) // (2 * steps) * steps


def _one_at_a_time(rows: np.ndarray) -> np.ndarray:
    """Rows in order, so that no line sounds one pitch twice at a time."""
    order = np.lexsort((-rows[:, STOP], rows[:, START], rows[:, KEY], rows[:, LINE]))
    rows = rows[order]
    same = (rows[1:, [LINE, KEY, START]] == rows[:-1, [LINE, KEY, START]]).all(axis=1)
    rows = rows[np.concatenate([[True], ~same])]
    again = (rows[1:, [LINE, KEY]] == rows[:-1, [LINE, KEY]]).all(axis=1)
    struck = np.append(np.where(again, rows[1:, START], NEVER), NEVER)
    rows[:, STOP] = np.minimum(rows[:, STOP], struck)
    rows = np.column_stack([rows, struck])
    return rows[np.lexsort((rows[:, LINE], rows[:, KEY], rows[:, START]))]
