"""The signs that a voice of one bar is written with: note values, ties, triplets, beams."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable

from client.rendering.meter import (
    EIGHTH,
    QUARTER,
    TRIPLET,
    TRIPLET_VALUES,
    VALUES,
    Meter,
    split_note,
    split_rest,
)
from client.rendering.voices import Chord, Voice

# (pitch, tied from before, tied to what comes)
Head = tuple[int, bool, bool]
# Whether the quarter that holds a place is divided by three.
IsTriplet = Callable[[int], bool]

_BEAMS = {"eighth": 1, "16th": 2}


@dataclasses.dataclass(frozen=True)
class Sign:
    """A note, chord or rest with one value.

    Attributes:
      start, stop: places in the bar, ticks.
      value: whole, half, quarter, eighth or 16th.
      dots: 0 or 1.
      triplet: whether it lasts two thirds of what it says.
      heads: of its notes, ascending; a rest has none.
      hidden: a rest that is understood.
      beams: for each beam what happens to it here: start, continue, stop, or a hook
        to the left or right.
    """

    start: int
    stop: int
    value: str
    dots: int = 0
    triplet: bool = False
    heads: tuple[Head, ...] = ()
    hidden: bool = False
    beams: tuple[str, ...] = ()


def signs_of(voice: Voice, meter: Meter, is_triplet: IsTriplet, lower: bool) -> list[Sign]:
    """The signs of one voice in one bar, without a gap.

    Args:
      voice: its chords, in order.
      meter: of the bar.
      is_triplet: whether the quarter at a place is divided by three.
      lower: whether it is the second voice of its staff, whose rests are understood,
        except inside a triplet.
    """
    signs: list[Sign] = []
    place = 0
    for chord in voice:
        signs += _rests(place, chord.start, meter, is_triplet, lower)
        signs += _chord(chord, meter, is_triplet)
        place = chord.stop
    signs += _rests(place, meter.bar, meter, is_triplet, lower)
    return _beamed(signs, meter)


def _rests(start: int, stop: int, meter: Meter, is_triplet: IsTriplet, hidden: bool) -> list[Sign]:
    signs = []
    for first, last in _cut(start, stop, is_triplet):
        if _in_triplet(first, last, is_triplet):
            signs.append(Sign(first, last, TRIPLET_VALUES[last - first], triplet=True))
            continue
        for begin, end in split_rest(meter, first, last):
            signs.append(Sign(begin, end, *VALUES[end - begin], hidden=hidden))
    return signs


def _chord(chord: Chord, meter: Meter, is_triplet: IsTriplet) -> list[Sign]:
    spans: list[tuple[int, int, bool]] = []
    for first, last in _cut(chord.start, chord.stop, is_triplet):
        if _in_triplet(first, last, is_triplet):
            spans.append((first, last, True))
        else:
            spans += [(begin, end, False) for begin, end in split_note(meter, first, last)]
    signs = []
    for index, (begin, end, triplet) in enumerate(spans):
        heads = tuple(
            (
                piece.pitch,
                index > 0 or piece.tied,
                index < len(spans) - 1 or chord.goes_on(piece, meter.bar),
            )
            for piece in chord.pieces
        )
        value, dots = (TRIPLET_VALUES[end - begin], 0) if triplet else VALUES[end - begin]
        signs.append(Sign(begin, end, value, dots, triplet, heads))
    return signs


def _cut(start: int, stop: int, is_triplet: IsTriplet) -> list[tuple[int, int]]:
    """A span, cut at the edge of each triplet in the midst of which it starts or stops."""
    edges = {start, stop}
    if start % QUARTER and is_triplet(start):
        edges.add(min(start // QUARTER * QUARTER + QUARTER, stop))
    if stop % QUARTER and is_triplet(stop):
        edges.add(max(stop // QUARTER * QUARTER, start))
    places = sorted(edges)
    return list(itertools.pairwise(places))


def _in_triplet(start: int, stop: int, is_triplet: IsTriplet) -> bool:
    return (
        stop - start in (TRIPLET, 2 * TRIPLET)
        and is_triplet(start)
        and (start % QUARTER != 0 or stop % QUARTER != 0)
    )


# ---- beams ------------------------------------------------------------------


def _beamed(signs: list[Sign], meter: Meter) -> list[Sign]:
    """The same signs; those of one beat are under one beam."""
    signs = list(signs)
    for run in _runs(signs, meter):
        if len(run) > 1:
            for index, beams in zip(run, _beams([signs[i] for i in run]), strict=True):
                signs[index] = dataclasses.replace(signs[index], beams=beams)
    return signs


def _runs(signs: list[Sign], meter: Meter) -> list[list[int]]:
    """Indexes of signs that belong under one beam."""
    runs: list[list[int]] = []
    beat = -1
    for index, sign in enumerate(signs):
        if not sign.heads or sign.value not in _BEAMS:
            beat = -1
            continue
        here = meter.beat_of(sign.start)
        if here != beat:
            runs.append([])
            beat = here
        runs[-1].append(index)
    return _joined(runs, signs, meter)


def _joined(runs: list[list[int]], signs: list[Sign], meter: Meter) -> list[list[int]]:
    """Runs of eighths alone, two beats in one, as they are written in 2/4 and 4/4."""
    if meter.compound or meter.unit != 4 or meter.beats not in (2, 4):
        return runs
    joined: list[list[int]] = []
    for run in runs:
        last = joined[-1] if joined else []
        if (
            len(run) == len(last) == 2
            and signs[run[0]].start % (4 * EIGHTH) == 2 * EIGHTH
            and signs[last[0]].start + 2 * EIGHTH == signs[run[0]].start
            and all(_is_plain_eighth(signs[index]) for index in (*last, *run))
        ):
            last.extend(run)
        else:
            joined.append(run)
    return joined


def _is_plain_eighth(sign: Sign) -> bool:
    return sign.value == "eighth" and not sign.dots and not sign.triplet


def _beams(run: list[Sign]) -> list[tuple[str, ...]]:
    """For each sign of a run what its beams do."""
    counts = [_BEAMS[sign.value] for sign in run]
    beams = []
    for index, sign in enumerate(run):
        before = counts[index - 1] if index else 0
        after = counts[index + 1] if index + 1 < len(run) else 0
        here = []
        for level in range(1, counts[index] + 1):
            from_left, to_right = before >= level, after >= level
            if from_left and to_right:
                here.append("continue")
            elif to_right:
                here.append("start")
            elif from_left:
                here.append("stop")
            else:
                # A lone sixteenth leans on the eighth that it divides.
                right = not index or (sign.start % EIGHTH == 0 and index + 1 < len(run))
                here.append("right" if right else "left")
        beams.append(tuple(here))
    return beams
