"""At most two voices on a staff.

A staff's notes are taken bar by bar. Where a bar's notes can be said by one voice, as
single notes and chords that follow each other, they are. Where that would cut notes
short by a sixteenth or more in sum, two voices are tried, the upper taking the top
of every chord, and the way that changes durations least is kept. What even two voices
cannot hold is shortened, never left out: every pitch stands where it begins.

A note that sounds over a bar line comes back in the next bar, to be tied.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np

from client.rendering.meter import SIXTEENTH
from client.rendering.reading import AGAIN, KEY, LOOSE, START, STOP, Reading

# Ways through a bar that are followed at once.
_BEAM = 16
# What a way costs in ticks of changed duration, besides these.
_ALONE = 2.0  # a chord that one voice takes whole while there are two
_LOWER = 1.0  # a single note in the lower voice
_CROSSING = 6.0  # an upper voice below the lower
_LEAP = 0.05  # a semitone from the voice's last pitch


@dataclasses.dataclass(frozen=True)
class Piece:
    """A note as far as it stands in one bar.

    Attributes:
      start: its place in the bar, ticks.
      stop: where the whole note stops, perhaps in a later bar.
      pitch: MIDI.
      loose: whether the stop may move by a step of the grid.
      again: when the pitch is struck again, perhaps in a later bar.
      tied: whether it has begun in an earlier bar.
    """

    start: int
    stop: int
    pitch: int
    loose: bool
    again: int
    tied: bool = False


@dataclasses.dataclass(frozen=True)
class Chord:
    """One or more pitches that a voice strikes or holds together.

    Attributes:
      start, stop: places in the bar, ticks.
      pieces: by pitch, ascending.
    """

    start: int
    stop: int
    pieces: tuple[Piece, ...]

    def goes_on(self, piece: Piece, bar: int) -> bool:
        """Whether one of its pieces is tied into the next bar."""
        return self.stop == bar and piece.stop > bar


Voice = tuple[Chord, ...]
# The grid's step at a place in the bar.
StepAt = Callable[[int], int]


def voices_by_bar(reading: Reading, rows: np.ndarray) -> list[tuple[Voice, ...]]:
    """For each bar the one or two voices of a staff, the upper first; empty bars have none.

    Args:
      reading: the song.
      rows: of the staff's notes.
    """
    bar = reading.meter.bar
    fresh: list[list[Piece]] = [[] for _ in range(reading.bars)]
    columns = [START, STOP, KEY, LOOSE, AGAIN]
    for start, stop, pitch, loose, again in reading.notes[rows][:, columns].tolist():
        index, place = divmod(start, bar)
        first = index * bar
        fresh[index].append(Piece(place, stop - first, pitch, bool(loose), again - first))
    bars = []
    held: list[Piece] = []
    for index, begun in enumerate(fresh):
        voices = _arrange(held + begun, bar, _steps_from(reading, index * bar))
        held = [
            dataclasses.replace(
                piece, start=0, stop=piece.stop - bar, again=piece.again - bar, tied=True
            )
            for voice in voices
            for chord in voice
            for piece in chord.pieces
            if chord.goes_on(piece, bar)
        ]
        bars.append(voices)
    return bars


def _steps_from(reading: Reading, first: int) -> StepAt:
    return lambda place: reading.step_at(first + place)


def _arrange(pieces: list[Piece], bar: int, step_at: StepAt) -> tuple[Voice, ...]:
    if not pieces:
        return ()
    groups = _groups(pieces)
    alone, lost = _one_voice(groups, bar, step_at)
    if lost < SIXTEENTH:
        return (alone,)
    upper, lower, still_lost = _two_voices(groups, bar, step_at)
    if not upper or not lower or lost - still_lost < SIXTEENTH:
        return (alone,)
    return (upper, lower)


def _groups(pieces: list[Piece]) -> list[tuple[Piece, ...]]:
    """Pieces by start, each group by pitch, ascending."""
    by_start: dict[int, list[Piece]] = {}
    for piece in sorted(pieces, key=lambda piece: (piece.start, piece.pitch)):
        by_start.setdefault(piece.start, []).append(piece)
    return [tuple(group) for group in by_start.values()]


def _one_voice(
    groups: Sequence[tuple[Piece, ...]], bar: int, step_at: StepAt
) -> tuple[Voice, float]:
    """The voice, and by how many ticks its notes are changed."""
    voice = []
    lost = 0.0
    for index, group in enumerate(groups):
        limit = groups[index + 1][0].start if index + 1 < len(groups) else bar
        stop, cost = _common_stop(group, limit, bar, step_at)
        voice.append(Chord(group[0].start, stop, group))
        lost += cost
    return tuple(voice), lost


def _common_stop(
    group: tuple[Piece, ...], limit: int, bar: int, step_at: StepAt
) -> tuple[int, float]:
    """Where a chord stops that must by `limit`, and by how many ticks that changes its notes."""
    stops = {min(piece.stop, limit) for piece in group}
    near = max(stops)
    if near < limit and limit - near <= step_at(near) and any(piece.loose for piece in group):
        stops.add(limit)
    # A note that is held longer than it was played must not run into its own repetition.
    again = min(piece.again for piece in group)
    stops = {stop for stop in stops if stop <= again}
    best = min(
        (sum(_change(piece, stop, bar, step_at) for piece in group), -stop) for stop in stops
    )
    return -best[1], best[0]


def _change(piece: Piece, stop: int, bar: int, step_at: StepAt) -> float:
    if stop == bar and piece.stop > bar:
        return 0.0  # it goes on
    change = abs(piece.stop - stop)
    return 0.0 if piece.loose and change <= step_at(max(min(stop, bar) - 1, 0)) else float(change)


@dataclasses.dataclass(frozen=True)
class _Way:
    """A way through a bar so far: what each voice has closed, and what it holds still."""

    cost: float
    lost: float
    closed: tuple[Voice, Voice]
    held: tuple[tuple[Piece, ...], tuple[Piece, ...]]


def _two_voices(
    groups: Sequence[tuple[Piece, ...]], bar: int, step_at: StepAt
) -> tuple[Voice, Voice, float]:
    ways = [_Way(0.0, 0.0, ((), ()), ((), ()))]
    for group in groups:
        following: dict[tuple, _Way] = {}
        for way in ways:
            for lower in range(len(group) + 1):
                taken = _take(way, (group[lower:], group[:lower]), bar, step_at)
                known = following.get(taken.held)
                if known is None or taken.cost < known.cost:
                    following[taken.held] = taken
        ways = sorted(following.values(), key=lambda way: way.cost)[:_BEAM]
    done = [_close(_close(way, 0, bar, bar, step_at), 1, bar, bar, step_at) for way in ways]
    best = min(done, key=lambda way: way.cost)
    return best.closed[0], best.closed[1], best.lost


def _take(
    way: _Way, given: tuple[tuple[Piece, ...], tuple[Piece, ...]], bar: int, step_at: StepAt
) -> _Way:
    """The way on when the upper voice is given these pieces and the lower those."""
    cost = 0.0
    start = (given[0] or given[1])[0].start
    count = len(given[0]) + len(given[1])
    if count > 1 and not (given[0] and given[1]):
        cost += _ALONE
    if count == 1 and given[1]:
        cost += _LOWER
    for voice in (0, 1):
        if given[voice]:
            if way.held[voice]:
                cost += _LEAP * abs(way.held[voice][-1].pitch - given[voice][-1].pitch)
            way = _close(way, voice, start, bar, step_at)
    held = (given[0] or way.held[0], given[1] or way.held[1])
    if held[0] and held[1] and held[0][0].pitch < held[1][-1].pitch:
        sounding = all(max(piece.stop for piece in pieces) > start for pieces in held)
        cost += _CROSSING * sounding
    return dataclasses.replace(way, cost=way.cost + cost, held=held)


def _close(way: _Way, voice: int, limit: int, bar: int, step_at: StepAt) -> _Way:
    """Ends the chord that a voice holds, at `limit` at the latest."""
    group = way.held[voice]
    if not group:
        return way
    stop, lost = _common_stop(group, limit, bar, step_at)
    chord = Chord(group[0].start, stop, group)
    closed = list(way.closed)
    held = list(way.held)
    closed[voice] = (*closed[voice], chord)
    held[voice] = ()
    return _Way(way.cost + lost, way.lost + lost, (closed[0], closed[1]), (held[0], held[1]))
