"""The piano roll as SVG and PNG."""

from __future__ import annotations

import io
import time
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from music import roll
from music.errors import SegueError
from music.picture import PNG_SCALE, Rect, Text, text_width
from music.roll import WIDTH, check_suffix, piano_roll, piano_roll_svg, roll_picture, shade
from music.song import ONSET, PART, PITCH, VELOCITY, Song

NAMESPACE = "{http://www.w3.org/2000/svg}"


def song(*rows, **facts) -> Song:
    return Song(np.array(rows, np.int32).reshape(-1, 5), **facts)


def quarters(count, **facts) -> Song:
    """One quarter after the other, up and down."""
    rows = [(24 * i, 24, 60 + i % 12, 30 + 8 * (i % 12), i % 3) for i in range(count)]
    return song(*rows, **facts)


def of_kind(svg: str | bytes, kind: str) -> list:
    rects = ElementTree.fromstring(svg).iter(f"{NAMESPACE}rect")
    return [rect for rect in rects if rect.get("class") == kind]


def shapes(music: Song, kind: str) -> list[Rect]:
    found = roll_picture(music).shapes
    return [shape for shape in found if isinstance(shape, Rect) and shape.kind == kind]


def texts(music: Song, title: str = "") -> list[Text]:
    return [shape for shape in roll_picture(music, title).shapes if isinstance(shape, Text)]


def pixels(png: bytes) -> np.ndarray:
    image = Image.open(io.BytesIO(png))
    assert image.format == "PNG"
    return np.asarray(image.convert("RGB"))


def hexed(pixel) -> str:
    return "#" + "".join(f"{channel:02x}" for channel in pixel)


# ---- what it shows ----------------------------------------------------------


def test_every_note_is_a_bar_at_its_time_and_height():
    svg = piano_roll_svg(song((0, 24, 60, 80, 0), (24, 48, 72, 80, 0)))
    high, low = sorted(of_kind(svg, "note"), key=lambda bar: float(bar.get("y")))
    assert float(high.get("x")) > float(low.get("x"))
    assert float(high.get("width")) == pytest.approx(2 * float(low.get("width")), rel=0.01)


def test_bar_lines_follow_the_time_signature():
    four = of_kind(piano_roll_svg(quarters(12)), "bar")
    three = of_kind(piano_roll_svg(quarters(12, time_signature="3/4")), "bar")
    assert (len(four), len(three)) == (4, 5)


def test_a_long_song_is_broken_into_systems_of_whole_bars():
    music = quarters(200, time_signature="3/4")
    notes = shapes(music, "note")
    tops = sorted({edge.y for edge in shapes(music, "edge")})
    assert len(tops) >= 8  # the upper and lower edges of four systems or more
    assert len(notes) == 200  # none is cut: the breaks stand between bars
    assert max(note.x + note.width for note in notes) <= WIDTH - roll.RIGHT
    assert min(note.x for note in notes) >= roll.LEFT
    numbers = [int(text.text) for text in texts(music) if text.text.isdigit()]
    assert numbers[0] == 1
    assert numbers == sorted(numbers)


def test_the_last_system_ends_with_the_song():
    music = quarters(4 * 25, time_signature="4/4")
    last = max(edge.y for edge in shapes(music, "edge"))
    end = max(e.x + e.width for e in shapes(music, "edge") if e.y == last)
    last_note = max((note.y, note.x + note.width) for note in shapes(music, "note"))
    bar = max(b.x for b in shapes(music, "bar") if b.y + b.height - 0.5 == last)
    assert end - 1 <= bar <= end
    assert end < WIDTH - roll.RIGHT
    assert last_note[1] <= end


def test_a_note_across_a_break_stands_in_both_systems():
    music = song((0, 24, 60, 80, 0), (24, 96 * 30, 60, 80, 0))
    notes = shapes(music, "note")
    assert len(notes) > 2
    assert len({note.y for note in notes}) == len(notes) - 1


def test_the_picture_stays_of_a_size_that_can_be_opened():
    music = quarters(19_000, time_signature="1/64")
    picture = roll_picture(music)
    assert picture.height <= roll.MAX_HEIGHT
    assert sum(isinstance(s, Rect) and s.kind == "note" for s in picture.shapes) >= 19_000


def test_more_pieces_than_a_picture_holds_are_refused(monkeypatch):
    monkeypatch.setattr(roll, "MAX_SHAPES", 50)
    with pytest.raises(SegueError, match="cannot draw long: 51 pieces of notes; at most 50"):
        roll_picture(quarters(51), "long")


def test_parts_have_colours_of_their_own_and_a_legend():
    music = song((0, 24, 60, 80, 0), (0, 24, 67, 80, 1))
    assert len({note.fill for note in shapes(music, "note")}) == 2
    assert [text.text for text in texts(music) if text.text.startswith("part")] == [
        "part 1",
        "part 2",
    ]
    assert len(shapes(music, "legend")) == 2


def test_of_many_parts_the_legend_names_what_it_has_room_for():
    music = song(*[(0, 24, 40 + part, 80, part) for part in range(40)])
    words = [text.text for text in texts(music)]
    named = sum(word.startswith("part") for word in words)
    assert 3 < named < 40
    assert f"and {40 - named} more" in words
    assert all(legend.x + legend.width < WIDTH for legend in shapes(music, "legend"))


def test_louder_notes_are_darker():
    def light(colour):
        return sum(int(colour[i : i + 2], 16) for i in (1, 3, 5))

    for part in range(12):
        shades = [light(shade(part, velocity)) for velocity in range(1, 128)]
        assert shades == sorted(shades, reverse=True)
        assert shades[0] - shades[-1] > 100


