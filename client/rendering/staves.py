"""Which staff a note stands on, and with which clef.

A song of several parts gets a staff a part, if each is narrow enough for one; two
such parts, one high and one low, are the hands of a piano. Any other song is written
for piano: two staves under a brace, and every note goes to the hand that can best
reach it. The border between the hands is the cheapest way through the whole song, in
which moving it costs something, too: so it follows the music without jumping.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from client.rendering.meter import SIXTEENTH
from client.rendering.reading import KEY, LINE, START, STOP, Reading
from music.song import DURATION, ONSET, PART, PITCH, Song

MOST_STAVES = 8

# How much of a part a clef must hold, and how many notes at once a staff.
_INSIDE = 0.95
_FINGERS = 5

# What a clef's five lines and four ledger lines on either side hold, MIDI pitches.
CLEFS = {"treble": (50, 91), "treble8vb": (38, 79), "bass": (29, 71)}
# Its middle line.
_MIDDLES = {"treble": 71, "treble8vb": 59, "bass": 50}
# A tenor's clef has to fit better by so many semitones.
_RARE = {"treble8vb": 4}

# Borders that are tried: the lowest pitch of the right hand.
_BORDERS = np.arange(48, 73)
_HOME = 60
# What a border costs at a moment, for each semitone or note...
_AWAY = 0.02  # of the border from middle C
_LEDGER = 0.25  # of a note beyond middle C on the wrong side, from the second on
_SPAN = 1.0  # of a hand's stretch beyond a tenth
_CROWD = 1.0  # of a hand that holds more than the other, from the second on
_MOVE = 0.35  # of a step of the border
_STRETCH = 16


@dataclasses.dataclass(frozen=True)
class Staff:
    """One staff of the score.

    Attributes:
      clef: one of `CLEFS`.
      rows: the indexes of its notes in the reading, ascending.
    """

    clef: str
    rows: np.ndarray


@dataclasses.dataclass(frozen=True)
class Layout:
    """The staves from top to bottom, and whether they are one piano."""

    staves: tuple[Staff, ...]
    piano: bool


def stands_by_part(song: Song) -> bool:
    """Whether a song is written with a staff a part: two to eight, each fit for one staff."""
    parts = song.parts
    return 2 <= len(parts) <= MOST_STAVES and all(
        _fits(song.notes[song.notes[:, PART] == part]) for part in parts
    )


def _fits(notes: np.ndarray) -> bool:
    return (
        max(_share_inside(notes[:, PITCH], clef) for clef in CLEFS) >= _INSIDE
        and _most_at_once(notes) <= _FINGERS
    )


def _share_inside(pitches: np.ndarray, clef: str) -> float:
    low, high = CLEFS[clef]
    return float(((pitches >= low) & (pitches <= high)).mean())


def _most_at_once(notes: np.ndarray) -> int:
    onsets = np.sort(notes[:, ONSET])
    # A played note often ends a little after the next one has begun.
    ends = np.sort(notes[:, ONSET] + np.maximum(notes[:, DURATION] - SIXTEENTH // 2, 1))
    return int((np.arange(1, len(notes) + 1) - np.searchsorted(ends, onsets, "right")).max())


def lay_out(reading: Reading, by_part: bool) -> Layout:
    """Deals a song's notes out to staves.

    Args:
      reading: at least one note.
      by_part: as `stands_by_part` said; else it is written for piano.
    """
    notes = reading.notes
    if not by_part:
        right = right_hand(notes)
        return Layout(
            (
                Staff("treble", np.flatnonzero(right)),
                Staff("bass", np.flatnonzero(~right)),
            ),
            piano=True,
        )
    staves = []
    for part in np.unique(notes[:, LINE]):
        rows = np.flatnonzero(notes[:, LINE] == part)
        staves.append(Staff(_clef(notes[rows, KEY]), rows))
    hands = [staff.clef for staff in staves] == ["treble", "bass"]
    return Layout(tuple(staves), piano=hands)


def _clef(pitches: np.ndarray) -> str:
    """The clef around whose middle line pitches lie, of those that hold the most of them."""
    middle = float(np.median(pitches))

    def rank(clef: str) -> tuple[float, float]:
        held = min(_share_inside(pitches, clef), _INSIDE)
        return -held, abs(_MIDDLES[clef] - middle) + _RARE.get(clef, 0)

    return min(CLEFS, key=rank)


def right_hand(notes: np.ndarray) -> np.ndarray:
    """bool[N]: which notes the right hand plays; rows as in a `Reading`."""
    return notes[:, KEY] >= borders(notes)


def borders(notes: np.ndarray) -> np.ndarray:
    """int[N]: for each note the lowest pitch of the right hand when it is struck."""
    moments, moment_of = np.unique(notes[:, START], return_inverse=True)
    costs = np.empty((len(moments), len(_BORDERS)))
    first = 0
    held: list[int] = []
    for index, moment in enumerate(moments.tolist()):
        last = first
        while last < len(notes) and moment_of[last] == index:
            last += 1
        held = [row for row in held if notes[row, STOP] > moment]
        held += range(first, last)
        costs[index] = _cost(notes[held, KEY], notes[first:last, KEY])
        first = last
    return _BORDERS[_cheapest(costs)][moment_of]


def _cost(sounding: np.ndarray, struck: np.ndarray) -> np.ndarray:
    """float[borders]: what each border costs while these pitches sound (ascending or not)."""
    right = sounding[None, :] >= _BORDERS[:, None]
    counts = right.sum(axis=1)
    cost = np.abs(_BORDERS - _HOME) * _AWAY
    crowd = np.abs(2 * counts - len(sounding)) - 1
    cost = cost + np.maximum(crowd, 0) * _CROWD / 2
    low = np.where(right, sounding, 127).min(axis=1)
    high = np.where(right, sounding, 0).max(axis=1)
    cost = cost + np.maximum(high - low - _STRETCH, 0) * _SPAN
    low = np.where(right, 127, sounding).min(axis=1)
    high = np.where(right, 0, sounding).max(axis=1)
    cost = cost + np.maximum(high - low - _STRETCH, 0) * _SPAN
    mine = struck[None, :] >= _BORDERS[:, None]
    over = np.where(mine, _HOME - 3 - struck, struck - _HOME - 3)
    return cost + np.maximum(over, 0).sum(axis=1) * _LEDGER


def _cheapest(costs: np.ndarray) -> np.ndarray:
    """int[moments]: the border of each moment on the cheapest way (Viterbi)."""
    moves = np.abs(_BORDERS[:, None] - _BORDERS[None, :]) * _MOVE
    total = costs[0]
    came = np.zeros(costs.shape, np.int64)
    for index in range(1, len(costs)):
        ways = total[:, None] + moves
        came[index] = ways.argmin(axis=0)
        total = ways[came[index], np.arange(len(_BORDERS))] + costs[index]
    at = int(total.argmin())
    way = np.empty(len(costs), np.int64)
    for index in range(len(costs) - 1, -1, -1):
        way[index] = at
        at = came[index, at]
    return way
