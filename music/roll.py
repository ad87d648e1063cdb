"""A song as a picture: the piano roll, as SVG.

Time runs to the right, pitch upwards; a note is a bar, louder ones darker. Bar
lines stand where the time signature puts them (every four quarters where it is
silent), and the Cs are named. The picture is plain SVG text, so it needs no
library and no display, and the same song gives the same bytes.
"""

from __future__ import annotations

from xml.sax.saxutils import escape

from music.codec import pitch_name
from music.song import DURATION, ONSET, PART, PITCH, TICKS_PER_QUARTER, VELOCITY, Song

WIDTH, ROW, MARGIN, TOP = 1200, 7, 34, 26
_COLOURS = ("#1f6feb", "#c2410c", "#15803d", "#7e22ce", "#b45309", "#0e7490")


def piano_roll_svg(song: Song, title: str = "") -> str:
    """The piano roll of a song.

    Args:
      song: at least one note.
      title: stands above the picture; the song's own where empty.

    Raises:
      ValueError: the song has no notes.
    """
    if not len(song):
        raise ValueError("a song without notes has no picture")
    notes = song.notes.tolist()
    low = min(note[PITCH] for note in notes) - 2
    high = max(note[PITCH] for note in notes) + 2
    start, stop = notes[0][ONSET], song.end
    scale = (WIDTH - MARGIN - 8) / max(stop - start, 1)
    height = TOP + (high - low + 1) * ROW + 8

    def x(tick: float) -> float:
        return round(MARGIN + (tick - start) * scale, 2)

    def y(pitch: int) -> int:
        return TOP + (high - pitch) * ROW

    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
        'font-family="sans-serif" font-size="11">',
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
        f'<text x="{MARGIN}" y="16" fill="#24292f">{escape(title or song.title)}</text>',
    ]
    for pitch in range(low, high + 1):
        if pitch % 12 in (1, 3, 6, 8, 10):  # the black keys
            lines.append(
                f'<rect x="{MARGIN}" y="{y(pitch)}" width="{WIDTH - MARGIN - 8}" '
                f'height="{ROW}" fill="#f3f4f6"/>'
            )
        if pitch % 12 == 0:
            lines.append(
                f'<text x="4" y="{y(pitch) + ROW}" fill="#57606a">{pitch_name(pitch)}</text>'
            )
    bar = _bar_ticks(song)
    lines += [
        f'<line x1="{x(tick)}" y1="{TOP}" x2="{x(tick)}" y2="{height - 8}" stroke="#d0d7de"/>'
        for tick in range(start - start % bar, stop + 1, bar)
        if tick >= start
    ]
    for note in notes:
        wide = max(round(note[DURATION] * scale - 0.6, 2), 1.0)
        opacity = round(0.45 + 0.55 * note[VELOCITY] / 127, 2)
        lines.append(
            f'<rect x="{x(note[ONSET])}" y="{y(note[PITCH]) + 1}" width="{wide}" '
            f'height="{ROW - 2}" rx="1.5" fill="{_COLOURS[note[PART] % len(_COLOURS)]}" '
            f'fill-opacity="{opacity}"/>'
        )
    return "\n".join([*lines, "</svg>", ""])


def _bar_ticks(song: Song) -> int:
    beats, unit = (int(part) for part in (song.time_signature or "4/4").split("/"))
    return max(beats * 4 * TICKS_PER_QUARTER // unit, 1)