def test_where_parts_strike_one_pitch_both_are_seen():
    picture = pixels(piano_roll(song((0, 96, 60, 80, 0), (0, 96, 60, 80, 1)), ".png"))
    colours = {hexed(colour) for colour in np.unique(picture.reshape(-1, 3), axis=0)}
    assert {shade(0, 80), shade(1, 80)} <= colours


def test_a_song_without_notes_has_no_picture():
    with pytest.raises(ValueError, match="no picture"):
        roll_picture(song())


# ---- titles -----------------------------------------------------------------


@pytest.mark.parametrize(
    "title",
    ["<script>&\"'", "Prélude – Ünï Чайковский", "\ud83c\udc00\x00\x1b[31m\n\ufffe", "夜想曲", ""],
)
def test_any_title_makes_both_pictures(title):
    music = quarters(4, title=title)
    root = ElementTree.fromstring(piano_roll_svg(music))
    assert b"<script>" not in piano_roll(music, ".svg")
    assert root.find(f"{NAMESPACE}text") is not None
    assert pixels(piano_roll(music, ".png")).shape[1] == WIDTH * PNG_SCALE


def test_a_long_title_is_cut_where_the_picture_ends():
    first, *_ = texts(quarters(4), "word " * 400)
    assert first.text.endswith("…")
    assert first.x + text_width(first.text, first.size) <= WIDTH


# ---- one picture, two files -------------------------------------------------


def test_the_same_song_gives_the_same_bytes():
    for suffix in (".svg", ".png"):
        assert piano_roll(quarters(80), suffix) == piano_roll(quarters(80), suffix.upper())


def apart():
    """Songs whose notes do not touch, so that each can be seen."""
    pitch, velocity = st.integers(21, 108), st.integers(1, 127)
    note = st.tuples(st.integers(1, 48), pitch, velocity, st.integers(0, 12))

    def in_a_row(notes):
        onset, rows = 0, []
        for duration, pitch, velocity, part in notes:
            rows.append((onset, duration, pitch, velocity, part))
            onset += duration + 6
        return song(*rows)

    return st.lists(note, min_size=1, max_size=30).map(in_a_row)


@settings(max_examples=8)
@given(apart())
def test_svg_and_png_show_the_same_notes_at_the_same_places_in_the_same_colours(music):
    svg = of_kind(piano_roll(music, ".svg"), "note")
    png = pixels(piano_roll(music, ".png"))
    assert len(svg) >= len(music)
    for bar in svg:
        x, y, width, height = (
            round(float(bar.get(name)) * PNG_SCALE) for name in ("x", "y", "width", "height")
        )
        drawn = png[y : y + height, x : x + width]
        # Rounded corners leave a pixel or two of the ground.
        inside = drawn[2:-2] if height > 6 else drawn[1:-1]
        assert {hexed(pixel) for row in inside for pixel in row[2:-2] if width > 4} <= {
            bar.get("fill")
        }
        assert hexed(png[y + height // 2, x]) == bar.get("fill")
        assert hexed(png[y + height // 2, x + width - 1]) == bar.get("fill")
        assert hexed(png[y + height // 2, x - 1]) != bar.get("fill")
        assert hexed(png[y + height // 2, x + width]) != bar.get("fill")
    shades = {shade(note[PART], note[VELOCITY]) for note in music.notes.tolist()}
    assert {bar.get("fill") for bar in svg} == shades


@settings(max_examples=20)
@given(st.from_type(Song).filter(len))
def test_pitch_and_onset_can_be_read_off_any_picture(music):
    picture = roll_picture(music)
    notes = [shape for shape in picture.shapes if isinstance(shape, Rect) and shape.kind == "note"]
    assert all(note.y >= 0 and note.y + note.height <= picture.height for note in notes)
    assert all((note.x * 2) % 1 == 0 and (note.y * 2) % 1 == 0 for note in notes)
    frame = roll._frame(music)
    unit = frame.ticks / (WIDTH - roll.LEFT - roll.RIGHT)
    read = set()
    for note in notes:
        system, below = divmod(note.y - roll.TOP, frame.height + roll.GAP)
        begin = frame.first + system * frame.ticks
        read.add((frame.high - int(below // frame.row), begin + (note.x - roll.LEFT) * unit))
    assert {pitch for pitch, _ in read} == set(music.notes[:, PITCH].tolist())
    for onset, pitch in music.notes[:, [ONSET, PITCH]].tolist():
        assert any(p == pitch and abs(tick - onset) <= unit for p, tick in read)


@pytest.mark.parametrize("name", ["song.jpg", "song", "song.svg.gz"])
def test_another_suffix_is_one_line_that_names_both(name):
    with pytest.raises(SegueError, match=r"name a file that ends in \.svg or \.png"):
        check_suffix(Path(name))


# ---- more parts than anyone can see -------------------------------------------


def test_thousands_of_parts_that_strike_one_pitch_are_drawn_at_once():
    music = song(*[(0, 24, 60, 80, part) for part in range(40_000)])
    began = time.process_time()
    for suffix in roll.WRITERS:
        piano_roll(music, suffix)
    # A second; to look for each part among all those before it took twenty.
    assert time.process_time() - began < 5


def test_what_is_covered_to_the_last_pixel_is_not_painted_and_nothing_else():
    music = song(*[(0, 24, 60, 80 + part, part) for part in range(40)], (24, 24, 60, 80, 0))
    heights = [note.height for note in shapes(music, "note")]
    assert len(heights) == roll.THINNEST + 1
    assert len(set(heights)) == roll.THINNEST
    # The first parts lie in front, so the very first is the thinnest bar's colour.
    thinnest = min(shapes(music, "note"), key=lambda note: note.height)
    assert thinnest.fill == shade(0, 80)
