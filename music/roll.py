"""A song as a picture: the piano roll, as SVG or PNG.

Time runs to the right and pitch upwards; a note is a bar in the colour of its
part, darker the louder it is. As in a score, a long song is broken into systems,
each of as many whole bars as can be read, numbered at its beginning. The rows of
the black keys are grey and the Cs are named. Bar lines follow the file's first
time signature (4/4 where there is none): a song that changes it, or that begins
with an upbeat, has its lines where that one puts them.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Iterator
from pathlib import Path

from music.codec import pitch_name
from music.errors import SegueError
from music.picture import Picture, Rect, Text, picture_png, picture_svg, text_width
from music.song import DURATION, ONSET, PART, PITCH, TICKS_PER_QUARTER, VELOCITY, Song
from music.statistics import SongFacts, bar_ticks, clock, song_facts, spoken_key

WRITERS = {".svg": picture_svg, ".png": picture_png}

WIDTH = 1200
LEFT, RIGHT = 46, 14  # margins of the systems; the keyboard stands in the left one
KEYBOARD = 14
TOP, FOOT, GAP = 78, 12, 30
TITLE, FACTS, LABEL = 20, 14, 13  # sizes of letters
QUARTER = 22  # how wide a quarter is to be, as long as the picture is not too high
MAX_HEIGHT = 8000
# What a picture may hold: notes that sound through hundreds of systems are no music.
MAX_SHAPES = 400_000
THINNEST = 3  # parts that strike one pitch together, until bars get no thinner
ROOM = 2  # semitones above the highest and below the lowest note

_INK, _PALE, _LINE, _STRONG = "#24292f", "#57606a", "#d0d7de", "#8c959f"
_BLACK_ROW, _BLACK_KEY, _KEY = "#f3f4f6", "#424a53", "#ffffff"
# Told apart by the colour-blind and in grey print: after P. Tol's "bright" and "muted".
COLOURS = (
    "#2f6db3", "#c8452e", "#1f8a4c", "#8a3f96", "#b97a00", "#0b8a99", "#882255", "#5b6b1f",
    "#4a4fb0", "#a0522d",
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class _Frame:
    """Where things stand.

    Attributes:
      low, high: the lowest and the highest row, MIDI pitches.
      row: the height of a semitone.
      ticks: that a system shows.
      bar: ticks of a bar.
      systems: how many there are.
      first: the tick at which the first begins.
      stop: the tick at which the last bar ends.
    """

    low: int
    high: int
    row: int
    ticks: float
    bar: float
    systems: int
    first: float
    stop: float

    @property
    def height(self) -> int:
        """Of a system."""
        return (self.high - self.low + 1) * self.row

    def top(self, system: int) -> int:
        return TOP + system * (self.height + GAP)

    def x(self, system: int, tick: float) -> float:
        """A tick's place in a system, to half a unit."""
        share = (tick - self.first - system * self.ticks) / self.ticks
        return round((LEFT + share * (WIDTH - LEFT - RIGHT)) * 2) / 2

    def wide(self, system: int) -> float:
        """How far a system reaches; the last one ends with the song."""
        end = self.first + (system + 1) * self.ticks
        return self.x(system, min(end, self.stop)) - LEFT

    def y(self, system: int, pitch: int) -> int:
        return self.top(system) + (self.high - pitch) * self.row


def check_suffix(path: Path) -> None:
    """Refuses a name that says nothing of the picture's format.

    Raises:
      SegueError: it ends in neither .svg nor .png.
    """
    if path.suffix.lower() not in WRITERS:
        raise SegueError(f"cannot draw {path}: name a file that ends in {' or '.join(WRITERS)}")


def piano_roll(song: Song, suffix: str, title: str = "") -> bytes:
    """The piano roll of a song as the file that a suffix asks for, `.svg` or `.png`.

    Raises:
      SegueError: there is no such kind of picture.
      ValueError: the song has no notes.
    """
    check_suffix(Path(f"roll{suffix}"))
    return WRITERS[suffix.lower()](roll_picture(song, title))


def piano_roll_svg(song: Song, title: str = "") -> str:
    """The piano roll of a song as SVG; arguments and errors as `roll_picture`."""
    return picture_svg(roll_picture(song, title)).decode()


