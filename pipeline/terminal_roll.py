"""The beginning of a song as a piano roll of characters, for a terminal.

A cell is two semitones high (its upper and its lower half) and an eighth or a
sixteenth wide; a note is a half block in the colour of its part.
"""

from __future__ import annotations

import math

from music.codec import pitch_name
from music.roll import part_colour
from music.song import DURATION, ONSET, PART, PITCH, TICKS_PER_QUARTER, Song
from music.statistics import bar_ticks

LABEL = 4
MOST_WIDE = 160
CELLS = (TICKS_PER_QUARTER // 4, TICKS_PER_QUARTER // 2)  # ticks that a column may stand for
MIN_BARS = 4
NEAREST_LINES = 4  # columns from one bar line to the next, at least
MOST_ROWS = 64  # semitones; what is farther from the middle is not shown


def print_roll(song: Song) -> None:
    """Prints as many of the first bars as the terminal is wide for."""
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False)
    lines, bars = roll_lines(song, min(console.width, MOST_WIDE))
    for line in lines:
        text = Text(no_wrap=True)
        for char, style in line:
            text.append(char, style)
        console.print(text)
    last = "bar 1" if bars == 1 else f"bars 1 to {bars}"
    console.print(f"{' ' * LABEL} {last}; `--roll FILE.svg` draws all of it", style="dim")


def roll_lines(song: Song, width: int) -> tuple[list[list[tuple[str, str]]], int]:
    """The first bars as lines of (character, rich style), from the highest down.

    Args:
      song: at least one note.
      width: of a line, in characters.

    Returns:
      The lines, and how many bars they show.
    """
    bar = bar_ticks(song.time_signature)
    room = max(width - LABEL - 1, 8)
    # Sixteenths where enough of the song can be seen in them.
    cell = next((cell for cell in CELLS if room * cell >= MIN_BARS * bar), CELLS[-1])
    stop = min(song.end, max(int(room * cell // bar), 1) * bar, room * cell)
    cells = math.ceil(stop / cell)

    shown = song.notes[song.notes[:, ONSET] < stop]
    if not len(shown):  # silence, as long as the terminal is wide
        shown = song.notes[:1]
    middle = int(shown[:, PITCH].min() + shown[:, PITCH].max()) // 2
    low = max(int(shown[:, PITCH].min()), middle - MOST_ROWS // 2)
    high = min(int(shown[:, PITCH].max()), middle + MOST_ROWS // 2)
    high += (high - low + 1) % 2  # whole pairs of semitones

    grid: dict[tuple[int, int], int] = {}
    # The longest first: a short note is seen on top of a long one.
    for row in sorted(shown.tolist(), key=lambda row: -row[DURATION]):
        begin = row[ONSET] // cell
        end = min(max(math.ceil((row[ONSET] + row[DURATION]) / cell), begin + 1), cells)
        for column in range(begin, end):
            grid[row[PITCH], column] = row[PART]

    every = max(math.ceil(NEAREST_LINES * cell / bar), 1)
    bar_columns = {round(n * bar / cell) for n in range(0, math.ceil(stop / bar), every)}
    lines = []
    for upper in range(high, low, -2):
        label = next((pitch_name(p) for p in (upper, upper - 1) if p % 12 == 0), "")
        line = [(f"{label:>{LABEL}}", "dim"), ("│", "dim")]
        for column in range(cells):
            pair = grid.get((upper, column)), grid.get((upper - 1, column))
            line.append(_cell(*pair, column in bar_columns and column > 0, bool(label)))
        lines.append(line)
    return lines, math.ceil(stop / bar)


def _cell(upper: int | None, lower: int | None, bar: bool, octave: bool) -> tuple[str, str]:
    if upper is None and lower is None:
        return ("│" if bar else "·" if octave else " "), "dim"
    if lower is None:
        return "▀", part_colour(upper or 0)
    if upper is None:
        return "▄", part_colour(lower)
    return "▀", f"{part_colour(upper)} on {part_colour(lower)}"
