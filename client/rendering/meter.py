"""Bars, beats, and where a note value may stand in them.

A duration of five sixteenths has no single sign, and one that has may still hide the
beat: a quarter that begins on the second sixteenth is written as two tied notes. Here
a bar is a ladder of ever finer lines (bar, half bar, beat, eighth, sixteenth), and a
note that crosses a line has to earn it: by starting or stopping on a line as strong,
or as the one plain syncopation between two halves. What does not is split there.

All times are grid ticks (24 to the quarter), relative to the bar where they are called
places.
"""

from __future__ import annotations

import bisect
import dataclasses
import functools

from music.song import TICKS_PER_QUARTER

QUARTER = TICKS_PER_QUARTER
EIGHTH, SIXTEENTH = QUARTER // 2, QUARTER // 4
TRIPLET = QUARTER // 3  # an eighth of three in the time of two

DEFAULT_TIME_SIGNATURE = "4/4"
LONGEST_BAR = 16 * QUARTER

# Ticks by (type, dots): every note value that is written.
VALUES = {
    4 * QUARTER: ("whole", 0),
    3 * QUARTER: ("half", 1),
    2 * QUARTER: ("half", 0),
    QUARTER + EIGHTH: ("quarter", 1),
    QUARTER: ("quarter", 0),
    EIGHTH + SIXTEENTH: ("eighth", 1),
    EIGHTH: ("eighth", 0),
    SIXTEENTH: ("16th", 0),
    6 * QUARTER: ("whole", 1),
}
# Inside a triplet, where they last two thirds of what they say.
TRIPLET_VALUES = {TRIPLET: "eighth", 2 * TRIPLET: "quarter"}


@dataclasses.dataclass(frozen=True)
class Meter:
    """A time signature, as far as reading needs it.

    Attributes:
      beats, unit: as it is written, e.g. 6 and 8.
      bar: ticks of a bar.
      lines: for each strength, strongest first, the places of its lines; the first
        are the bar's own ends.
      beat_lines: where beams are broken, ascending, both ends included.
      triplets: whether a quarter may be divided by three.
    """

    beats: int
    unit: int
    bar: int
    lines: tuple[frozenset[int], ...]
    beat_lines: tuple[int, ...]
    triplets: bool

    @property
    def compound(self) -> bool:
        """Whether beats are dotted: 6/8, 9/8, 12/8 and the like."""
        return self.unit >= 8 and self.beats % 3 == 0

    @property
    def signature(self) -> str:
        return f"{self.beats}/{self.unit}"

    def strength(self, place: int) -> int:
        """The index of the strongest line at a place that is a multiple of a sixteenth."""
        return next(i for i, places in enumerate(self.lines) if place in places)

    def beat_of(self, place: int) -> int:
        """The index of the beat that a place lies in."""
        return bisect.bisect_right(self.beat_lines, place) - 1


@functools.lru_cache(maxsize=64)
def meter_of(time_signature: str | None) -> Meter:
    """The meter that a song is written in.

    4/4 where the song says nothing, or something that sixteenths cannot fill and eyes
    cannot read: beats shorter than a sixteenth, bars of less than an eighth or of more
    than sixteen quarters.
    """
    beats, unit = (int(part) for part in (time_signature or DEFAULT_TIME_SIGNATURE).split("/"))
    bar = beats * 4 * QUARTER // unit
    if unit > 16 or not EIGHTH <= bar <= LONGEST_BAR:
        return meter_of(DEFAULT_TIME_SIGNATURE)
    beat_lines = _beat_lines(beats, unit, bar)
    ladder = [{0, bar}]
    # Only these are felt as two halves.
    if (beats, unit >= 8) in ((4, False), (4, True), (6, False), (12, True)):
        ladder.append({bar // 2})
    ladder.append(set(beat_lines))
    if unit < 4:
        ladder.append(set(range(0, bar, QUARTER)))
    ladder += [set(range(0, bar, EIGHTH)), set(range(0, bar, SIXTEENTH))]
    lines: list[frozenset[int]] = []
    for places in ladder:
        lines.append(frozenset(places.difference(*lines)))
    return Meter(beats, unit, bar, tuple(lines), beat_lines, triplets=unit <= 4)


def _beat_lines(beats: int, unit: int, bar: int) -> tuple[int, ...]:
    size = 4 * QUARTER // unit
    if unit >= 8 and beats % 3 == 0:
        return tuple(range(0, bar + 1, 3 * size))
    if unit >= 8 and beats > 3:
        # By twos, and a three at the end of an odd bar: 2 + 3, 2 + 2 + 3.
        starts = range(0, (beats - beats % 2) * size - (2 * size if beats % 2 else 0) + 1, 2 * size)
        return (*(place for place in starts if place < bar), bar)
    return (0, bar) if unit >= 8 else tuple(range(0, bar + 1, size))


def split_note(meter: Meter, start: int, stop: int) -> list[tuple[int, int]]:
    """The note values that a note from `start` to `stop` is written with, to be tied.

    Args:
      start, stop: places in one bar, multiples of a sixteenth.
    """
    inside = range(start + SIXTEENTH, stop, SIXTEENTH)
    strongest = min((meter.strength(place) for place in inside), default=None)
    if strongest is None:
        return [(start, stop)]
    crossed = [place for place in inside if meter.strength(place) == strongest]
    ends = (meter.strength(start), meter.strength(stop))
    halves = strongest + 1 < len(meter.lines) and _halved(meter, strongest)
    if not halves:
        allowed = max(ends) <= strongest
    else:
        allowed = min(ends) <= strongest or (max(ends) <= strongest + 1 and len(crossed) == 1)
    if allowed and stop - start in VALUES:
        return [(start, stop)]
    at = crossed[0]
    if ends[0] <= strongest:
        # From a strong place the longest sign that there is.
        signs = [place for place in crossed if place - start in VALUES]
        at = signs[-1] if signs else crossed[-1]
    return split_note(meter, start, at) + split_note(meter, at, stop)


def _halved(meter: Meter, strength: int) -> bool:
    """Whether what lies between lines of a strength is divided by two."""
    places = sorted(frozenset().union(*meter.lines[: strength + 1]))
    finer = sorted(frozenset().union(*meter.lines[: strength + 2]))
    return len(finer) - 1 == 2 * (len(places) - 1)


def split_rest(meter: Meter, start: int, stop: int) -> list[tuple[int, int]]:
    """The rests that a silence is written with: none hides a beat.

    Args:
      start, stop: places in one bar, multiples of a sixteenth.
    """
    pieces = []
    while start < stop:
        beat = meter.beat_of(start)
        first, end = meter.beat_lines[beat], meter.beat_lines[beat + 1]
        value = _rest_value(meter, start, stop, first, end)
        pieces.append((start, start + value))
        start += value
    return pieces


def _rest_value(meter: Meter, start: int, stop: int, first: int, end: int) -> int:
    half = meter.bar // 2
    # Two beats that are one half of the bar.
    if meter.strength(start) <= 1 and len(meter.lines[1]) == 1 and half in meter.lines[1]:
        whole_half = half - start if start < half else meter.bar - start
        if whole_half in VALUES and start % half == 0 and start + whole_half <= stop:
            return whole_half
    if start == first and end <= stop and end - first in VALUES:
        return end - first
    limit = min(stop, end)
    value = QUARTER * 2
    while start + value > limit or (start - first) % value:
        value //= 2
    return value