def roll_picture(song: Song, title: str = "") -> Picture:
    """The piano roll of a song.

    Args:
      song: at least one note.
      title: stands above the picture; the song's own where empty.

    Raises:
      SegueError: it would take more than `MAX_SHAPES` shapes.
      ValueError: the song has no notes.
    """
    if not len(song):
        raise ValueError("a song without notes has no picture")
    frame = _frame(song)
    pieces = int((song.notes[:, DURATION] // frame.ticks).sum()) + len(song)
    if pieces > MAX_SHAPES:
        raise SegueError(
            f"cannot draw {title or song.title}: {pieces:,} pieces of notes; "
            f"at most {MAX_SHAPES:,} are drawn"
        )
    shapes = [*_head(song, title or song.title)]
    for system in range(frame.systems):
        shapes += _ground(frame, system)
    shapes += _notes(song, frame)
    return Picture(WIDTH, frame.top(frame.systems) - GAP + FOOT, tuple(shapes))


def _frame(song: Song) -> _Frame:
    pitches = song.notes[:, PITCH]
    low, high = max(int(pitches.min()) - ROOM, 0), min(int(pitches.max()) + ROOM, 127)
    rows = high - low + 1
    row = 8 if rows <= 36 else 6 if rows <= 72 else 5
    bar = bar_ticks(song.time_signature)
    area = WIDTH - LEFT - RIGHT
    # A bar that is wider than the page is broken at quarters.
    unit = bar if bar * QUARTER <= area * TICKS_PER_QUARTER else TICKS_PER_QUARTER
    first = math.floor(int(song.notes[0, ONSET]) / unit) * unit
    units = max(math.ceil((song.end - first) / unit), 1)
    fit = max(int(area * TICKS_PER_QUARTER / (QUARTER * unit)), 1)
    most = max((MAX_HEIGHT - TOP - FOOT) // (rows * row + GAP), 1)
    systems = min(math.ceil(units / fit), most)
    a_system = math.ceil(units / systems)
    return _Frame(
        low, high, row, a_system * unit, bar, math.ceil(units / a_system), first,
        stop=first + units * unit,
    )  # fmt: skip


# ---- what stands above ------------------------------------------------------


def _head(song: Song, title: str) -> Iterator[Rect | Text]:
    facts = song_facts(song)
    room = WIDTH - LEFT - RIGHT
    sizes = (TITLE, FACTS, LABEL)
    size = next((size for size in sizes if text_width(title, size) <= room), LABEL)
    while text_width(title, size) > room:
        title = title[: int(len(title) * room / text_width(title, size)) - 2].rstrip() + "…"
    yield Text(LEFT, 26, title, size, _INK, bold=size == TITLE)
    told = [
        spoken_key(facts.key) if facts.key else "",
        facts.time_signature or "",
        f"{facts.tempo:g} quarters a minute" if facts.tempo else "",
        clock(facts.seconds),
        f"{facts.notes:,} note{'s' * (facts.notes > 1)}",
    ]
    line = "  ·  ".join(word for word in told if word)
    yield Text(LEFT, 48, line, FACTS, _PALE)
    yield from _legend(facts, LEFT + math.ceil(text_width(line, FACTS)) + 16)


def _legend(facts: SongFacts, x: int) -> Iterator[Rect | Text]:
    """What the colours and shades say, on the line of the facts, as far as there is room."""
    soft, loud = min(part.soft for part in facts.parts), max(part.loud for part in facts.parts)
    if soft < loud:
        first = facts.parts[0].part
        yield Text(x, 48, "soft", FACTS, _PALE)
        for step in range(5):
            colour = shade(first, soft + (loud - soft) * step // 4)
            yield Rect("legend", x + 36 + 12 * step, 38, 12, 10, colour)
        yield Text(x + 102, 48, "loud", FACTS, _PALE)
        x += 160
    if len(facts.parts) < 2:
        return
    for index, part in enumerate(facts.parts):
        label = f"part {part.part + 1}"
        wide = 18 + math.ceil(text_width(label, FACTS)) + 10
        last = index == len(facts.parts) - 1
        if x + wide > WIDTH - RIGHT - (0 if last else 110):
            yield Text(x, 48, f"and {len(facts.parts) - index:,} more", FACTS, _PALE)
            return
        yield Rect("legend", x, 38, 12, 10, part_colour(part.part))
        yield Text(x + 18, 48, label, FACTS, _PALE)
        x += wide


def part_colour(part: int) -> str:
    """A part's colour at full strength, `#rrggbb`."""
    return COLOURS[part % len(COLOURS)]


def shade(part: int, velocity: int) -> str:
    """A note's colour: its part's, the paler the softer it is."""
    return _shade(part_colour(part), velocity)


@functools.lru_cache(maxsize=len(COLOURS) * 128)
def _shade(colour: str, velocity: int) -> str:
    strength = 0.35 + 0.65 * velocity / 127
    channels = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return "#" + "".join(f"{round(255 - (255 - c) * strength):02x}" for c in channels)


# ---- a system ---------------------------------------------------------------


def _ground(frame: _Frame, system: int) -> Iterator[Rect | Text]:
    """The rows, the keyboard, the bar lines and their numbers."""
    top, wide = frame.top(system), frame.wide(system)
    yield Rect("keyboard", LEFT - KEYBOARD, top, KEYBOARD - 2, frame.height, _KEY)
    for pitch in range(frame.low, frame.high + 1):
        y = frame.y(system, pitch)
        if pitch % 12 in (1, 3, 6, 8, 10):
            yield Rect("row", LEFT, y, wide, frame.row, _BLACK_ROW)
            yield Rect("key", LEFT - KEYBOARD, y, KEYBOARD - 5, frame.row, _BLACK_KEY)
        elif pitch % 12 in (0, 5) and pitch > frame.low:
            # Between the white keys that touch: B and C, E and F.
            strong = pitch % 12 == 0
            line = _STRONG if strong else _LINE
            yield Rect("key", LEFT - KEYBOARD, y + frame.row - 0.5, KEYBOARD - 2, 0.5, line)
            yield Rect("row", LEFT, y + frame.row - 0.5, wide, 0.5, _LINE)
        if pitch % 12 == 0:
            label = pitch_name(pitch)
            middle = y + frame.row // 2 + 5  # of the row, as capitals are 10 high
            yield Text(LEFT - KEYBOARD - 4, middle, label, LABEL, _PALE, "end")
    yield from _bar_lines(frame, system)
    for y in (top, top + frame.height):
        yield Rect("edge", LEFT - KEYBOARD, y - 0.5, wide + KEYBOARD, 0.5, _STRONG)


def _bar_lines(frame: _Frame, system: int) -> Iterator[Rect | Text]:
    start = frame.first + system * frame.ticks
    scale = (WIDTH - LEFT - RIGHT) / frame.ticks
    every = 1  # lines nearer than four units would be a grey plane
    while frame.bar * every * scale < 4:
        every *= 2
    numbered = every
    while frame.bar * numbered * scale < 130:
        numbered *= 2
    top = frame.top(system)
    first = math.ceil(start / frame.bar)
    last = math.floor(min(start + frame.ticks, frame.stop) / frame.bar)
    for bar in range(first, last + 1):
        x = frame.x(system, bar * frame.bar)
        if (bar - first) % every == 0 or bar == last:
            yield Rect("bar", x - 0.5, top, 1, frame.height, _LINE)
        if (bar - first) % numbered == 0 and bar < last:
            yield Text(x, top - 5, str(bar + 1), LABEL, _PALE)


def _notes(song: Song, frame: _Frame) -> Iterator[Rect]:
    """Every note; one that sounds across a break stands in both systems.

    Short ones are painted after long ones, and of several parts that strike one pitch
    together the later painted ones are thinner: none hides another. That goes as far
    as three parts; what others would cover to the last pixel is not painted.
    """
    fills: dict[tuple[float, float, float, float], str] = {}  # by place, in painting order
    struck: dict[tuple[int, int], list[int]] = {}
    columns = [ONSET, DURATION, PITCH, VELOCITY, PART]
    rows = sorted(song.notes[:, columns].tolist(), key=lambda row: (-row[1], -row[4]))
    for onset, duration, pitch, velocity, part in rows:
        under = struck.setdefault((onset, pitch), [])
        if len(under) < THINNEST and part not in under:
            under.append(part)
        inset = 0.5 + (len(under) - 1) * frame.row / 6
        inset = round(inset * 2) / 2
        fill = shade(part, velocity)
        first = int((onset - frame.first) // frame.ticks)
        last = int((onset + duration - 1 - frame.first) // frame.ticks)
        for system in range(first, last + 1):
            begin = frame.first + system * frame.ticks
            left = frame.x(system, max(onset, begin))
            right = frame.x(system, min(onset + duration, begin + frame.ticks))
            # Half a unit apart from the next, so that repeated notes can be told.
            wide = max(right - left - 0.5, 1.0)
            y, height = frame.y(system, pitch) + inset, frame.row - 2 * inset
            place = (left, y, wide, height)
            fills.pop(place, None)
            fills[place] = fill
    for place, fill in fills.items():
        yield Rect("note", *place, fill, rounded=True)
